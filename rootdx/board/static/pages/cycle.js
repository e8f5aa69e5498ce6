// One cycle: its phases, trend, features with limits and verdict, context, records.
import { html, useState } from "../view.js";
import { get } from "../api.js";
import { duration, moment } from "../format.js";
import { Icon } from "../icons.js";
import { Loaded, PageHead, Panel, useLoad, Verdict } from "../parts.js";
import { href } from "../route.js";
import { inLanguage, machineName, may } from "../store.js";
import { DataTable } from "../table.js";
import { named, t } from "../texts.js";
import { Trend } from "../trend.js";
import { MakeRecord } from "./records.js";

const ITEMS = new Set(["lot", "part", "load", "rack", "melt"]);
const FIRST_TAGS = 4;
const MARGIN = 0.08;
const HIDDEN = new Set(["cycle", "context", "phases"]);

function Context({ context }) {
  const pairs = Object.entries(context);
  if (!pairs.length) return null;
  return html`<${Panel} title=${t("board.cycle.context")}><dl class="facts">${pairs.map(([name, value]) => html`<div key=${name}><dt>${named("kind", name)}</dt>
    <dd>${ITEMS.has(name) ? html`<a href=${href("lots", "", { kind: name, item: value })}>${value}</a>` : String(value)}</dd></div>`)}</dl><//>`;
}

function PhaseBar({ phases }) {
  if (!phases.length) return null;
  const whole = phases.reduce((sum, one) => sum + Math.max(0, (one.end_ms ?? one.start_ms) - one.start_ms), 0) || 1;
  return html`<${Panel} title=${t("board.machine.phases")}><ol class="phase-bar">${phases.map((one, i) => {
    const seconds = one.end_ms === null ? null : (one.end_ms - one.start_ms) / 1000;
    return html`<li key=${i} style=${{ flexGrow: Math.max(((seconds ?? 0) * 1000) / whole, 0.02) }}><b>${named("phase", one.name)}</b>
      <small>${duration(seconds)}</small></li>`;
  })}</ol><//>`;
}

// A table with what people call its features or verdicts; its own column of names is for files.
function labelled(table, labels) {
  if (!["features", "judged"].includes(table.name)) return table;
  const kept = table.columns.map((_, i) => i).filter((i) => table.name !== "features" || table.columns[i].name !== "name");
  const rows = table.rows.map(([first, ...rest]) => [labels[first] ?? first, ...rest]);
  return { ...table, columns: kept.map((i) => table.columns[i]), rows: rows.map((row) => kept.map((i) => row[i])) };
}

function CycleTrend({ cycle }) {
  const about = useLoad((signal) => get("/machine", { machine: cycle.machine }, signal), [cycle.machine]);
  const end = cycle.end_ms ?? cycle.start_ms + 3600000;
  const room = (end - cycle.start_ms) * MARGIN + 1000;
  const [window, change] = useState({ from_ms: cycle.start_ms - room, to_ms: end + room });
  const [chosen, choose] = useState(cycle.tags.slice(0, FIRST_TAGS));
  const turn = (tag) => choose((old) => (old.includes(tag) ? old.filter((one) => one !== tag) : [...old, tag]));
  return html`<${Loaded} from=${about}>${(machine) => html`
    <fieldset class="chips"><legend>${t("board.machine.choose")}</legend>${cycle.tags.map((tag) => html`<label key=${tag} class="chip">
      <input type="checkbox" checked=${chosen.includes(tag)} onChange=${() => turn(tag)} />${tag}</label>`)}</fieldset>
    ${chosen.length > 0 && html`<${Trend} machine=${machine.machine} tags=${machine.tags} chosen=${chosen} window=${window} change=${change}
      live=${false} />`}`}<//>`;
}

export function CyclePage({ arg }) {
  const path = `/cycles/${encodeURIComponent(arg)}`;
  const found = useLoad((signal) => get(path, {}, signal), [arg]);
  const [making, make] = useState(false);
  return html`<${Loaded} from=${found}>${(cycle) => {
    const lot = cycle.context.lot;
    const lasted = cycle.end_ms ? duration((cycle.end_ms - cycle.start_ms) / 1000) : t("board.cycle.running");
    return html`
    <${PageHead} title=${`${named("kind", cycle.kind)} #${arg}`} sub=${html`<a
      href=${href("machine", cycle.machine)}>${inLanguage(machineName(cycle.machine))}</a> · ${moment(cycle.start_ms)} · ${lasted}`}>
      <span class="big-verdict"><${Verdict} verdict=${cycle.verdict} /></span>
      ${may("seal") && html`<button onClick=${() => make(true)}><${Icon} name="seal" />${t("board.records.make")}</button>`}
    <//>
    <${PhaseBar} phases=${cycle.phases} />
    ${cycle.tables.filter((one) => one.name === "features").map((table) => html`<div class="panel" key="features">
      <${DataTable} table=${labelled(table, cycle.labels)} source=${{ path }} only=${table.name} /></div>`)}
    <${Panel} title=${t("board.machine.trend")}><${CycleTrend} cycle=${cycle} /><//>
    <div class="columns">
      <${Context} context=${cycle.context} />
      ${cycle.records.length > 0 && html`<${Panel} title=${t("board.records.title")}>
        <ul class="links">${cycle.records.map((one) => html`<li key=${one.number}>
        <a href=${href("records", one.number)}>${one.number}</a> <${Verdict} verdict=${one.verdict} /></li>`)}</ul><//>`}
    </div>
    ${cycle.tables.filter((one) => one.name !== "features" && !HIDDEN.has(one.name) && one.rows.length).map((table) => html`<div class="panel"
      key=${table.name}><${DataTable} table=${labelled(table, cycle.labels)} source=${{ path }} only=${table.name}
      links=${{ id: (id) => href("cycle", id) }} /></div>`)}
    ${making && html`<${MakeRecord} kind=${lot ? "lot" : "cycle"} name=${lot || arg} close=${() => make(false)} after=${found.reload} />`}`;
  }}<//>`;
}
