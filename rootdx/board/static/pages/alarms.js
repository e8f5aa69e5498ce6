// What rings, what matters first; the journal; how much rings.
import { html, useEffect, useMemo } from "../view.js";
import { get } from "../api.js";
import { AlarmActs } from "../alarm_acts.js";
import { Chart, evenly } from "../chart.js";
import { brief } from "../format.js";
import { listen } from "../live.js";
import { Empty, Loaded, MachineSelect, PageHead, Priority, Tabs, useLoad } from "../parts.js";
import { href, setQuery } from "../route.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { may, now } from "../store.js";
import { DataTable, Exports } from "../table.js";
import { t } from "../texts.js";

const FLOOD = 10;
const BIN_MS = 600000;

function quick(alarm) {
  const unseen = ["unacknowledged", "returned", "latched_unacknowledged"].includes(alarm.state);
  return unseen && may("acknowledge") ? ["acknowledge"] : [];
}

function Item({ alarm, reload }) {
  const calm = !["unacknowledged", "returned", "latched_unacknowledged"].includes(alarm.state);
  const until = alarm.shelved_until_ms && t("board.alarms.until", { when: brief(alarm.shelved_until_ms, now()) });
  const facts = [alarm.state_text, brief(alarm.raised_ms, now()), alarm.acknowledged_by, alarm.done, until];
  return html`<li class=${`alarm ${alarm.priority} ${calm ? "calm" : ""}`}>
    <a class="alarm-link" href=${href("alarm", alarm.alarm_id)}>
      <${Priority} priority=${alarm.priority} />
      <div class="alarm-words"><p class="alarm-where"><b>${alarm.short}</b> · ${alarm.subject_name || alarm.detector}</p>
        <p class="alarm-sentence">${alarm.sentence}</p>
        <p class="alarm-state">${facts.filter(Boolean).join(" · ")}</p></div>
    </a>
    <${AlarmActs} alarm=${alarm} may=${quick(alarm)} after=${reload} />
  </li>`;
}

function Standing({ query }) {
  const asks = { machine: query.machine, every: query.every === "yes" };
  const found = useLoad((signal) => get("/alarms", asks, signal), [query.machine, query.every]);
  useEffect(() => listen("alarms", found.reload), []);
  return html`<div class="bar"><${MachineSelect} value=${query.machine} pick=${(machine) => setQuery({ machine })} />
      <label class="chip"><input type="checkbox" checked=${query.every === "yes"}
        onChange=${(event) => setQuery({ every: event.currentTarget.checked ? "yes" : "" })} />${t("board.alarms.every")}</label>
      <div class="push"><${Exports} source=${{ path: "/alarms", query: asks }} /></div></div>
    <${Loaded} from=${found}>${(data) => (data.alarms.length
      ? html`<ul class="alarms">${data.alarms.map((one) => html`<${Item} key=${one.alarm_id} alarm=${one} reload=${found.reload} />`)}</ul>`
      : html`<${Empty} text=${t("board.alarms.none")} />`)}<//>`;
}

function Journal({ query }) {
  const span = spanOf(query, "7d");
  const asks = { machine: query.machine, ...asked(span) };
  const found = useLoad((signal) => get("/alarms/journal", asks, signal), [query.machine, asks.from, asks.to]);
  return html`<div class="bar"><${MachineSelect} value=${query.machine} pick=${(machine) => setQuery({ machine })} /><${SpanPicker} span=${span} /></div>
    <${Loaded} from=${found}>${(table) => html`<${DataTable} table=${table} newest=${true} source=${{ path: "/alarms/journal", query: asks }} />`}<//>`;
}

function Rate({ bins, span }) {
  const data = useMemo(() => evenly(bins.map((one) => one.t_ms), bins.map((one) => one.alarms), span, BIN_MS, 0), [bins]);
  if (!bins.length) return null;
  return html`<section class="panel">
    <${Chart} title=${t("board.alarms.rate")} data=${data} zero=${true} range=${[span.from_ms / 1000, span.to_ms / 1000]}
    series=${[{ label: t("board.alarms.count"), colour: "c1", bars: true }]} limits=${[{ value: FLOOD, text: t("board.alarms.flood") }]} /></section>`;
}

function Load({ query }) {
  const span = spanOf(query, "30d");
  const asks = asked(span);
  const found = useLoad((signal) => get("/alarms/rates", asks, signal), [asks.from, asks.to]);
  return html`<div class="bar"><${SpanPicker} span=${span} /></div>
    <${Loaded} from=${found}>${(data) => html`<${Rate} bins=${data.bins} span=${span} />
      <div class="columns">${data.tables.map((table) => html`<div class="panel" key=${table.name}>
        <${DataTable} table=${table} source=${{ path: "/alarms/rates", query: asks }} only=${table.name} /></div>`)}</div>`}<//>`;
}

const TABS = { standing: Standing, journal: Journal, load: Load };

export function AlarmsPage({ query }) {
  const tab = query.tab in TABS ? query.tab : "standing";
  const Tab = TABS[tab];
  return html`<${PageHead} title=${t("board.nav.alarms")} />
    <${Tabs} label=${t("board.nav.alarms")} now=${tab} tabs=${Object.keys(TABS).map((name) => [name, t(`board.alarms.tab.${name}`)])}
      pick=${(name) => setQuery({ tab: name })} />
    <${Tab} key=${tab} query=${query} />`;
}
