// Waveforms: which burst, which channels.
import { html, useState } from "../view.js";
import { get } from "../api.js";
import { Chart } from "../chart.js";
import { clock, moment, number } from "../format.js";
import { Loaded, Panel, Select, useLoad } from "../parts.js";
import { href, setQuery } from "../route.js";
import { t } from "../texts.js";

const POINTS = 2000;

function Wave({ machine, name, ts_ms, channels }) {
  // a millisecond early: the server finds the first burst from then on, and its own time is finer
  const found = useLoad((signal) => get("/burst", { machine, name, ts_ms: ts_ms - 1, points: POINTS }, signal), [machine, name, ts_ms]);
  return html`<${Loaded} from=${found}>${(wave) => html`
    ${Object.entries(wave.channels).filter(([channel]) => channels.includes(channel)).map(([channel, values], i) => html`<${Chart} key=${channel}
      title=${channel}
      unit=${wave.unit[channel]} time=${false} sync="burst" height=${200} data=${[wave.second, values]} series=${[{ label: channel, colour: `c${(i % 4) + 1}` }]} />`)}
    ${wave.reduced && html`<p class="note">${t("board.bursts.reduced", { rate: number(1 / wave.period_s / 1000) })}</p>`}`}<//>`;
}

export function BurstTab({ machine, query }) {
  const burst = machine.bursts.find((one) => one.name === query.burst) ?? machine.bursts[0];
  const all = burst.channels.map((one) => one.channel);
  const [off, turn] = useState([]);
  const found = useLoad((signal) => get("/bursts", { machine: machine.machine, name: burst.name, limit: 20 }, signal), [machine.machine, burst.name]);
  return html`<${Panel} title=${t("board.machine.bursts")} actions=${machine.bursts.length > 1 && html`
      <${Select} label=${t("board.bursts.name")} value=${burst.name} options=${machine.bursts.map((one) => [one.name, one.name])}
        pick=${(value) => setQuery({ burst: value, ts: "" })} />`}>
    <${Loaded} from=${found} empty=${(data) => !data.bursts.length}>${(data) => {
      const shown = data.bursts.find((one) => String(one.ts_ms) === query.ts) ?? data.bursts[0];
      return html`<div class="bar">
          <${Select} label=${t("board.bursts.which")} value=${String(shown.ts_ms)} pick=${(value) => setQuery({ ts: value })}
            options=${data.bursts.map((one) => [String(one.ts_ms), `${moment(one.ts_ms)} · ${number(one.seconds)} s`])} />
          <fieldset class="chips"><legend>${t("board.bursts.channels")}</legend>${all.map((channel) => html`<label key=${channel} class="chip">
            <input type="checkbox" checked=${!off.includes(channel)}
            onChange=${() => turn((old) => (old.includes(channel) ? old.filter((one) => one !== channel) : [...old, channel]))} />${channel}</label>`)}</fieldset>
          ${shown.cycle_id && html`<a class="button"
            href=${href("cycle", shown.cycle_id)}>${t("board.bursts.cycle", { id: shown.cycle_id, time: clock(shown.ts_ms) })}</a>`}
        </div>
        <${Wave} machine=${machine.machine} name=${shown.name} ts_ms=${shown.ts_ms} channels=${all.filter((one) => !off.includes(one))} />`;
    }}<//>
  <//>`;
}
