// One alarm: what was seen, what moved, what it resembles, what was done last time.
import { html, useEffect, useState } from "../view.js";
import { get } from "../api.js";
import { AlarmActs } from "../alarm_acts.js";
import { moment, number, percent, unit, withUnit } from "../format.js";
import { listen } from "../live.js";
import { Loaded, Meter, PageHead, Panel, Priority, useLoad } from "../parts.js";
import { href } from "../route.js";
import { now } from "../store.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";
import { Trend } from "../trend.js";

const MARGIN = 0.5;
const LEAST_MS = 600000;
const MOST_TAGS = 4;

function Facts({ alarm }) {
  const rows = [
    ["value", Number.isFinite(alarm.value) && withUnit(alarm.value, alarm.unit)],
    ["limits", (Number.isFinite(alarm.low) || Number.isFinite(alarm.high)) && `${number(alarm.low)} … ${number(alarm.high)} ${unit(alarm.unit)}`],
    ["centre", Number.isFinite(alarm.centre) && withUnit(alarm.centre, alarm.unit)],
    ["score", Number.isFinite(alarm.score) && t("board.alarms.times", { score: number(alarm.score, 1) })],
    ["since", alarm.since_ms && moment(alarm.since_ms)],
    ["raised", alarm.raised_ms && moment(alarm.raised_ms)],
    ["detector", alarm.detector],
    ["acknowledged_by", alarm.acknowledged_by],
    ["done", alarm.done],
  ].filter(([, value]) => value);
  return html`<dl class="facts">${rows.map(([name, value]) => html`<div key=${name}><dt>${t(`board.alarms.fact.${name}`)}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Moves({ moves }) {
  const most = Math.max(...moves.map((one) => Math.abs(one.sigma)), 1);
  return html`<ul class="moves">${moves.map((one) => html`<li key=${one.name}>
    <span class="move-name">${one.label}</span>
    <span class="move-bar"><i class=${one.sigma < 0 ? "left" : "right"} style=${{ width: `${(Math.abs(one.sigma) / most) * 50}%` }}></i></span>
    <span class="move-size">${one.sigma > 0 ? "▲ +" : "▼ "}${number(one.sigma, 1)} σ</span>
    <span class="move-values">${number(one.before)} → ${withUnit(one.now, one.unit)}</span></li>`)}</ul>`;
}

function Shares({ shares, label }) {
  return html`<ul class="shares">${shares.map((one) => html`<li key=${one.name ?? one.failure}><span>${one.label}</span>
    <${Meter} share=${one.share ?? one.likeness} label=${`${label}: ${one.label}`} /><b>${percent(one.share ?? one.likeness, 0)}</b></li>`)}</ul>`;
}

function Around({ alarm }) {
  const about = useLoad((signal) => get("/machine", { machine: alarm.machine }, signal), [alarm.machine]);
  const [first, last] = alarm.window_ms;
  const room = Math.max((last - first) * MARGIN, LEAST_MS);
  const [window, change] = useState({ from_ms: first - room, to_ms: Math.min(last + room, now()) });
  return html`<${Loaded} from=${about}>${(machine) => {
    const named = [alarm.subject, ...alarm.moves.map((one) => one.name), ...alarm.shares.map((one) => one.name)];
    const found = named.flatMap((name) => machine.tags.filter((one) => one.tag === name || one.role === name).map((one) => one.tag));
    const chosen = [...new Set(found)].slice(0, MOST_TAGS);
    const measured = machine.tags.filter((one) => one.unit !== "1");
    const tags = chosen.length ? chosen : (measured.length ? measured : machine.tags).slice(0, 2).map((one) => one.tag);
    return html`<${Trend} machine=${machine.machine} tags=${machine.tags} chosen=${tags} window=${window} change=${change} live=${false} />`;
  }}<//>`;
}

export function AlarmPage({ arg }) {
  const found = useLoad((signal) => get(`/alarms/${encodeURIComponent(arg)}`, {}, signal), [arg]);
  useEffect(() => listen("alarms", found.reload), []);
  return html`<${Loaded} from=${found}>${({ alarm, journal, may }) => html`
    <${PageHead} title=${`${alarm.short} · ${alarm.subject_name || alarm.detector}`}
      sub=${`${t("board.alarms.number", { id: alarm.alarm_id })} · ${alarm.state_text}`}>
      <a class="button" href=${href("machine", alarm.machine)}>${alarm.short}</a>
      ${alarm.cycle_id && html`<a class="button" href=${href("cycle", alarm.cycle_id)}>${t("board.cycle.number", { id: alarm.cycle_id })}</a>`}
    <//>
    <section class=${`panel alarm-told ${alarm.priority}`}>
      <div class="alarm-big"><${Priority} priority=${alarm.priority} /><p class="alarm-sentence">${alarm.sentence}</p></div>
      <${Facts} alarm=${alarm} />
      ${alarm.last && html`<p class="last-time">
        <b>${t("board.alarms.last_time")}</b> ${alarm.last.at_ms ? moment(alarm.last.at_ms, false) : ""} ${alarm.last.who}: ${alarm.last.text}</p>`}
      <${AlarmActs} alarm=${alarm} may=${may} after=${found.reload} />
    </section>
    <div class="columns">
      ${alarm.moves.length > 0 && html`<${Panel} title=${t("board.alarms.moved")}><${Moves} moves=${alarm.moves} /><//>`}
      ${alarm.shares.length > 0 && html`<${Panel} title=${t("board.alarms.shares")}><${Shares} shares=${alarm.shares} label=${t("board.alarms.shares")} /><//>`}
      ${alarm.resembles.length > 0 && html`<${Panel} title=${t("board.alarms.resembles")}>
        <${Shares} shares=${alarm.resembles} label=${t("board.alarms.resembles")} /><//>`}
    </div>
    ${alarm.window_ms && html`<${Panel} title=${t("board.alarms.around")}><${Around} alarm=${alarm} /><//>`}
    <div class="panel"><${DataTable} table=${journal} newest=${true} /></div>`}<//>`;
}
