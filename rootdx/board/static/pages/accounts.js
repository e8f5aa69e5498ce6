// Who may sign in, and as what.
import { html, useState } from "../view.js";
import { get, patch, post } from "../api.js";
import { Form } from "../forms.js";
import { Icon } from "../icons.js";
import { Dialog, Loaded, PageHead, say, useLoad } from "../parts.js";
import { DataTable } from "../table.js";
import { t } from "../texts.js";

const ROLES = ["operator", "engineer", "auditor", "admin"];
const CHANGES = ["role", "password", "disabled"];

function roleField() {
  const choices = ROLES.map((one) => ({ value: one, label: t(`board.role.${one}`) }));
  return { name: "role", label: t("board.accounts.role"), type: "choice", required: true, choices };
}

function passwordField() {
  return { name: "password", label: t("board.sign_in.password"), type: "password", required: true };
}

function fieldOf(change) {
  if (change === "role") return roleField();
  if (change === "password") return passwordField();
  return { name: "disabled", label: t("board.accounts.disabled"), type: "flag" };
}

export function AccountsPage() {
  const found = useLoad((signal) => get("/accounts", {}, signal), []);
  const [open, show] = useState(null);
  const close = () => show(null);
  const done = () => {
    say(t("board.accounts.done"));
    close();
    found.reload();
  };
  return html`<${PageHead} title=${t("board.nav.accounts")}><button class="main" onClick=${() => show({ act: "new" })}>
    <${Icon} name="plus" />${t("board.accounts.new")}</button><//>
    <${Loaded} from=${found}>${(table) => {
      const place = table.columns.findIndex((one) => one.name === "name");
      const names = table.rows.map((row) => row[place]);
      const submit = async (body) => {
        if (open.act === "new") await post("/accounts", body);
        else await patch(`/accounts/${encodeURIComponent(body.name)}`, { [open.act]: body[open.act] ?? false });
        done();
      };
      const person = { name: "name", label: t("board.sign_in.name"), type: "choice", required: true, choices: names.map((one) => ({ value: one, label: one })) };
      const fields = open?.act === "new" ? [{ ...person, type: "text" }, roleField(), passwordField()] : open && [person, fieldOf(open.act)];
      return html`<div class="bar">${CHANGES.map((one) => html`<button key=${one}
        onClick=${() => show({ act: one })}>${t(`board.accounts.change_${one}`)}</button>`)}</div>
        <div class="panel"><${DataTable} table=${table} source=${{ path: "/accounts" }} /></div>
        ${open && html`<${Dialog} title=${open.act === "new" ? t("board.accounts.new") : t(`board.accounts.change_${open.act}`)} close=${close}>
          <${Form} fields=${fields} submit=${submit} button=${t("board.do.save")} cancel=${close} /><//>`}`;
    }}<//>`;
}
