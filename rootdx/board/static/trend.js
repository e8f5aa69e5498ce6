// Trends of some tags of a machine: one chart a tag, one time for all; zooming asks for finer data.
import { html, useEffect, useMemo, useRef, useState } from "./view.js";
import { get } from "./api.js";
import { Chart } from "./chart.js";
import { moment } from "./format.js";
import { Icon } from "./icons.js";
import { listen } from "./live.js";
import { Loaded, useEvery, useLoad } from "./parts.js";
import { inLanguage, now } from "./store.js";
import { named, t } from "./texts.js";

const POINTS = 600;
const RENEW_S = 60;
const LEAST_MS = 2000;
const TAIL_ROWS = 600;
const TINTS = { fail: "phase-fail", review: "phase-review" };
const SIGNS = { fail: "✖", review: "▲" };

function shading(cycles) {
  const found = [];
  for (const cycle of cycles) {
    const shown = cycle.phases.length ? cycle.phases : [{ name: cycle.kind, start_ms: cycle.start_ms, end_ms: cycle.end_ms }];
    const words = cycle.phases.length ? "phase" : "kind";
    for (const one of shown) found.push({ name: named(words, one.name), from: one.start_ms / 1000, to: one.end_ms === null ? null : one.end_ms / 1000 });
  }
  // too many to tell apart: whole cycles instead, tinted by their verdict
  if (found.length <= 60) return found;
  return cycles.map((cycle) => ({
    name: SIGNS[cycle.verdict] ?? named("kind", cycle.kind), tint: TINTS[cycle.verdict],
    from: cycle.start_ms / 1000, to: cycle.end_ms === null ? null : cycle.end_ms / 1000,
  }));
}

function stretches(series) {
  const as = (bad) => ([from, to]) => ({ from: from / 1000, to: to / 1000, bad });
  return [...series.bad.map(as(true)), ...series.doubtful.map(as(false))];
}

// Rows that came since the answer, appended at the end.
function withTail(series, tail) {
  const last = series.t_ms.at(-1) ?? 0;
  const fresh = tail.filter((one) => one.t_ms > last);
  const add = (old, pick) => [...old, ...fresh.map(pick)];
  const value = (one) => (one.q === "bad" ? null : one.v);
  return [add(series.t_ms, (one) => one.t_ms).map((ms) => ms / 1000), add(series.low, value), add(series.high, value), add(series.mean, value)];
}

function TagChart({ series, tag, cycles, range, tail, zoom, sync }) {
  const data = useMemo(() => withTail(series, tail), [series, tail]);
  const phases = useMemo(() => shading(cycles), [cycles]);
  const marked = useMemo(() => stretches(series), [series]);
  const limits = useMemo(() => [tag?.low, tag?.high].filter((value) => Number.isFinite(value)).map((value) => ({ value })), [tag]);
  const lines = [
    { label: t("board.chart.low"), hidden: true }, { label: t("board.chart.high"), hidden: true },
    { label: t("board.chart.mean"), colour: "c1", width: 1.6 },
  ];
  const inside = limits.filter(({ value }) => near(value, data[3]));
  const said = inLanguage(tag?.text);
  return html`<${Chart} title=${said ? `${series.tag} · ${said}` : series.tag} unit=${series.unit} data=${data} series=${lines} bands=${[[2, 1]]}
    phases=${phases} stretches=${marked} limits=${inside} range=${range} sync=${sync} height=${180} onZoom=${zoom} />`;
}

// A limit far away would press the curve flat.
function near(limit, values) {
  const there = values.filter((value) => value !== null);
  if (!there.length) return false;
  const [low, high] = [Math.min(...there), Math.max(...there)];
  const room = (high - low || Math.abs(high) || 1) * 0.6;
  return limit > low - room && limit < high + room;
}

// window: {from_ms, to_ms} fixed, or {length_ms} that ends now.
export function Trend({ machine, tags, chosen, window, change, live = true }) {
  const moving = live && !window.from_ms;
  const [at_ms, tick] = useState(now());
  const [tails, append] = useState({});
  const pending = useRef({});
  const [renewed, renew] = useState(0);
  useEvery(RENEW_S, () => moving && renew((n) => n + 1));
  useEvery(1, () => {
    if (!moving) return;
    tick(now());
    if (!Object.keys(pending.current).length) return;
    const fresh = pending.current;
    pending.current = {};
    append((old) => {
      const tags = new Set([...Object.keys(old), ...Object.keys(fresh)]);
      return Object.fromEntries([...tags].map((tag) => [tag, [...(old[tag] || []), ...(fresh[tag] || [])].slice(-TAIL_ROWS)]));
    });
  });
  useEffect(() => listen("values", (data) => {
    if (data.machine !== machine) return;
    for (const [tag, one] of Object.entries(data.values)) (pending.current[tag] ||= []).push(one);
  }), [machine]);
  const asked = window.from_ms ? window : { from_ms: now() - window.length_ms, to_ms: now() };
  const asks = { machine, tag: chosen, from_ms: Math.round(asked.from_ms), to_ms: Math.round(asked.to_ms), points: POINTS };
  const found = useLoad((signal) => get("/trend", asks, signal), [machine, chosen.join(" "), window.from_ms, window.to_ms, window.length_ms, renewed]);
  const seen = window.from_ms ? window : { from_ms: at_ms - window.length_ms, to_ms: at_ms };
  const zoom = (from, to) => to * 1000 - from * 1000 > LEAST_MS && change({ from_ms: from * 1000, to_ms: to * 1000 });
  return html`<div class="trend">
    <${Pan} seen=${seen} moving=${moving} change=${change} live=${live} resolution=${found.data?.resolution} />
    <${Loaded} from=${found}>${(data) => data.series.map((series) => html`<${TagChart} key=${series.tag} series=${series} cycles=${data.cycles}
      tag=${tags.find((one) => one.tag === series.tag)} range=${[seen.from_ms / 1000, seen.to_ms / 1000]} tail=${moving ? tails[series.tag] || [] : []}
      zoom=${zoom} sync=${machine} />`)}<//>
  </div>`;
}

const LENGTHS = [["5", 5], ["30", 30], ["2h", 120], ["8h", 480], ["24h", 1440], ["7d", 10080]];

function Pan({ seen, moving, change, live, resolution }) {
  const length = seen.to_ms - seen.from_ms;
  const to = (from_ms, to_ms) => change({ from_ms, to_ms });
  return html`<div class="pan" role="group" aria-label=${t("board.chart.time")}>
    ${live && html`<button class=${moving ? "on" : ""} aria-pressed=${moving} onClick=${() => change({ length_ms: Math.min(length, 86400000) })}>
      <${Icon} name="live" />${t("board.trend.live")}</button>`}
    ${live && html`<div class="choices" role="group" aria-label=${t("board.trend.length")}>${LENGTHS.map(([name, minutes]) => html`<button key=${name}
      aria-pressed=${Math.abs(length - minutes * 60000) < 1000}
      onClick=${() => change({ length_ms: minutes * 60000 })}>${t(`board.trend.last_${name}`)}</button>`)}</div>`}
    <button aria-label=${t("board.trend.earlier")} onClick=${() => to(seen.from_ms - length / 2, seen.to_ms - length / 2)}><${Icon} name="left" /></button>
    <button aria-label=${t("board.trend.later")} disabled=${moving} onClick=${() => to(seen.from_ms + length / 2, seen.to_ms + length / 2)}>
      <${Icon} name="right" /></button>
    <button aria-label=${t("board.trend.closer")} disabled=${length < LEAST_MS * 4}
      onClick=${() => to(seen.from_ms + length / 4, seen.to_ms - length / 4)}><${Icon} name="zoom_in" /></button>
    <button aria-label=${t("board.trend.wider")} onClick=${() => to(seen.from_ms - length / 2, Math.min(seen.to_ms + length / 2, now()))}>
      <${Icon} name="zoom_out" /></button>
    <span class="seen">${moment(seen.from_ms)} – ${moment(seen.to_ms)}${resolution && resolution !== "raw" ? ` · ${t(`board.trend.${resolution}`)}` : ""}</span>
  </div>`;
}
