// Pieces that every page is made of.
import { html, useEffect, useRef, useState } from "./view.js";
import { Refused } from "./api.js";
import { Icon } from "./icons.js";
import { inLanguage, publish, useShared } from "./store.js";
import { named, t } from "./texts.js";

// Asks the server; keeps what was there while it asks again.
export function useLoad(load, inputs) {
  const [state, set] = useState({ data: null, error: null, loading: true });
  const [turn, again] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    set((old) => ({ ...old, loading: true }));
    Promise.resolve()
      .then(() => load(stop.signal))
      .then((data) => !stop.signal.aborted && set({ data, error: null, loading: false }))
      .catch((error) => !stop.signal.aborted && set({ data: null, error, loading: false }));
    return () => stop.abort();
  }, [...inputs, turn]);
  return { ...state, reload: () => again((n) => n + 1) };
}

export function useEvery(seconds, act) {
  const newest = useRef(act);
  newest.current = act;
  useEffect(() => {
    const timer = setInterval(() => newest.current(), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
}

export function sentence(error) {
  if (error instanceof Refused && error.message && !error.message.startsWith("HTTP ")) return error.message;
  if (error instanceof Refused) return t("board.error.status", { status: error.status });
  return t("board.error.unreachable");
}

export function Loaded({ from, children, empty }) {
  if (from.error) {
    return html`<div class="notice bad" role="alert">
      <p>${sentence(from.error)}</p>
      <button onClick=${from.reload}>${t("board.do.again")}</button>
    </div>`;
  }
  if (from.data === null && from.loading) return html`<p class="waiting" role="status">${t("board.loading")}</p>`;
  if (empty?.(from.data)) return html`<${Empty} />`;
  return html`<div class=${from.loading ? "loaded older" : "loaded"} aria-busy=${from.loading}>${children(from.data)}</div>`;
}

export function Empty({ text }) {
  return html`<p class="empty">${text || t("board.nothing")}</p>`;
}

export function Panel({ title, actions, children, kind = "", level = 2 }) {
  return html`<section class=${`panel ${kind}`}>
    ${(title || actions) && html`<header class="panel-head">
      ${title && (level === 2 ? html`<h2>${title}</h2>` : html`<h3>${title}</h3>`)}
      ${actions && html`<div class="actions">${actions}</div>`}
    </header>`}
    ${children}
  </section>`;
}

export function PageHead({ title, sub, children }) {
  return html`<header class="page-head">
    <div><h1 tabindex="-1" id="page-title">${title}</h1>${sub && html`<p class="sub">${sub}</p>`}</div>
    <div class="actions">${children}</div>
  </header>`;
}

export function stateOf(tile) {
  if (tile.state === "ok") return tile.producing ? "running" : "idle";
  return tile.state;
}

export function StateMark({ tile, size = 24 }) {
  const state = stateOf(tile);
  return html`<span class=${`state ${state}`}><${Icon} name=${state} size=${size} /><span>${t(`board.state.${state}`)}</span></span>`;
}

export function Verdict({ verdict }) {
  const known = verdict || "none";
  return html`<span class=${`verdict ${known}`}>${named("verdict", known)}</span>`;
}

export function Priority({ priority, word = true }) {
  const said = t(`board.priority.${priority}`);
  return html`<span class=${`priority ${priority}`}>
    <${Icon} name=${priority} size=${22} kind=${priority} label=${word ? "" : said} />${word && html`<span>${said}</span>`}
  </span>`;
}

export function Tabs({ label, tabs, now, pick }) {
  const row = useRef(null);
  useEffect(() => {
    // by hand: scrollIntoView would also move the place from which Tab goes on
    const shown = row.current.querySelector('[aria-current="page"]');
    if (shown) row.current.scrollLeft = shown.offsetLeft - row.current.offsetLeft - (row.current.clientWidth - shown.clientWidth) / 2;
  }, [now]);
  return html`<nav class="tabs" aria-label=${label} ref=${row}>
    ${tabs.map(([name, text, count]) => html`<button key=${name} class="tab" aria-current=${name === now ? "page" : "false"} onClick=${() => pick(name)}>
      ${text}${count ? html` <span class="count">${count}</span>` : null}
    </button>`)}
  </nav>`;
}

export function Field({ label, children, hint, error, wide }) {
  return html`<label class=${`field ${wide ? "wide" : ""}`}>
    <span class="label">${label}</span>${children}
    ${hint && html`<span class="hint">${hint}</span>`}
    ${error && html`<span class="fault" role="alert">${error}</span>`}
  </label>`;
}

export function Select({ label, value, options, pick }) {
  return html`<${Field} label=${label}>
    <select value=${value} onChange=${(event) => pick(event.currentTarget.value)}>
      ${options.map(([name, text]) => html`<option key=${name} value=${name} selected=${name === value}>${text}</option>`)}
    </select>
  <//>`;
}

export function useMachines() {
  return useShared("overview")?.machines ?? [];
}

export function MachineSelect({ value, pick, every = true }) {
  const options = useMachines().map((one) => [one.machine, `${one.short} · ${inLanguage(one.name)}`]);
  if (value && !options.some(([path]) => path === value)) options.unshift([value, value]);
  return html`<${Select} label=${t("board.machine")} value=${value || ""} pick=${pick}
    options=${every ? [["", t("board.all_machines")], ...options] : options} />`;
}

// What someone was told; also read aloud.
export function say(text, bad = false) {
  publish({ told: { text, bad, at: Date.now() } });
}

export function Told() {
  const told = useShared("told");
  const [shown, show] = useState(false);
  useEffect(() => {
    if (!told) return undefined;
    show(true);
    const timer = setTimeout(() => show(false), told.bad ? 12000 : 6000);
    return () => clearTimeout(timer);
  }, [told]);
  return html`<div class="told-place" role="status" aria-live="polite">
    ${shown && told && html`<div class=${told.bad ? "told bad" : "told"}>
      <span>${told.text}</span><button class="plain" aria-label=${t("board.do.close")} onClick=${() => show(false)}><${Icon} name="close" /></button>
    </div>`}
  </div>`;
}

// The browser's own modal dialog keeps the focus inside, closes with Esc and gives the focus back.
export function Dialog({ title, close, children }) {
  const box = useRef(null);
  useEffect(() => {
    const shown = box.current;
    shown.showModal();
    return () => shown.close();
  }, []);
  return html`<dialog ref=${box} aria-labelledby="dialog-title" onClose=${close}
    onClick=${(event) => event.target === box.current && close()}>
    <div class="dialog-body">
      <header><h2 id="dialog-title">${title}</h2>
        <button class="plain" aria-label=${t("board.do.close")} onClick=${close}><${Icon} name="close" /></button></header>
      ${children}
    </div>
  </dialog>`;
}

export function Meter({ share, label, kind = "" }) {
  const width = `${Math.max(0, Math.min(1, share ?? 0)) * 100}%`;
  return html`<div class=${`meter ${kind}`} role="progressbar" aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${share === null ? undefined : Math.round(share * 100)} aria-label=${label}><div style=${{ width }}></div></div>`;
}
