// Who did what on the board.
import { html } from "../view.js";
import { get } from "../api.js";
import { Loaded, PageHead, useLoad } from "../parts.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

export function JournalPage({ query }) {
  const span = spanOf(query, "7d");
  const asks = asked(span);
  const found = useLoad((signal) => get("/journal", asks, signal), [asks.from, asks.to]);
  return html`<${PageHead} title=${t("board.nav.journal")} sub=${t("board.journal.sub")} />
    <div class="bar"><${SpanPicker} span=${span} /></div>
    <div class="panel"><${Loaded} from=${found}>${(table) => html`<${DataTable} table=${table} source=${{ path: "/journal", query: asks }} />`}<//></div>`;
}
