// Of the rows that were due, how many came, hour by hour; and why the others did not.
import { html } from "../view.js";
import { get } from "../api.js";
import { clock, day, percent } from "../format.js";
import { Loaded, PageHead, Panel, useLoad } from "../parts.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

const [CELL, ROW] = [10, 22];
const [FINE, POOR] = [0.99, 0.9];

function level(share) {
  if (share === null || share === undefined) return "none";
  return share >= FINE ? "fine" : share >= POOR ? "some" : "poor";
}

function Line({ path, shares, t_ms }) {
  const there = shares.filter((one) => one !== null);
  const worst = there.length ? Math.min(...there) : null;
  const mean = there.length ? there.reduce((a, b) => a + b) / there.length : null;
  const at = worst === null ? -1 : shares.indexOf(worst);
  const when = at < 0 ? "" : `${day(t_ms[at])} ${clock(t_ms[at], false)}`;
  const said = mean === null ? t("board.completeness.no_rows")
    : t("board.completeness.line", { mean: percent(mean), worst: percent(worst), when });
  return html`<tr><th scope="row">${path.split("/").at(-1)}</th>
    <td class="heat"><svg viewBox=${`0 0 ${shares.length * CELL} ${ROW}`} preserveAspectRatio="none" role="img" aria-label=${said}>
      ${shares.map((share, i) => html`<rect key=${i} class=${`heat-${level(share)}`} x=${i * CELL} y=${share === null ? ROW * 0.4 : 0}
        width=${CELL - 1} height=${share === null ? ROW * 0.2 : ROW} />`)}
    </svg></td><td class="right">${percent(mean)}</td><td class="right">${percent(worst)}</td></tr>`;
}

function Heat({ hours }) {
  const machines = Object.entries(hours.machines);
  if (!hours.t_ms.length || !machines.length) return html`<p class="empty">${t("board.nothing")}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${t("board.completeness.hours")}><table class="heat-table">
    <thead><tr><th scope="col">${t("board.machine")}</th><th scope="col" class="heat-span">
      <span>${day(hours.t_ms[0])} ${clock(hours.t_ms[0], false)}</span><span>${day(hours.t_ms.at(-1))} ${clock(hours.t_ms.at(-1), false)}</span></th>
      <th scope="col" class="right">${t("board.completeness.mean")}</th><th scope="col" class="right">${t("board.completeness.worst")}</th></tr></thead>
    <tbody>${machines.map(([path, shares]) => html`<${Line} key=${path} path=${path} shares=${shares} t_ms=${hours.t_ms} />`)}</tbody></table></div>
    <ul class="legend">${["fine", "some", "poor", "none"].map((one) => html`<li key=${one}><i class=${`key heat-${one}`}>
      </i>${t(`board.completeness.${one}`)}</li>`)}</ul>`;
}

export function CompletenessPage({ query }) {
  const span = spanOf(query, "7d");
  const asks = asked(span);
  const found = useLoad((signal) => get("/completeness", asks, signal), [asks.from, asks.to]);
  return html`<${PageHead} title=${t("board.nav.completeness")} sub=${t("board.completeness.sub")} />
    <div class="bar"><${SpanPicker} span=${span} /></div>
    <${Loaded} from=${found}>${(data) => html`<${Panel} title=${t("board.completeness.hours")}><${Heat} hours=${data.hours} /><//>
      <div class="panel"><${DataTable} table=${data.by_machine} source=${{ path: "/completeness", query: asks }} /></div>`}<//>`;
}
