// The last cycles of a tag over the band of the good ones.
import { html, useMemo } from "../view.js";
import { get } from "../api.js";
import { Chart } from "../chart.js";
import { Empty, Loaded, Panel, Select, useLoad, Verdict } from "../parts.js";
import { href, setQuery } from "../route.js";
import { named, t } from "../texts.js";

const CYCLES = 20;
const OTHERS = 12;

function drawn(curves) {
  const x = curves.second;
  const fit = (values) => x.map((_, i) => values?.[i] ?? null);
  const others = curves.others.slice(-OTHERS);
  const data = [x, fit(curves.golden?.low), fit(curves.golden?.high), ...others.map((one) => fit(one.value)), fit(curves.golden?.mean), fit(curves.newest?.value)];
  const series = [
    { label: t("board.curves.good_low"), hidden: true }, { label: t("board.curves.good_high"), hidden: true },
    ...others.map((one) => ({ label: `#${one.cycle_id}`, colour: one.verdict === "fail" ? "fail-line" : "other-line", width: 1, minor: true })),
    { label: t("board.curves.good_mean"), colour: "ink-2", width: 1.2, dash: [6, 4] },
    { label: t("board.curves.newest"), colour: "c1", width: 3 },
  ];
  return { data, series };
}

function Curves({ curves, title }) {
  const { data, series } = useMemo(() => drawn(curves), [curves]);
  if (!curves.second.length) return html`<${Empty} text=${t("board.curves.none")} />`;
  return html`<${Chart} title=${title} unit=${curves.unit} time=${false} height=${360} data=${data} series=${series} bands=${[[2, 1, "good-band"]]} />
    <ul class="legend">
      <li><i class="key newest">
        </i>${t("board.curves.newest")}${curves.newest && html` <a
        href=${href("cycle", curves.newest.cycle_id)}>#${curves.newest.cycle_id}</a> <${Verdict} verdict=${curves.newest.verdict} />`}</li>
      <li><i class="key good"></i>${t("board.curves.band", { count: curves.golden?.cycles ?? 0 })}</li>
      <li><i class="key other"></i>${t("board.curves.others", { count: curves.others.length })}</li>
    </ul>`;
}

export function CurvesTab({ machine, query }) {
  const kind = machine.kinds.includes(query.kind) ? query.kind : machine.kinds[0];
  const tags = machine.tags.filter((one) => one.unit && one.unit !== "1");
  const tag = machine.tags.some((one) => one.tag === query.tag) ? query.tag : (tags[0] ?? machine.tags[0])?.tag;
  const found = useLoad((signal) => get("/curves", { machine: machine.machine, kind, tag, cycles: CYCLES }, signal), [machine.machine, kind, tag]);
  return html`<${Panel} title=${t("board.machine.curves")} actions=${html`
      ${machine.kinds.length > 1 && html`<${Select} label=${t("board.kind_label")} value=${kind}
        options=${machine.kinds.map((one) => [one, named("kind", one)])} pick=${(value) => setQuery({ kind: value })} />`}
      <${Select} label=${t("board.tag")} value=${tag} options=${machine.tags.map((one) => [one.tag, one.tag])} pick=${(value) => setQuery({ tag: value })} />`}>
    <${Loaded} from=${found}>${(curves) => html`<${Curves} curves=${curves} title=${tag} />`}<//>
  <//>`;
}
