// What people enter: one form a kind, as the server describes it, and what was entered lately.
import { html } from "../view.js";
import { get, post } from "../api.js";
import { Form } from "../forms.js";
import { Loaded, MachineSelect, PageHead, Panel, say, Tabs, useLoad } from "../parts.js";
import { setQuery } from "../route.js";
import { asked, SpanPicker, spanOf } from "../span.js";
import { may } from "../store.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

function Entered({ kind, query, turn }) {
  const span = spanOf(query, "30d");
  const asks = { machine: query.machine, ...asked(span) };
  const path = `/entries/${kind.kind}`;
  const found = useLoad((signal) => get(path, asks, signal), [kind.kind, query.machine, asks.from, asks.to, turn]);
  return html`<div class="bar"><${MachineSelect} value=${query.machine} pick=${(machine) => setQuery({ machine })} /><${SpanPicker} span=${span} /></div>
    <${Loaded} from=${found}>${(table) => html`<${DataTable} table=${table} title=${t("board.entries.entered")} source=${{ path, query: asks }} />`}<//>`;
}

export function EntriesPage({ query }) {
  const found = useLoad((signal) => get("/entries/kinds", {}, signal), []);
  return html`<${PageHead} title=${t("board.nav.entries")} />
    <${Loaded} from=${found}>${(kinds) => {
      const kind = kinds.find((one) => one.kind === query.kind) ?? kinds[0];
      const submit = async (body) => {
        const answer = await post(`/entries/${kind.kind}`, body);
        say(t("board.entries.done", { title: kind.title, count: answer.new }));
        setQuery({ turn: String(Number(query.turn || 0) + 1) });
      };
      return html`<${Tabs} label=${t("board.nav.entries")} now=${kind.kind} tabs=${kinds.map((one) => [one.kind, one.title])}
        pick=${(name) => setQuery({ kind: name, turn: "" })} />
        ${may("enter") ? html`<${Panel} title=${kind.title}>
          <${Form} key=${kind.kind + (query.turn || "")} fields=${kind.fields}
          given=${query.machine ? { asset: query.machine, machine: query.machine } : null} submit=${submit} button=${t("board.entries.enter")} />
          <//>` : html`<p class="note">${t("board.entries.may_not")}</p>`}
        <div class="panel"><${Entered} kind=${kind} query=${query} turn=${query.turn} /></div>`;
    }}<//>`;
}
