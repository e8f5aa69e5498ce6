// Where the planned time went, and the figures of every shift.
import { html, useState } from "../view.js";
import { address, get } from "../api.js";
import { day as dayOf, duration, percent } from "../format.js";
import { Icon } from "../icons.js";
import { Field, Loaded, MachineSelect, Meter, PageHead, Panel, Select, useLoad } from "../parts.js";
import { setQuery } from "../route.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { now } from "../store.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

const BY = ["shift", "day", "order", "machine", "line"];
const SHARES = ["oee", "availability", "effectiveness", "quality_ratio"];

// Each part begins where the one before it ends: what is left of the planned time can be read down the stairs.
function Waterfall({ parts }) {
  const whole = parts.reduce((sum, one) => sum + one.seconds, 0);
  if (!whole) return html`<p class="empty">${t("board.nothing")}</p>`;
  let before = 0;
  return html`<ol class="waterfall">${parts.filter((one) => one.seconds > 0).map((one) => {
    const start = before;
    before += one.seconds;
    return html`<li key=${one.name} class=${`loss-${one.name}`}><span class="loss-name">${one.label}</span>
      <span class="loss-bar"><i style=${{ marginLeft: `${(start / whole) * 100}%`, width: `${Math.max((one.seconds / whole) * 100, 0.3)}%` }}></i></span>
      <b>${percent(one.seconds / whole)}</b><span class="loss-time">${duration(one.seconds)}</span></li>`;
  })}</ol>`;
}

// All rows of the newest day and shift, one under the other.
function Newest({ table }) {
  const last = table.rows.at(-1);
  if (!last) return null;
  const at = (name) => table.columns.findIndex((one) => one.name === name);
  const when = ["day", "shift", "order"].map(at).filter((place) => place >= 0);
  const rows = when.length ? table.rows.filter((row) => when.every((place) => row[place] === last[place])) : table.rows;
  const who = [at("machine"), at("line")].find((place) => place >= 0);
  const shares = SHARES.map(at).filter((place) => place >= 0);
  const shown = (cell) => (typeof cell === "number" ? percent(cell) : html`<span class="why">${cell?.text ?? "–"}</span>`);
  return html`<${Panel} title=${t("board.kpis.newest", { label: when.map((place) => last[place]).filter(Boolean).join(" · ") })}>
    <ul class="oee-list">${rows.map((row, i) => html`<li key=${i}>
      <b class="oee-who">${who === undefined ? "" : String(row[who]).split("/").at(-1)}</b>
      ${shares.map((place, k) => html`<div key=${place} class=${k ? "" : "first"}><small>${table.columns[place].heading}</small>
        <span>${shown(row[place])}</span>
        ${typeof row[place] === "number" && html`<${Meter} share=${row[place]} label=${table.columns[place].heading} />`}</div>`)}</li>`)}</ul><//>`;
}

function Report({ shifts, machine }) {
  const [day, setDay] = useState(dayOf(now() - 86400000));
  const [shift, setShift] = useState(shifts[0] ?? "");
  return html`<${Panel} title=${t("board.kpis.report")}><div class="bar">
    <${Field} label=${t("board.kpis.day")}><input type="date" value=${day} onInput=${(event) => setDay(event.currentTarget.value)} /><//>
    ${shifts.length ? html`<${Select} label=${t("board.kpis.shift")} value=${shift} options=${shifts.map((one) => [one, one])}
      pick=${setShift} />` : html`<${Field} label=${t("board.kpis.shift")}>
      <input type="text" value=${shift} onInput=${(event) => setShift(event.currentTarget.value)} /><//>`}
    ${["pdf", "html"].map((format) => html`<a key=${format} class="button" target=${format === "html" ? "_blank" : undefined} rel="noopener"
      download=${format === "pdf"} href=${address("/reports/shift", { day, shift, machine, format })}>
      <${Icon} name="download" />${t(`board.records.${format}`)}</a>`)}
  </div><//>`;
}

export function KpisPage({ query }) {
  const span = spanOf(query, "7d");
  const by = BY.includes(query.by) ? query.by : "shift";
  const asks = { machine: query.machine, ...asked(span) };
  const losses = useLoad((signal) => get("/losses", asks, signal), [JSON.stringify(asks)]);
  const table = useLoad((signal) => get("/kpis", { by, ...asks }, signal), [by, JSON.stringify(asks)]);
  const place = table.data?.columns.findIndex((one) => one.name === "shift") ?? -1;
  const shifts = place < 0 ? [] : [...new Set(table.data.rows.map((row) => row[place]).filter((one) => typeof one === "string"))];
  return html`<${PageHead} title=${t("board.nav.kpis")} />
    <div class="bar">
      <${MachineSelect} value=${query.machine} pick=${(machine) => setQuery({ machine })} />
      <${SpanPicker} span=${span} />
      <${Select} label=${t("board.kpis.by")} value=${by} options=${BY.map((one) => [one, t(`board.kpis.by_${one}`)])}
        pick=${(value) => setQuery({ by: value })} />
    </div>
    ${table.data && html`<${Newest} table=${table.data} />`}
    <${Panel} title=${t("board.kpis.losses")}><${Loaded} from=${losses}>${(data) => html`<${Waterfall} parts=${data.parts} />`}<//><//>
    <div class="panel"><${Loaded} from=${table}>${(data) => html`<${DataTable} table=${data} source=${{ path: "/kpis", query: { by, ...asks } }} />`}<//></div>
    ${losses.data?.table && html`<div class="panel">
      <${DataTable} table=${losses.data.table} source=${{ path: "/losses", query: asks }} only=${losses.data.table.name} /></div>`}
    <${Report} key=${shifts.join()} shifts=${shifts} machine=${query.machine} />`;
}
