// Who is at the board.
import { html } from "../view.js";
import { get, post, Refused } from "../api.js";
import { Form } from "../forms.js";
import { Switches } from "../shell.js";
import { publish } from "../store.js";
import { t } from "../texts.js";

export function SignInPage({ speak }) {
  const fields = [
    { name: "name", label: t("board.sign_in.name"), type: "text", required: true, autocomplete: "username" },
    { name: "password", label: t("board.sign_in.password"), type: "password", required: true, autocomplete: "current-password" },
  ];
  const submit = async (body) => {
    try {
      await post("/session", body);
    } catch (error) {
      if (error instanceof Refused && error.status === 401 && !error.message) throw new Error(t("board.sign_in.wrong"));
      throw error;
    }
    publish({ me: await get("/me") });
  };
  return html`<main class="sign-in" id="main">
    <div class="panel">
      <header class="panel-head"><h1 id="page-title"><img src="/static/icon.svg" alt="" width="32" height="32" /> ${t("board.sign_in.title")}</h1>
        <div class="actions"><${Switches} speak=${speak} /></div></header>
      <${Form} fields=${fields} submit=${submit} button=${t("board.sign_in.button")} />
      <p class="hint">${t("board.sign_in.hint")}</p>
    </div>
  </main>`;
}
