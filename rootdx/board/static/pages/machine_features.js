// Every feature of the last cycles, small, each with its limits; what is outside comes first.
import { html } from "../view.js";
import { get } from "../api.js";
import { number, unit, withUnit } from "../format.js";
import { Loaded, Panel, Select, useLoad } from "../parts.js";
import { href, setQuery } from "../route.js";
import { named, t } from "../texts.js";

const CYCLES = 60;
const [WIDE, HIGH, EDGE] = [300, 84, 8];

function outside(feature, value) {
  return value !== null && ((Number.isFinite(feature.low) && value < feature.low) || (Number.isFinite(feature.high) && value > feature.high));
}

function Small({ feature }) {
  const values = feature.points.map((one) => one.value);
  const there = values.filter((value) => value !== null);
  const last = feature.points.findLast((one) => one.value !== null);
  const out = feature.points.filter((one) => outside(feature, one.value));
  const all = [...there, feature.low, feature.high].filter(Number.isFinite);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const y = (value) => EDGE + (HIGH - 2 * EDGE) * (1 - (value - low) / (high - low || 1));
  const x = (i) => EDGE + ((WIDE - 2 * EDGE) * i) / Math.max(1, values.length - 1);
  const path = values.map((value, i) => (value === null ? "" : `${i && values[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`)).join("");
  const said = t("board.features.summary", {
    name: feature.label, last: last ? number(last.value) : "–", unit: unit(feature.unit), out: out.length, count: there.length,
  });
  return html`<li class=${last && outside(feature, last.value) ? "small odd" : "small"}>
    <header><h3>${feature.label}</h3><b>${last ? withUnit(last.value, feature.unit) : "–"}</b></header>
    ${there.length ? html`<svg viewBox=${`0 0 ${WIDE} ${HIGH}`} role="img" aria-label=${said}>
      ${[feature.low, feature.high].filter(Number.isFinite).map((limit) => html`<line key=${limit}
        class="limit" x1="0" x2=${WIDE} y1=${y(limit)} y2=${y(limit)} />`)}
      <path class="line" d=${path} />
      ${last && html`<circle class="last" cx=${x(feature.points.indexOf(last))} cy=${y(last.value)} r="3.5" />`}
      ${feature.points.map((one, i) => outside(feature, one.value) && html`<path key=${one.cycle_id} class="out"
        d=${`M${x(i)} ${y(one.value) - 5}l5 9h-10z`} />`)}
    </svg>` : html`<p class="quiet">${t("board.features.no_value")}</p>`}
    <footer><span>${limits(feature)}</span>${out.length > 0 && html`<a
      href=${href("cycle", out.at(-1).cycle_id)}>${t("board.features.outside", { count: out.length })}</a>`}</footer>
  </li>`;
}

function limits(feature) {
  const [low, high] = [feature.low, feature.high].map((value) => (Number.isFinite(value) ? number(value) : ""));
  return low || high ? `${low} … ${high}` : t("board.features.no_limits");
}

function rank(feature) {
  const out = feature.points.filter((one) => outside(feature, one.value)).length;
  return out ? -out : Number.isFinite(feature.low) || Number.isFinite(feature.high) ? 1 : 2;
}

export function FeaturesTab({ machine, query }) {
  const kind = machine.kinds.includes(query.kind) ? query.kind : machine.kinds[0];
  const found = useLoad((signal) => get("/cycle-features", { machine: machine.machine, kind, n: CYCLES }, signal), [machine.machine, kind]);
  return html`<${Panel} title=${t("board.features.title", { count: CYCLES })} actions=${machine.kinds.length > 1 && html`
      <${Select} label=${t("board.kind_label")} value=${kind} options=${machine.kinds.map((one) => [one, named("kind", one)])}
        pick=${(value) => setQuery({ kind: value })} />`}>
    <${Loaded} from=${found} empty=${(data) => !data.features.length}>${(data) => html`<ul
      class="smalls">${[...data.features].sort((a, b) => rank(a) - rank(b)).map((one) => html`<${Small} key=${one.name} feature=${one} />`)}</ul>`}<//>
  <//>`;
}
