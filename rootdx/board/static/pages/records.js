// Sealed records: made, looked at, verified, taken along.
import { html, useState } from "../view.js";
import { address, get, post } from "../api.js";
import { Form } from "../forms.js";
import { Icon } from "../icons.js";
import { Dialog, Loaded, PageHead, Panel, say, sentence, useLoad } from "../parts.js";
import { go, href } from "../route.js";
import { DataTable } from "../table.js";
import { named, t } from "../texts.js";

const FORMATS = ["pdf", "html", "json"];

export function MakeRecord({ kind, name, close, after }) {
  const fields = [
    { name: "reason", label: t("board.records.reason"), type: "long", hint: t("board.records.reason_hint") },
    { name: "profile", label: t("board.records.profile"), type: "text", hint: t("board.records.profile_hint") },
  ];
  const submit = async (body) => {
    const made = await post("/records", { kind, name, reason: body.reason ?? "", profile: body.profile ?? null });
    say(t("board.records.made", { number: made.number, verdict: named("verdict", made.verdict) }));
    close();
    after?.();
    go("records", made.number);
  };
  return html`<${Dialog} title=${t("board.records.make")} close=${close}>
    <p class="dialog-about">${t(`kind.${kind}`)} ${name}</p>
    <${Form} fields=${fields} submit=${submit} button=${t("board.records.make")} cancel=${close} />
  <//>`;
}

export function RecordList() {
  const found = useLoad((signal) => get("/records", {}, signal), []);
  const link = (number) => href("records", number);
  return html`<div class="panel">
    <${Loaded} from=${found}>${(table) => html`<${DataTable} table=${table} source=${{ path: "/records" }}
    links=${{ record: link, number: link }} />`}<//></div>`;
}

export function RecordsPage({ arg }) {
  const [proof, prove] = useState(null);
  const [busy, work] = useState(false);
  if (!arg) return html`<${PageHead} title=${t("board.records.title")} /><${RecordList} />`;
  const path = `/records/${encodeURIComponent(arg)}`;
  const verify = async () => {
    work(true);
    try {
      prove(await get(`${path}/verify`));
    } catch (error) {
      say(sentence(error), true);
    }
    work(false);
  };
  return html`<${PageHead} title=${t("board.records.one", { number: arg })}>
      ${FORMATS.map((format) => html`<a key=${format} class="button" download=${format !== "html"} target=${format === "html" ? "_blank" : undefined}
        rel="noopener" href=${address(path, { format })}><${Icon} name="download" />${t(`board.records.${format}`)}</a>`)}
      <button class="main" disabled=${busy} onClick=${verify}><${Icon} name="seal" />${busy ? t("board.working") : t("board.records.verify")}</button>
    <//>
    ${proof && html`<div class=${proof.holds ? "notice" : "notice bad"} role="status"><p>
      <b>${proof.holds ? t("board.records.holds") : t("board.records.broken")}</b></p>
      ${proof.faults.map((fault, i) => html`<p key=${i}><b>${fault.what}</b> ${fault.text}</p>`)}<p class="seal">${proof.seal}</p></div>`}
    <${Panel} kind="record"><${RecordText} path=${path} number=${arg} /><//>`;
}

function RecordText({ path, number }) {
  const found = useLoad(async (signal) => {
    const answer = await fetch(address(path, { format: "text" }), { signal });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  }, [number]);
  return html`<${Loaded} from=${found}>${(text) => html`<pre class="record-text" tabindex="0"
    aria-label=${t("board.records.one", { number })}>${text}</pre>`}<//>`;
}
