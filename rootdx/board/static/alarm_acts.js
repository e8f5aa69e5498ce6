// What one may do with an alarm, each with what it needs.
import { html, useState } from "./view.js";
import { post } from "./api.js";
import { Form } from "./forms.js";
import { Icon } from "./icons.js";
import { Dialog, say, sentence } from "./parts.js";
import { t } from "./texts.js";

const ICONS = { acknowledge: "ok", shelve: "shelve", unshelve: "left", reset: "cycles", out_of_service: "off", in_service: "running" };
const HOURS = ["1", "4", "8", "24", "72"];

function fieldsOf(act) {
  const reason = { name: "reason", label: t("board.alarms.reason"), type: "long", required: true };
  if (act === "acknowledge") return [{ name: "done", label: t("board.alarms.done"), type: "long", hint: t("board.alarms.done_hint") }];
  if (act === "shelve") {
    const choices = HOURS.map((h) => ({ value: h, label: t("board.time.hours", { h }) }));
    return [{ name: "hours", label: t("board.alarms.hours"), type: "choice", required: true, default: "8", choices }, reason];
  }
  if (act === "out_of_service") return [reason];
  return [];
}

export function AlarmActs({ alarm, may, after, only }) {
  const [act, open] = useState(null);
  const acts = may.filter((one) => !only || only.includes(one));
  const close = () => open(null);
  const submit = async (body) => {
    const given = act === "shelve" ? { ...body, hours: Number(body.hours) } : act === "acknowledge" ? { done: "", ...body } : body;
    const answer = await post(`/alarms/${alarm.alarm_id}/${act}`, given);
    say(t("board.alarms.now", { state: answer.state_text }));
    close();
    after();
  };
  const begin = async (one) => {
    if (fieldsOf(one).length) {
      open(one);
      return;
    }
    try {
      const answer = await post(`/alarms/${alarm.alarm_id}/${one}`, {});
      say(t("board.alarms.now", { state: answer.state_text }));
    } catch (error) {
      say(sentence(error), true);
    }
    after();
  };
  return html`<div class="acts">${acts.map((one) => html`<button key=${one} class=${one === "acknowledge" ? "main" : ""} onClick=${() => begin(one)}>
    <${Icon} name=${ICONS[one]} />${t(`board.alarms.act.${one}`)}</button>`)}</div>
    ${act && html`<${Dialog} title=${t(`board.alarms.act.${act}`)} close=${close}>
      <p class="dialog-about">${alarm.short}: ${alarm.sentence}</p>
      <${Form} fields=${fieldsOf(act)} submit=${submit} button=${t(`board.alarms.act.${act}`)} cancel=${close} />
    <//>`}`;
}
