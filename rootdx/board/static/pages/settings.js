// How the plant is set up, to read.
import { html } from "../view.js";
import { get } from "../api.js";
import { Loaded, PageHead, Panel, useLoad } from "../parts.js";
import { useShared } from "../store.js";
import { DataTable } from "../table.js";
import { named, t } from "../texts.js";

function shownValue(value) {
  if (value === null || value === undefined || value === "") return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function SettingsPage() {
  const me = useShared("me");
  const found = useLoad((signal) => get("/settings", {}, signal), []);
  return html`<${PageHead} title=${t("board.nav.settings")} sub=${t("board.settings.sub")} />
    <${Loaded} from=${found}>${(data) => html`
      <${Panel} title=${t("board.settings.plant")}>
        <dl class="facts">${Object.entries({ ...data.plant, version: me.version }).map(([name, value]) => html`<div key=${name}>
        <dt>${named("board.settings.key", name)}</dt><dd>${shownValue(value)}</dd></div>`)}</dl><//>
      ${[data.shifts, data.detectors].filter(Boolean).map((table) => html`<div class="panel" key=${table.name}>
        <${DataTable} table=${table} source=${{ path: "/settings" }} only=${table.name} /></div>`)}
      <${Panel} title=${t("board.settings.files")}>${data.machines.map((one) => html`<details key=${one.path}>
        <summary>${one.path} <small>${one.file}</small></summary><pre tabindex="0" aria-label=${one.file}>${one.toml}</pre></details>`)}<//>`}<//>`;
}
