// For a screen on the wall: tiles one reads from three metres, then machine by machine, then what rings.
import { html, useEffect, useState } from "../view.js";
import { get } from "../api.js";
import { clock, duration, percent } from "../format.js";
import { Icon } from "../icons.js";
import { keepAwake } from "../awake.js";
import { Meter, Priority, StateMark, stateOf, useEvery, Verdict } from "../parts.js";
import { LostBanner } from "../shell.js";
import { inLanguage, now, plantName, read, useShared } from "../store.js";
import { named, t } from "../texts.js";
import { go as goTo } from "../route.js";
import { progressOf } from "./overview.js";

const TURN_S = 20;
const PROBE_S = 15;
const RELOAD_AFTER_MS = 120000;
const MOST_ALARMS = 7;
const STATES = ["ok", "off", "link_down", "sensor_bad"];

function Run({ run, at_ms }) {
  return html`<div class="kiosk-run"><p><b>${run.phase ? named("phase", run.phase) : named("kind", run.kind)}</b>
    <span>${duration(Math.round(Math.max(0, (at_ms - run.start_ms) / 1000)))}</span></p>
    ${progressOf(run, at_ms) !== null && html`<${Meter} share=${progressOf(run, at_ms)}
      label=${t("board.tile.progress", { kind: named("kind", run.kind) })} />`}</div>`;
}

function Worst({ alarms }) {
  const there = ["high", "medium", "low"].filter((level) => alarms[level] > 0);
  return html`<span class="kiosk-alarms">${there.map((level) => html`<span key=${level}>
    <${Icon} name=${level} kind=${level} size=${44} label=${t(`board.priority.${level}`)} /><b>${alarms[level]}</b></span>`)}</span>`;
}

function Tile({ tile, at_ms }) {
  const worst = ["high", "medium", "low"].find((level) => tile.alarms[level] > 0);
  return html`<li class=${`kiosk-tile is-${stateOf(tile)} ${worst ? `rings-${worst}` : ""}`}>
    <header><h2>${tile.short}</h2><${Worst} alarms=${tile.alarms} /></header>
    <${StateMark} tile=${tile} size=${40} />
    ${tile.running.slice(0, 1).map((run) => html`<${Run} key=${run.cycle_id} run=${run} at_ms=${at_ms} />`)}
    ${!tile.running.length && tile.last && html`<p class="kiosk-last"><${Verdict} verdict=${tile.last.verdict} /></p>`}
    ${tile.top_alarm && html`<p class="kiosk-why">${tile.top_alarm.sentence}</p>`}
    <p class="kiosk-oee"><span>${t("board.tile.oee")}</span> <b>${percent(tile.oee, 0)}</b></p>
  </li>`;
}

// So many columns that few places stay empty and tiles stay about as wide as high.
function widthFor(count) {
  const cost = (wide) => wide * Math.ceil(count / wide) - count + Math.abs(wide - Math.sqrt(count * 1.5));
  const tried = Array.from({ length: Math.max(1, count) }, (_, i) => i + 1);
  return tried.reduce((best, wide) => (cost(wide) < cost(best) ? wide : best), 1);
}

function All({ machines, at_ms }) {
  const wide = widthFor(machines.length);
  return html`<ul class="kiosk-tiles"
    style=${{ "--wide": wide, "--deep": Math.ceil(machines.length / wide) || 1 }}>${machines.map((tile) => html`<${Tile} key=${tile.machine}
    tile=${tile} at_ms=${at_ms} />`)}</ul>`;
}

function One({ tile, at_ms }) {
  return html`<section class=${`kiosk-one is-${stateOf(tile)}`}>
    <header><h2>${tile.short} <small>${inLanguage(tile.name)}</small></h2><${StateMark} tile=${tile} size=${72} /></header>
    ${tile.running.slice(0, 3).map((run) => html`<${Run} key=${run.cycle_id} run=${run} at_ms=${at_ms} />
      <p class="kiosk-context">${[run.part, run.lot && `${t("board.lot")} ${run.lot}`, run.recipe].filter(Boolean).join(" · ")}</p>`)}
    ${!tile.running.length && tile.last && html`<p class="kiosk-last">${t("board.machine.last")} <${Verdict} verdict=${tile.last.verdict} /></p>`}
    <dl class="kiosk-figures"><div><dt>${t("board.tile.oee")}</dt><dd>${percent(tile.oee, 0)}</dd></div><div><dt>${t("board.tile.health")}</dt>
      <dd>${percent(tile.health, 0)}</dd></div>
      <div><dt>${t("board.count.open_alarms")}</dt><dd><${Worst} alarms=${tile.alarms} />${tile.top_alarm ? "" : "0"}</dd></div></dl>
    ${tile.top_alarm && html`<p class="kiosk-sentence">
      <${Icon} name=${tile.top_alarm.priority} kind=${tile.top_alarm.priority} size=${56} />${tile.top_alarm.sentence}</p>`}
  </section>`;
}

function Ringing({ machines }) {
  const rank = { high: 0, medium: 1, low: 2 };
  const tops = machines.filter((one) => one.top_alarm).sort((a, b) => rank[a.top_alarm.priority] - rank[b.top_alarm.priority]).slice(0, MOST_ALARMS);
  return html`<ul class="kiosk-ringing">${tops.map((one) => html`<li key=${one.machine}>
    <${Priority} priority=${one.top_alarm.priority} word=${false} /><b>${one.short}</b><span>${one.top_alarm.sentence}</span></li>`)}</ul>`;
}

// #/kiosk?turn=20&machines=no|yes|alarms&alarms=yes|no
function views(machines, query) {
  const found = [{ name: "all" }];
  const shown = { yes: (one) => one.state !== "off", alarms: (one) => one.top_alarm }[query.machines];
  if (shown) found.push(...machines.filter(shown).map((one) => ({ name: "one", machine: one.machine })));
  if (query.alarms !== "no" && machines.some((one) => one.top_alarm)) found.push({ name: "ringing" });
  return found;
}

async function reloadAfterLoss() {
  const { lost, since_ms } = read("link");
  if (!lost || now() - since_ms < RELOAD_AFTER_MS) return;
  try {
    await get("/health");
    location.reload();
  } catch {
    // not yet
  }
}

export function KioskPage({ query }) {
  const overview = useShared("overview");
  const [at_ms, tick] = useState(now());
  const [turn, go] = useState(0);
  useEvery(1, () => tick(now()));
  useEvery(Math.max(5, Number(query.turn) || TURN_S), () => go((n) => n + 1));
  useEvery(PROBE_S, reloadAfterLoss);
  useEffect(keepAwake, []);
  useEffect(() => {
    const leave = (event) => event.key === "Escape" && goTo("overview", "");
    addEventListener("keydown", leave);
    return () => removeEventListener("keydown", leave);
  }, []);
  const machines = overview?.machines ?? [];
  const all = views(machines, query);
  const view = all[turn % all.length];
  const tile = machines.find((one) => one.machine === view.machine);
  const fill = () => document.documentElement.requestFullscreen?.().catch(() => {});
  return html`<main class="kiosk" id="main" onClick=${fill}>
    <header class="kiosk-head"><h1>${plantName()}</h1>
      <p class="kiosk-counts">${overview && STATES.filter((name) => name === "ok" || overview.counts[name]).map((name) => html`<span key=${name}>
          <${Icon} name=${name === "ok" ? "running" : name} size=${32} label=${t(`board.count.${name}`)} /> ${overview.counts[name]}</span>`)}
        ${overview && html`<span><${Icon} name="alarms" size=${32} label=${t("board.count.open_alarms")} /> ${overview.counts.open_alarms}</span>`}</p>
      <time>${clock(at_ms, false)}</time></header>
    <${LostBanner} />
    ${view.name === "ringing" ? html`<${Ringing} machines=${machines} />` : view.name === "one" && tile ? html`<${One}
      tile=${tile} at_ms=${at_ms} />` : html`<${All} machines=${machines} at_ms=${at_ms} />`}
  </main>`;
}
