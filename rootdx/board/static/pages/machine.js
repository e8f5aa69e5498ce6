// One machine: what it does now, its trends, its cycles against good ones, features, bursts.
import { html, useState } from "../view.js";
import { get } from "../api.js";
import { age, duration, percent } from "../format.js";
import { Icon } from "../icons.js";
import { Loaded, Meter, PageHead, StateMark, Tabs, useEvery, useLoad, useMachines, Verdict } from "../parts.js";
import { href, setQuery } from "../route.js";
import { inLanguage, now } from "../store.js";
import { named, t } from "../texts.js";
import { AlarmCounts, progressOf } from "./overview.js";
import { BurstTab } from "./machine_bursts.js";
import { CurvesTab } from "./machine_curves.js";
import { FeaturesTab } from "./machine_features.js";
import { TrendTab } from "./machine_trend.js";

const TABS = { trend: TrendTab, curves: CurvesTab, features: FeaturesTab, bursts: BurstTab };

function Phases({ run, at_ms }) {
  return html`<ol class="phase-strip" aria-label=${t("board.machine.phases")}>${run.phases.map((one, i) => {
    const last = one.end_ms === null || i === run.phases.length - 1;
    return html`<li key=${i} class=${last ? "now" : ""} aria-current=${last ? "step" : undefined}>
      <span>${named("phase", one.name)}</span> <small>${duration(Math.max(0, Math.round(((one.end_ms ?? at_ms) - one.start_ms) / 1000)))}</small></li>`;
  })}</ol>`;
}

function contextOf(run) {
  return [run.lane, run.part, run.lot && `${t("board.lot")} ${run.lot}`, run.recipe].filter(Boolean).join(" · ");
}

function Now({ tile }) {
  const [at_ms, tick] = useState(now());
  useEvery(1, () => tick(now()));
  return html`<section class="panel now" aria-label=${t("board.machine.now")}>
    <div class="now-head"><${StateMark} tile=${tile} size=${32} />
      <div class="counts"><${AlarmCounts} alarms=${tile.alarms} /></div>
      <dl class="figures">
        <div><dt>${t("board.tile.oee")}</dt><dd>${percent(tile.oee, 0)}</dd></div>
        <div><dt>${t("board.tile.health")}</dt><dd>${percent(tile.health, 0)}</dd></div>
        <div><dt>${t("board.tile.age")}</dt><dd>${age(tile.age_s)}</dd></div>
      </dl></div>
    ${tile.running.map((run) => html`<div key=${run.cycle_id} class="now-run">
      <p><strong>${named("kind", run.kind)}</strong>${run.number ? ` #${run.number}` : ""} ${contextOf(run)}
        <span class="run-time">${duration(Math.round((at_ms - run.start_ms) / 1000))}${run.typical_s ? ` / ${duration(Math.round(run.typical_s))}` : ""}</span></p>
      ${progressOf(run, at_ms) !== null && html`<${Meter} share=${progressOf(run, at_ms)}
        label=${t("board.tile.progress", { kind: named("kind", run.kind) })} />`}
      <${Phases} run=${run} at_ms=${at_ms} />
    </div>`)}
    ${!tile.running.length && tile.last && html`<p>${t("board.machine.last")} <a
      href=${href("cycle", tile.last.cycle_id)}>#${tile.last.cycle_id}</a> · ${duration(tile.last.seconds)} · <${Verdict} verdict=${tile.last.verdict} /></p>`}
    ${tile.top_alarm && html`<a class="top-alarm" href=${href("alarm", tile.top_alarm.alarm_id)}>
      <${Icon} name=${tile.top_alarm.priority} kind=${tile.top_alarm.priority} /><span>${tile.top_alarm.sentence}</span></a>`}
  </section>`;
}

export function MachinePage({ arg, query }) {
  const about = useLoad((signal) => get("/machine", { machine: arg }, signal), [arg]);
  const tile = useMachines().find((one) => one.machine === arg || one.short === arg);
  return html`<${Loaded} from=${about}>${(machine) => {
    const tabs = Object.keys(TABS)
      .filter((name) => (name !== "bursts" || machine.bursts.length) && (!["curves", "features"].includes(name) || machine.kinds.length))
      .map((name) => [name, t(`board.machine.${name}`)]);
    const tab = tabs.some(([name]) => name === query.tab) ? query.tab : "trend";
    const Tab = TABS[tab];
    return html`
      <${PageHead} title=${machine.short} sub=${inLanguage(machine.name)}>
        <a class="button" href=${href("alarms", "", { machine: machine.machine })}><${Icon} name="alarms" />${t("board.nav.alarms")}</a>
        <a class="button" href=${href("cycles", "", { machine: machine.machine })}><${Icon} name="cycles" />${t("board.nav.cycles")}</a>
        <a class="button" href=${href("commissioning", "", { machine: machine.machine })}><${Icon} name="commissioning" />${t("board.machine.tags")}</a>
      <//>
      ${tile && html`<${Now} tile=${tile} />`}
      <${Tabs} label=${t("board.machine.views")} tabs=${tabs} now=${tab} pick=${(name) => setQuery({ tab: name })} />
      <${Tab} machine=${machine} query=${query} />`;
  }}<//>`;
}
