// Our own icons, drawn on 24 × 24. They inherit the colour of the text; the shapes differ without it.
import { html } from "./view.js";

const line = (d) => html`<path d=${d} fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" />`;
const solid = (d) => html`<path d=${d} fill="currentColor" />`;
const mark = (d) => html`<path d=${d} fill="none" stroke="var(--on-signal)" stroke-width="2.4" stroke-linecap="round" />`;

const DRAWN = {
  overview: line("M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z"),
  alarms: line("M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4"),
  cycles: line("M20 11a8 8 0 1 0-2 6M20 5v6h-6"),
  lots: line("M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8"),
  entries: line("M4 20h4L19 9l-4-4L4 16zM13 7l4 4"),
  kpis: line("M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6"),
  energy: line("M13 3L5 14h6l-1 7 9-12h-6z"),
  completeness: line("M4 6h16M4 12h16M4 18h9M17 17l2 2 3-4"),
  commissioning: line("M9 4v6L4 19a1.5 1.5 0 0 0 1 2h14a1.5 1.5 0 0 0 1-2l-5-9V4M8 4h8M7 15h10"),
  settings: line("M4 7h9M17 7h3M4 17h3M11 17h9M13 7a2 2 0 1 0 4 0a2 2 0 1 0-4 0M7 17a2 2 0 1 0 4 0a2 2 0 1 0-4 0"),
  journal: line("M6 3h12v18H6zM9 8h6M9 12h6M9 16h3"),
  accounts: line("M8 8a4 4 0 1 0 8 0a4 4 0 1 0-8 0M4 21c0-5 4-7 8-7s8 2 8 7"),
  kiosk: line("M3 5h18v12H3zM9 21h6M12 17v4"),
  more: line("M4 7h16M4 12h16M4 17h16"),
  machine: line("M3 20h18M5 20V9l5 3V9l5 3V5h4v15"),
  running: solid("M7 4.5v15l13-7.5z"),
  idle: line("M8 5v14M16 5v14"),
  off: line("M12 3v9M7 6a8 8 0 1 0 10 0"),
  link_down: line("M9 15l-2 2a3.5 3.5 0 0 1-5-5l3-3M15 9l2-2a3.5 3.5 0 0 1 5 5l-3 3M4 4l16 16"),
  sensor_bad: line("M10 4a2 2 0 0 1 4 0v9a4.5 4.5 0 1 1-4 0zM19 5v6M19 15v.5"),
  high: [solid("M8 2h8l6 6v8l-6 6H8l-6-6V8z"), mark("M12 7v6M12 17v.1")],
  medium: [solid("M12 2.5L23 21.5H1z"), mark("M12 10v5M12 18.4v.1")],
  low: [solid("M12 2l10 10-10 10L2 12z"), mark("M12 8v5M12 16.3v.1")],
  ok: line("M5 13l5 5L20 7"),
  close: line("M6 6l12 12M18 6L6 18"),
  up: line("M6 15l6-6 6 6"),
  down: line("M6 9l6 6 6-6"),
  left: line("M15 6l-6 6 6 6"),
  right: line("M9 6l6 6-6 6"),
  zoom_in: line("M4 11a7 7 0 1 0 14 0a7 7 0 1 0-14 0M16 16l5 5M8 11h6M11 8v6"),
  zoom_out: line("M4 11a7 7 0 1 0 14 0a7 7 0 1 0-14 0M16 16l5 5M8 11h6"),
  live: [line("M6 6a8.5 8.5 0 0 0 0 12M18 6a8.5 8.5 0 0 1 0 12"), solid("M9 12a3 3 0 1 0 6 0a3 3 0 1 0-6 0")],
  table: line("M3 5h18v14H3zM3 10h18M9 10v9M3 14.5h18"),
  search: line("M4 11a7 7 0 1 0 14 0a7 7 0 1 0-14 0M16 16l5 5"),
  download: line("M12 4v11M7 11l5 5 5-5M4 20h16"),
  seal: line("M12 3l7 3v6c0 5-3 8-7 9-4-1-7-4-7-9V6zM9 12l2 2 4-4"),
  shelve: line("M4 12a8 8 0 1 0 16 0a8 8 0 1 0-16 0M12 8v4l3 2"),
  wrench: line("M14 7a4 4 0 0 1 5-4l-2 3 1 2 3-1a4 4 0 0 1-5 5l-8 8-3-3z"),
  probe: line("M12 3v8M8 7l4 4 4-4M5 15h14v6H5zM9 18h.1M13 18h.1"),
  sun: line("M8 12a4 4 0 1 0 8 0a4 4 0 1 0-8 0M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5"),
  moon: line("M20 14A8.5 8.5 0 0 1 10 4a8.5 8.5 0 1 0 10 10z"),
  auto: [line("M3.5 12a8.5 8.5 0 1 0 17 0a8.5 8.5 0 1 0-17 0"), solid("M12 3.5a8.5 8.5 0 0 1 0 17z")],
  sign_out: line("M10 4H5v16h5M14 8l4 4-4 4M18 12H9"),
  lost: line("M2 9a15 15 0 0 1 20 0M6 13a9 9 0 0 1 12 0M12 18v.1M4 3l16 18"),
  pass: solid("M5 12a7 7 0 1 0 14 0a7 7 0 1 0-14 0"),
  plus: line("M12 5v14M5 12h14"),
};

export function Icon({ name, label, size = 24, kind = "" }) {
  const hidden = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return html`<svg class=${`icon ${kind}`} viewBox="0 0 24 24" width=${size} height=${size} focusable="false" ...${hidden}>${DRAWN[name]}</svg>`;
}
