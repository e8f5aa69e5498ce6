// The load of every quarter hour, the peak, what the running one will reach, the month.
import { html, useMemo, useState } from "../view.js";
import { address, get } from "../api.js";
import { Chart, evenly } from "../chart.js";
import { day as dayOf, moment, withUnit } from "../format.js";
import { Icon } from "../icons.js";
import { Empty, Field, Loaded, MachineSelect, PageHead, Panel, useEvery, useLoad } from "../parts.js";
import { setQuery } from "../route.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { now } from "../store.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

const RENEW_S = 60;
const FIGURES = [["kw", "peak"], ["forecast_kw", "forecast"], ["contract_kw", "contract"]];
const CLOSE = 0.95;
const QUARTER_MS = 900000;

// What the running quarter hour will reach, over all meters.
function forecastOf(tables) {
  for (const table of tables) {
    const [place, age] = ["forecast_kw", "age_s"].map((name) => table.columns.findIndex((one) => one.name === name));
    const fresh = place < 0 ? [] : table.rows.filter((row) => age < 0 || row[age] * 1000 < QUARTER_MS);
    const values = fresh.map((row) => row[place]).filter(Number.isFinite);
    if (values.length) return values.reduce((a, b) => a + b);
  }
  return null;
}

function Quarters({ quarters, peak, span }) {
  const data = useMemo(() => evenly(quarters.t_ms, quarters.kw, span, QUARTER_MS, null), [quarters]);
  if (!quarters.t_ms.length) return html`<${Empty} />`;
  const limits = [
    Number.isFinite(peak?.contract_kw) && { value: peak.contract_kw, text: t("board.energy.contract") },
    Number.isFinite(peak?.kw) && { value: peak.kw, text: t("board.energy.peak"), colour: "ink-2" },
  ].filter(Boolean);
  return html`<${Chart} title=${t("board.energy.profile")} unit="kW" height=${300} zero=${true} data=${data}
    range=${[span.from_ms / 1000, span.to_ms / 1000]} limits=${limits} series=${[{ label: t("board.energy.demand"), colour: "c1", bars: true }]} />`;
}

function Peak({ peak }) {
  const shown = FIGURES.filter(([name]) => Number.isFinite(peak[name]));
  if (!shown.length) return null;
  const close = Number.isFinite(peak.contract_kw) && Number.isFinite(peak.forecast_kw) && peak.forecast_kw > peak.contract_kw * CLOSE;
  return html`<section class=${close ? "panel odd" : "panel"}><dl class="big-figures">${shown.map(([name, text]) => html`<div key=${name}>
    <dt>${t(`board.energy.${text}`)}</dt>
    <dd>${withUnit(peak[name], "kW")}${name === "kw" && Number.isFinite(peak.t_ms) && html` <small>${moment(peak.t_ms, false)}</small>`}</dd></div>`)}</dl>
    ${close && html`<p class="warn"><${Icon} name="medium" kind="medium" /> ${t("board.energy.close")}</p>`}</section>`;
}

function Report({ machine }) {
  const [month, set] = useState(dayOf(now()).slice(0, 7));
  return html`<${Panel} title=${t("board.energy.report")}><div class="bar"><${Field} label=${t("board.energy.month")}>
    <input type="month" value=${month} onInput=${(event) => set(event.currentTarget.value)} /><//>
    ${["pdf", "html", "xlsx"].map((format) => html`<a key=${format} class="button" target=${format === "html" ? "_blank" : undefined} rel="noopener"
      download=${format !== "html"} href=${address("/reports/energy", { month, machine, format })}>
      <${Icon} name="download" />${t(`board.records.${format}`)}</a>`)}</div><//>`;
}

export function EnergyPage({ query }) {
  const [turn, again] = useState(0);
  useEvery(RENEW_S, () => again((n) => n + 1));
  const span = spanOf(query, "24h");
  const asks = { machine: query.machine, ...asked(span) };
  const found = useLoad((signal) => get("/energy", asks, signal), [query.machine, query.span, query.from, query.to, turn]);
  return html`<${PageHead} title=${t("board.nav.energy")} />
    <div class="bar"><${MachineSelect} value=${query.machine} pick=${(machine) => setQuery({ machine })} /><${SpanPicker} span=${span} /></div>
    <${Loaded} from=${found}>${(data) => {
      const peak = { ...data.peak, contract_kw: data.contract_kw, forecast_kw: forecastOf(data.tables) };
      return html`<${Peak} peak=${peak} />
      <div class="panel"><${Quarters} quarters=${data.quarters} peak=${peak} span=${span} /></div>
      ${data.tables.map((table) => html`<div class="panel" key=${table.name}>
        <${DataTable} table=${table} source=${{ path: "/energy", query: asks }} only=${table.name} /></div>`)}`;
    }}<//>
    <${Report} machine=${query.machine} />`;
}
