// Every machine as a tile: what it does now, and whether anything is not as it should be.
import { html, useState } from "../view.js";
import { age, brief, duration, percent } from "../format.js";
import { Icon } from "../icons.js";
import { Empty, Meter, PageHead, Priority, StateMark, stateOf, useEvery, Verdict } from "../parts.js";
import { href } from "../route.js";
import { inLanguage, now, useShared } from "../store.js";
import { named, t } from "../texts.js";

const STALE_S = 120;
const GOOD_HEALTH = 0.95;

export function progressOf(run, at_ms) {
  if (!run.typical_s) return run.progress;
  return Math.min(1, Math.max(0, (at_ms - run.start_ms) / 1000 / run.typical_s));
}

function Running({ run, at_ms }) {
  const passed = Math.max(0, (at_ms - run.start_ms) / 1000);
  const share = progressOf(run, at_ms);
  const context = [run.part, run.lot && `${t("board.lot")} ${run.lot}`, run.lane].filter(Boolean);
  const over = run.typical_s && passed > run.typical_s * 1.5;
  return html`<div class="run">
    <div class="run-words"><strong>${run.phase ? named("phase", run.phase) : named("kind", run.kind)}</strong>
      <span class="run-time">${duration(Math.round(passed))}${run.typical_s ? html` <span
        class="of">/ ${duration(Math.round(run.typical_s))}</span>` : null}</span></div>
    ${share !== null && html`<${Meter} share=${share} kind=${over ? "over" : ""} label=${t("board.tile.progress", { kind: named("kind", run.kind) })} />`}
    ${context.length > 0 && html`<div class="run-of">${context.map((one) => html`<span key=${one}>${one}</span>`)}</div>`}
  </div>`;
}

export function AlarmCounts({ alarms }) {
  const there = ["high", "medium", "low"].filter((level) => alarms[level] > 0);
  if (!there.length) return html`<span class="quiet">${t("board.tile.no_alarms")}</span>`;
  return there.map((level) => html`<span key=${level} class="alarm-count"><${Priority} priority=${level} word=${false} /><b>${alarms[level]}</b></span>`);
}

function Tile({ tile, at_ms }) {
  const stale = tile.age_s !== null && tile.age_s > STALE_S && tile.state !== "off";
  const state = stateOf(tile);
  const shown = tile.running.slice(0, 2);
  const more = tile.running.length - shown.length;
  const worst = ["high", "medium", "low"].find((level) => tile.alarms[level] > 0) ?? "";
  return html`<li class=${`tile is-${state} ${worst && `rings-${worst}`} ${stale ? "stale" : ""}`}>
    <a class="tile-link" href=${href("machine", tile.machine)}>
      <header><h2>${tile.short}</h2><${StateMark} tile=${tile} /></header>
      <p class="tile-name">${inLanguage(tile.name)}</p>
      <div class="tile-now">
        ${shown.map((run) => html`<${Running} key=${run.cycle_id} run=${run} at_ms=${at_ms} />`)}
        ${more > 0 && html`<p class="quiet">${t("board.tile.more_running", { count: more })}</p>`}
        ${!shown.length && tile.last && html`<p class="last">
          <span class="quiet">${t("board.tile.last", { when: brief(tile.last.end_ms, at_ms) })}</span> <${Verdict} verdict=${tile.last.verdict} /></p>`}
        ${!shown.length && !tile.last && html`<p class="quiet">${t("board.tile.no_cycle")}</p>`}
      </div>
      <dl class="figures">
        <div><dt>${t("board.tile.oee")}</dt><dd>${percent(tile.oee, 0)}</dd></div>
        <div class=${tile.health !== null && tile.health < GOOD_HEALTH ? "odd" : ""}><dt>${t("board.tile.health")}</dt><dd>${percent(tile.health, 0)}</dd></div>
        <div><dt>${t("board.tile.age")}</dt><dd>${age(tile.age_s)}</dd></div>
      </dl>
      <footer>
        <div class="counts"><${AlarmCounts} alarms=${tile.alarms} /></div>
        ${tile.top_alarm && html`<p class="top-alarm">${tile.top_alarm.sentence}</p>`}
      </footer>
    </a>
  </li>`;
}

function Counts({ counts }) {
  const said = ["ok", "off", "link_down", "sensor_bad"].filter((name) => name === "ok" || counts[name] > 0);
  return html`<ul class="totals">
    ${said.map((name) => html`<li key=${name} class=${name === "ok" || name === "off" ? "" : "odd"}><${Icon} name=${name === "ok" ? "ok" : name} />
      <b>${counts[name]}</b> ${t(`board.count.${name}`)}</li>`)}
    <li class=${counts.open_alarms ? "odd" : ""}><${Icon} name="alarms" /><b>${counts.open_alarms}</b> ${t("board.count.open_alarms")}</li>
  </ul>`;
}

export function OverviewPage() {
  const overview = useShared("overview");
  const [at_ms, tick] = useState(now());
  useEvery(1, () => tick(now()));
  if (!overview) return html`<${PageHead} title=${t("board.nav.overview")} /><p class="waiting" role="status">${t("board.loading")}</p>`;
  return html`<${PageHead} title=${t("board.nav.overview")}><${Counts} counts=${overview.counts} /><//>
    ${!overview.machines.length && html`<${Empty} text=${t("board.overview.none")} />`}
    <ul class="tiles">${overview.machines.map((tile) => html`<${Tile} key=${tile.machine} tile=${tile} at_ms=${at_ms} />`)}</ul>`;
}
