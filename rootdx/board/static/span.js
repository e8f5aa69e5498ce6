// A stretch of time in the address: a preset that moves with the clock, or two moments of the plant's clock.
import { html } from "./view.js";
import { day, plantLocal, plantMs } from "./format.js";
import { Field, Select } from "./parts.js";
import { setQuery } from "./route.js";
import { now } from "./store.js";
import { t } from "./texts.js";

const HOUR = 3600000;
const LENGTHS = { "8h": 8 * HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR, "90d": 2160 * HOUR };

export function spanOf(query, preset = "24h") {
  const wanted = query.span || (query.from ? "own" : preset);
  if (wanted === "own") {
    const to_ms = query.to ? plantMs(query.to) : now();
    const from_ms = query.from ? plantMs(query.from) : to_ms - LENGTHS["24h"];
    return { wanted, from_ms, to_ms };
  }
  // whole minutes, so that an address asked twice is the same
  const to_ms = Math.ceil(now() / 60000) * 60000;
  if (wanted === "today") return { wanted, from_ms: plantMs(`${day(to_ms)}T00:00`), to_ms };
  return { wanted, from_ms: to_ms - (LENGTHS[wanted] ?? LENGTHS[preset]), to_ms };
}

export function asked(span) {
  return { from: new Date(span.from_ms).toISOString(), to: new Date(span.to_ms).toISOString() };
}

export function SpanPicker({ span }) {
  const pick = (wanted) => setQuery(wanted === "own"
    ? { span: "own", from: plantLocal(span.from_ms), to: plantLocal(span.to_ms) }
    : { span: wanted, from: "", to: "" });
  const options = ["8h", "today", "24h", "7d", "30d", "90d", "own"].map((name) => [name, t(`board.span.${name}`)]);
  return html`<${Select} label=${t("board.span.label")} value=${span.wanted} options=${options} pick=${pick} />
    ${span.wanted === "own" && html`
      <${Field} label=${t("board.span.from")}>
        <input type="datetime-local" value=${plantLocal(span.from_ms)}
          onChange=${(event) => event.currentTarget.value && setQuery({ from: event.currentTarget.value })} />
      <//>
      <${Field} label=${t("board.span.to")}>
        <input type="datetime-local" value=${plantLocal(span.to_ms)}
          onChange=${(event) => event.currentTarget.value && setQuery({ to: event.currentTarget.value })} />
      <//>`}`;
}
