// Forms from a list of fields: {name, label, type, required, choices: [{value, label}], suggestions, default, hint}.
import { html, useState } from "./view.js";
import { day, plantIso, plantLocal } from "./format.js";
import { Field, sentence, useMachines } from "./parts.js";
import { inLanguage, now } from "./store.js";
import { t } from "./texts.js";

function first(field, given) {
  if (given && field.name in given) return given[field.name];
  if (field.type === "flag") return Boolean(field.default);
  if (field.type === "time") return field.default || field.required ? plantLocal(field.default ? Date.parse(field.default) : now()) : "";
  if (field.type === "day") return field.default || (field.required ? day(now()) : "");
  return field.default ?? "";
}

function choicesOf(field, machines) {
  if (field.type === "machine") return machines.map((one) => ({ value: one.machine, label: `${one.short} · ${inLanguage(one.name)}` }));
  return field.choices || [];
}

function Input({ field, value, set, machines }) {
  const common = { required: field.required && field.type !== "flag", name: field.name };
  const typed = (event) => set(event.currentTarget.value);
  if (field.type === "choice" || field.type === "machine") {
    return html`<select ...${common} value=${value} onChange=${typed}>
      <option value="">${field.required ? t("board.form.choose") : t("board.form.nothing")}</option>
      ${choicesOf(field, machines).map((one) => html`<option key=${one.value} value=${one.value} selected=${one.value === value}>${one.label}</option>`)}
    </select>`;
  }
  if (field.type === "flag") return html`<input type="checkbox" name=${field.name} checked=${value} onChange=${(event) => set(event.currentTarget.checked)} />`;
  if (field.type === "time") return html`<input type="datetime-local" ...${common} value=${value} onInput=${typed} />`;
  if (field.type === "day") return html`<input type="date" ...${common} value=${value} onInput=${typed} />`;
  if (field.type === "number") return html`<input type="number" step="any" inputmode="decimal" ...${common} value=${value} onInput=${typed} />`;
  if (field.type === "password") return html`<input type="password" autocomplete=${field.autocomplete || "new-password"} ...${common} value=${value}
    onInput=${typed} />`;
  if (field.type === "long") return html`<textarea rows="3" maxlength="500" ...${common} value=${value} onInput=${typed}></textarea>`;
  const list = field.suggestions?.length ? `of-${field.name}` : undefined;
  return html`<input type="text" maxlength="500" autocomplete=${field.autocomplete || "off"} ...${common} value=${value} onInput=${typed} list=${list} />
    ${list && html`<datalist id=${list}>${field.suggestions.map((one) => html`<option key=${one} value=${one} />`)}</datalist>`}`;
}

function sent(fields, values) {
  const body = {};
  for (const field of fields) {
    const value = values[field.name];
    if (value === "" || value === undefined) continue;
    if (field.type === "number") body[field.name] = Number(value);
    else if (field.type === "time") body[field.name] = plantIso(value);
    else body[field.name] = value;
  }
  return body;
}

export function Form({ fields, submit, button, given, cancel, danger }) {
  const machines = useMachines();
  const [values, set] = useState(() => Object.fromEntries(fields.map((one) => [one.name, first(one, given)])));
  const [fault, blame] = useState(null);
  const [busy, work] = useState(false);
  const send = async (event) => {
    event.preventDefault();
    work(true);
    blame(null);
    try {
      await submit(sent(fields, values));
    } catch (error) {
      blame(error);
    }
    work(false);
  };
  return html`<form onSubmit=${send} class="form">
    <div class="fields">${fields.map((field) => html`<${Field} key=${field.name} wide=${field.type === "long"}
      label=${field.required ? field.label : `${field.label} ${t("board.form.optional")}`} hint=${field.hint}
      error=${fault && fault.field === field.name ? sentence(fault) : null}>
      <${Input} field=${field} value=${values[field.name]} machines=${machines} set=${(value) => set((old) => ({ ...old, [field.name]: value }))} />
    <//>`)}</div>
    ${fault && !fields.some((one) => one.name === fault.field) && html`<p class="fault" role="alert">${sentence(fault)}</p>`}
    <div class="buttons">
      <button type="submit" class=${danger ? "main danger" : "main"} disabled=${busy}>${busy ? t("board.working") : button}</button>
      ${cancel && html`<button type="button" onClick=${cancel}>${t("board.do.cancel")}</button>`}
    </div>
  </form>`;
}
