// Lots and other items: what they were made of, where they went, their records.
import { html, useState } from "../view.js";
import { get } from "../api.js";
import { Icon } from "../icons.js";
import { Loaded, PageHead, Select, Tabs, useLoad } from "../parts.js";
import { go, href, setQuery } from "../route.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { may } from "../store.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";
import { Typed } from "./cycles.js";
import { MakeRecord, RecordList } from "./records.js";

const ITEMS = ["lot", "part", "load", "rack", "melt"];

function KindSelect({ kind }) {
  return html`<${Select} label=${t("board.lots.kind")} value=${kind} options=${ITEMS.map((one) => [one, t(`kind.${one}`)])}
    pick=${(one) => setQuery({ kind: one })} />`;
}

function List({ query }) {
  const span = spanOf(query, "30d");
  const kind = ITEMS.includes(query.kind) ? query.kind : "lot";
  const asks = { kind, search: query.search, ...asked(span) };
  const found = useLoad((signal) => get("/lots", asks, signal), [JSON.stringify(asks)]);
  return html`<div class="bar"><${KindSelect} kind=${kind} /><${SpanPicker} span=${span} />
    <${Typed} label=${t("board.lots.item")} name="search" value=${query.search} /></div>
    <div class="panel"><${Loaded} from=${found}>${(table) => html`<${DataTable} table=${table} source=${{ path: "/lots", query: asks }} links=${{
      item: (item) => href("lots", "", { tab: "trace", kind, item }), record: (number) => href("records", number), machine: null,
    }} />`}<//></div>`;
}

function Trace({ query }) {
  const kind = ITEMS.includes(query.kind) ? query.kind : "lot";
  const [making, make] = useState(false);
  const asks = { kind, item: query.item };
  const found = useLoad(async (signal) => (query.item ? get("/trace", asks, signal) : { tables: [] }), [kind, query.item]);
  return html`<div class="bar">
      <${KindSelect} kind=${kind} />
      <${Typed} label=${t("board.lots.item")} name="item" value=${query.item} />
      ${query.item && html`<a class="button" href=${href("cycles", "", kind === "lot" || kind === "part" ? { [kind]: query.item, span: "90d" } : {})}>
        <${Icon} name="cycles" />${t("board.nav.cycles")}</a>`}
      ${query.item && may("seal") && html`<button onClick=${() => make(true)}><${Icon} name="seal" />${t("board.records.make")}</button>`}
    </div>
    ${!query.item && html`<p class="empty">${t("board.lots.ask")}</p>`}
    <${Loaded} from=${found}>${(data) => data.tables.map((table) => html`<div class="panel" key=${table.name}>
      <${DataTable} table=${table} source=${{ path: "/trace", query: asks }} only=${table.name} links=${{ id: (id) => href("cycle", id) }} /></div>`)}<//>
    ${making && html`<${MakeRecord} kind=${kind} name=${query.item} close=${() => make(false)} after=${() => go("lots", "", { tab: "records" })} />`}`;
}

const TABS = { list: List, trace: Trace, records: RecordList };

export function LotsPage({ query }) {
  const tab = query.tab in TABS ? query.tab : query.item ? "trace" : "list";
  const Tab = TABS[tab];
  return html`<${PageHead} title=${t("board.nav.lots")} />
    <${Tabs} label=${t("board.nav.lots")} now=${tab} tabs=${Object.keys(TABS).map((name) => [name, t(`board.lots.tab.${name}`)])}
      pick=${(name) => setQuery({ tab: name })} />
    <${Tab} key=${tab} query=${query} />`;
}
