// Cycles, by what one knows of them; and where an item came from.
import { html } from "../view.js";
import { get } from "../api.js";
import { Field, Loaded, MachineSelect, PageHead, Select, useLoad } from "../parts.js";
import { href, setQuery } from "../route.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { DataTable } from "../table.js";
import { named, t } from "../texts.js";

const VERDICTS = ["pass", "review", "fail", "incomplete", "unverified"];
const MOST = 500;

export function Typed({ label, name, value }) {
  return html`<${Field} label=${label}>
    <input type="search" value=${value || ""} onChange=${(event) => setQuery({ [name]: event.currentTarget.value.trim() })} /><//>`;
}

export function CyclesPage({ query }) {
  const span = spanOf(query, "24h");
  const features = query.features === "yes";
  const asks = { machine: query.machine, verdict: query.verdict, lot: query.lot, part: query.part, ...asked(span), features, most: MOST };
  const found = useLoad((signal) => get("/cycles", asks, signal), [JSON.stringify(asks)]);
  return html`<${PageHead} title=${t("board.nav.cycles")} />
    <div class="bar">
      <${MachineSelect} value=${query.machine} pick=${(machine) => setQuery({ machine })} />
      <${SpanPicker} span=${span} />
      <${Select} label=${t("board.verdict")} value=${query.verdict || ""} pick=${(verdict) => setQuery({ verdict })}
        options=${[["", t("board.any")], ...VERDICTS.map((one) => [one, named("verdict", one)])]} />
      <${Typed} label=${t("board.lot")} name="lot" value=${query.lot} />
      <${Typed} label=${t("board.part")} name="part" value=${query.part} />
      <label class="chip"><input type="checkbox" checked=${features}
        onChange=${(event) => setQuery({ features: event.currentTarget.checked ? "yes" : "" })} />${t("board.cycles.with_features")}</label>
    </div>
    <div class="panel"><${Loaded} from=${found}>${(table) => html`<${DataTable} table=${table} newest=${true}
      source=${{ path: "/cycles", query: asks }}
      links=${{ id: (id) => href("cycle", id), lot: (lot) => href("lots", "", { kind: "lot", item: lot }) }} />`}<//></div>`;
}
