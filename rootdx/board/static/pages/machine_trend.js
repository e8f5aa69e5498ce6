// Trends of the tags one chooses, live.
import { html, useState } from "../view.js";
import { number, unit } from "../format.js";
import { Empty, Panel } from "../parts.js";
import { setQuery } from "../route.js";
import { inLanguage, now } from "../store.js";
import { t } from "../texts.js";
import { Trend } from "../trend.js";
import { useValues } from "../values.js";

const FIRST_TAGS = 3;
const MOST = 8;
const [LEAST_OLD_S, OLD_TIMES] = [30, 5];

function worthDrawing(tag) {
  return tag.unit && tag.unit !== "1";
}

function shown(value) {
  if (!value) return "–";
  return value.q === "bad" ? "✖" : number(value.v);
}

export function TrendTab({ machine, query }) {
  const drawn = machine.tags.filter(worthDrawing);
  const first = (drawn.length ? drawn : machine.tags).slice(0, FIRST_TAGS).map((one) => one.tag);
  const wanted = (query.tags ? query.tags.split(",") : first).filter((name) => machine.tags.some((one) => one.tag === name));
  const [window, change] = useState(query.from_ms ? { from_ms: Number(query.from_ms), to_ms: Number(query.to_ms) } : { length_ms: 30 * 60000 });
  const values = useValues(machine.machine);
  const turn = (name) => setQuery({ tags: (wanted.includes(name) ? wanted.filter((one) => one !== name) : [...wanted, name].slice(-MOST)).join(",") });
  return html`<div class="with-list">
    <${Panel} title=${t("board.machine.choose")} kind="tag-list">
      <ul>${machine.tags.map((one) => {
        const value = values[one.tag];
        const old = value && now() - value.t_ms > Math.max(LEAST_OLD_S, OLD_TIMES * (one.every_s ?? 0)) * 1000;
        return html`<li key=${one.tag}><label class="tag-choice"><input type="checkbox" checked=${wanted.includes(one.tag)} onChange=${() => turn(one.tag)} />
          <span class="tag-words"><b>${one.tag}</b>${one.text && html`<small>${inLanguage(one.text)}</small>`}</span>
          <span class=${`tag-value ${value?.q ?? ""} ${old ? "old" : ""}`}>${shown(value)} <small>${unit(one.unit)}</small></span></label></li>`;
      })}</ul>
    <//>
    <${Panel} title=${t("board.machine.trend")}>
      ${wanted.length ? html`<${Trend} machine=${machine.machine} tags=${machine.tags} chosen=${wanted} window=${window}
        change=${change} />` : html`<${Empty} text=${t("board.machine.none_chosen")} />`}
    <//>
  </div>`;
}
