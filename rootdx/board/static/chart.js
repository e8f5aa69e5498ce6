// uPlot with what a shop floor needs: phases shaded and named, limits, bad stretches, gaps that stay gaps, a table.
import { html, useEffect, useRef, useState } from "./view.js";
import "./locale.js";
import uPlot from "./vendor/uPlot.esm.js";
import { clock, day, moment, number, unit as shownUnit } from "./format.js";
import { Icon } from "./icons.js";
import { paintAbove, paintBelow } from "./chart_paint.js";
import { useShared, zone } from "./store.js";
import { DataTable } from "./table.js";
import { t } from "./texts.js";

const FONT = "12px Pretendard, sans-serif";
const TABLE_ROWS = 200;
const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function useTheme() {
  const theme = useShared("theme");
  const [system, set] = useState(dark.matches);
  useEffect(() => {
    const look = () => set(dark.matches);
    dark.addEventListener("change", look);
    return () => dark.removeEventListener("change", look);
  }, []);
  return `${theme} ${system}`;
}

function timeLabels(_chart, splits, _axis, _space, step) {
  let before = "";
  return splits.map((second) => {
    const today = day(second * 1000);
    const time = clock(second * 1000, step < 60);
    const shown = step >= 86400 ? today.slice(5) : today !== before ? `${time}\n${today.slice(5)}` : time;
    before = today;
    return shown;
  });
}

function axis(side, extra) {
  return {
    stroke: colour("ink-2"), font: FONT, labelFont: FONT, ticks: { stroke: colour("rule"), width: 1, size: 4 },
    grid: { stroke: colour("rule"), width: 1 }, side, ...extra,
  };
}

function lineOf(one) {
  const stroke = one.hidden ? "transparent" : colour(one.colour || "c1");
  const bars = one.bars ? { paths: uPlot.paths.bars({ size: [0.9, Infinity], align: 1 }), fill: stroke } : {};
  return {
    label: one.label, stroke, width: one.hidden ? 0 : one.width ?? 1.6, dash: one.dash, spanGaps: false,
    points: { show: one.points ?? false, size: 5, fill: stroke }, ...bars,
  };
}

function plotted(box, given, now) {
  const range = (_chart, low, high) => now.current.range ?? (low === high ? [low - 1, high + 1] : [low, high]);
  const options = {
    width: Math.max(200, box.clientWidth), height: given.height, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), zone()),
    legend: { show: false }, padding: [given.phases ? 18 : 8, 12, 0, 0],
    cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, sync: given.sync ? { key: given.sync } : undefined },
    scales: { x: { time: given.time !== false, range }, y: { range: (_chart, low, high) => vertical(low, high, now.current) } },
    axes: [
      axis(2, given.time === false ? { values: (_c, splits) => splits.map((v) => number(v)), size: 34 } : { values: timeLabels, size: 42, space: 70 }),
      axis(3, { values: (_c, splits) => splits.map((v) => number(v)), size: 58, space: 28 }),
    ],
    series: [{}, ...given.series.map(lineOf)],
    bands: (given.bands || []).map(([upper, lower, name]) => ({ series: [upper, lower], fill: colour(name || "band") })),
    hooks: {
      drawClear: [(chart) => paintBelow(chart, now.current, colour)],
      draw: [(chart) => paintAbove(chart, now.current, colour)],
      setCursor: [(chart) => now.current.readout?.(chart)],
      setSelect: [(chart) => zoomed(chart, now.current)],
    },
  };
  return new uPlot(options, given.data, box);
}

function vertical(low, high, { limits = [], zero }) {
  const values = [low, high, ...limits.map((one) => one.value)].filter(Number.isFinite);
  if (zero) values.push(0);
  if (!values.length) return [0, 1];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = (most - least || Math.abs(most) || 1) * 0.06;
  return [zero && least === 0 ? 0 : least - room, most + room];
}

function zoomed(chart, { onZoom }) {
  const { left, width } = chart.select;
  if (width < 6) return;
  const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  if (onZoom) onZoom(from, to);
}

function summary(given) {
  const said = given.series.flatMap((one, i) => {
    if (one.hidden || one.minor) return [];
    const values = given.data[i + 1].filter((value) => value !== null && Number.isFinite(value));
    if (!values.length) return [t("board.chart.no_values", { name: one.label })];
    return [t("board.chart.summary", {
      name: one.label, low: number(values.reduce((a, b) => Math.min(a, b))), high: number(values.reduce((a, b) => Math.max(a, b))),
      last: number(values.at(-1)), unit: shownUnit(given.unit),
    })];
  });
  return [given.title, ...said].filter(Boolean).join(". ");
}

function asTable(given) {
  const rows = given.data[0].length;
  const step = Math.max(1, Math.ceil(rows / TABLE_ROWS));
  const kept = given.series.map((one, i) => [one, i + 1]).filter(([one]) => one.label && !one.minor);
  const x = given.time === false ? { name: "x", heading: t("board.chart.second"), kind: "number", unit: "s" }
    : { name: "x", heading: t("board.chart.time"), kind: "text", unit: "" };
  const lines = [];
  for (let i = 0; i < rows; i += step) {
    const at = given.data[0][i];
    lines.push([given.time === false ? at : moment(at * 1000), ...kept.map(([, place]) => given.data[place][i])]);
  }
  const columns = kept.map(([one]) => ({ name: one.label, heading: one.label, kind: "number", unit: given.unit }));
  return { name: "chart", title: given.title, columns: [x, ...columns], rows: lines };
}

// Bins of one length from one moment to another; those that nothing is said about are `empty`.
export function evenly(t_ms, values, span, step_ms, empty) {
  const first = Math.floor(span.from_ms / step_ms) * step_ms;
  const known = new Map(t_ms.map((ms, i) => [Math.floor(ms / step_ms) * step_ms, values[i]]));
  const bins = Array.from({ length: Math.max(1, Math.ceil((span.to_ms - first) / step_ms)) }, (_, i) => first + i * step_ms);
  return [bins.map((ms) => ms / 1000), bins.map((ms) => known.get(ms) ?? empty)];
}

// given: title, unit, data, series, bands, limits, phases, stretches, range, height, time, sync, onZoom, marks, zero
export function Chart(given) {
  const box = useRef(null);
  const words = useRef(null);
  const chart = useRef(null);
  const now = useRef(given);
  const [tabled, table] = useState(false);
  const theme = useTheme();
  now.current = { ...given, readout: (shown) => write(words.current, shown, now.current) };
  const shape = JSON.stringify([given.series, given.bands, given.height, given.time, given.sync, Boolean(given.phases), theme, tabled]);
  useEffect(() => {
    if (tabled) return undefined;
    chart.current = plotted(box.current, { height: 190, ...given }, now);
    const watch = new ResizeObserver(() => box.current && chart.current?.setSize({ width: Math.max(200, box.current.clientWidth), height: given.height ?? 190 }));
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      chart.current.destroy();
      chart.current = null;
    };
  }, [shape]);
  useEffect(() => {
    chart.current?.setData(given.data, true);
  }, [given.data, given.range?.[0], given.range?.[1], given.phases, given.stretches, given.limits]);
  return html`<figure class="chart">
    <figcaption>
      <span class="chart-title">${given.title}${shownUnit(given.unit) && html` <small>${shownUnit(given.unit)}</small>`}</span>
      <output ref=${words} class="readout"></output>
      ${given.tools}
      <button class="plain" aria-pressed=${tabled} aria-label=${t("board.chart.as_table", { name: given.title || "" })}
        onClick=${() => table(!tabled)}><${Icon} name="table" size=${20} /></button>
    </figcaption>
    ${tabled ? html`<${DataTable} table=${asTable(given)} title=${given.title} filter=${false} level=${3} />`
      : html`<div class="plot" ref=${box} role="img" aria-label=${summary(given)}></div>`}
  </figure>`;
}

function write(place, chart, given) {
  if (!place) return;
  const i = chart.cursor.idx;
  if (i === null || i === undefined || chart.data[0][i] === undefined) {
    place.textContent = "";
    return;
  }
  const at = given.time === false ? `${number(chart.data[0][i])} s` : clock(chart.data[0][i] * 1000);
  const named = given.series.filter((one) => !one.hidden && !one.minor).length > 1;
  const said = given.series.flatMap((one, s) => {
    const value = chart.data[s + 1][i];
    if (one.hidden || one.minor || value === null || value === undefined) return [];
    return [named ? `${one.label} ${number(value)}` : number(value)];
  });
  place.textContent = said.length ? `${at}  ${said.join(" · ")}` : at;
}
