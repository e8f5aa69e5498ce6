// The frame around every page: where one can go, what rings, whether what is seen is of now.
import { html, useEffect, useRef, useState } from "./view.js";
import { remove } from "./api.js";
import { clock, moment } from "./format.js";
import { Icon } from "./icons.js";
import { Dialog, Priority, Told, useEvery } from "./parts.js";
import { href } from "./route.js";
import { may, now, plantName, publish, setTheme, useShared } from "./store.js";
import { t } from "./texts.js";

const PLACES = [
  "overview", "alarms", "cycles", "lots", "entries", "kpis", "energy", "completeness", "commissioning", "settings",
  "journal", "accounts", "kiosk",
];
const FIRST = ["overview", "alarms", "cycles", "entries"];
const UNDER = { machine: "overview", alarm: "alarms", cycle: "cycles", records: "lots" };
const THEMES = { auto: "light", light: "dark", dark: "auto" };
const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" };

function places() {
  return PLACES.filter((name) => !["journal", "accounts"].includes(name) || may(name));
}

function NavLink({ name, here, count, act }) {
  return html`<a class="nav-link" href=${href(name)} aria-current=${here === name ? "page" : undefined} onClick=${act}>
    <${Icon} name=${name} /><span>${t(`board.nav.${name}`)}</span>
    ${count > 0 && html`<b class="count" aria-label=${t("board.nav.open", { count })}>${count}</b>`}
  </a>`;
}

export function Switches({ speak }) {
  const lang = useShared("lang");
  const theme = useShared("theme");
  const other = lang === "ko" ? "en" : "ko";
  return html`<button class="plain lang" lang=${other} aria-label=${other === "ko" ? "한국어" : "English"}
    onClick=${() => speak(other)}>${other === "ko" ? "한" : "EN"}</button>
    <button class="plain" aria-label=${t(`board.theme.${theme}`)} onClick=${() => setTheme(THEMES[theme])}><${Icon} name=${THEME_ICONS[theme]} /></button>`;
}

function Clock() {
  const [ms, set] = useState(now());
  useEvery(1, () => set(now()));
  return html`<time class="clock">${clock(ms)}</time>`;
}

export function LostBanner() {
  const link = useShared("link");
  const trouble = useShared("trouble");
  useEffect(() => {
    document.documentElement.classList.toggle("lost", link.lost || Boolean(trouble));
  }, [link.lost, trouble]);
  return html`<div role="alert">${link.lost && html`<p class="lost-banner"><${Icon} name="lost" />
    <span>${t("board.link.lost", { since: moment(link.since_ms) })}</span></p>`}
    ${!link.lost && trouble && html`<p class="lost-banner"><${Icon} name="lost" /><span>${trouble}</span></p>`}</div>`;
}

// New alarms are read aloud once.
function Announcer() {
  const alarms = useShared("alarms");
  const known = useRef(null);
  const [text, set] = useState("");
  useEffect(() => {
    if (!alarms) return;
    if (known.current !== null) set(alarms.open > known.current ? t("board.alarms.new", { count: alarms.open }) : "");
    known.current = alarms.open;
  }, [alarms?.open]);
  return html`<div class="unseen" aria-live="assertive">${text}</div>`;
}

function More({ here, open, close }) {
  return html`<${Dialog} title=${t("board.nav.more")} close=${close}>
    <nav class="sheet" aria-label=${t("board.nav.more")}>${places().filter((name) => !FIRST.includes(name)).map((name) => html`<${NavLink} key=${name}
      name=${name} here=${here} count=${name === "alarms" ? open : 0} act=${close} />`)}</nav>
  <//>`;
}

async function signOut() {
  await remove("/session");
  publish({ me: null });
}

export function Shell({ route, speak, children }) {
  const me = useShared("me");
  const overview = useShared("overview");
  const alarms = useShared("alarms");
  const [more, show] = useState(false);
  const here = UNDER[route.page] ?? route.page;
  const open = alarms?.open ?? overview?.counts?.open_alarms ?? 0;
  const worst = ["high", "medium", "low"].find((level) => overview?.machines?.some((one) => one.alarms[level] > 0));
  const title = useRef(null);
  useEffect(() => {
    const said = document.getElementById("page-title")?.textContent ?? t(`board.nav.${here}`);
    document.title = `${open ? `(${open}) ` : ""}${said} · ${plantName()}`;
  });
  useEffect(() => {
    // a new page is read from its heading; the first one from the top
    if (title.current !== null) document.getElementById("page-title")?.focus({ preventScroll: true });
    title.current = route.page + route.arg;
  }, [route.page, route.arg]);
  return html`<div class="shell">
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.getElementById("main").focus(); }}>${t("board.nav.skip")}</a>
    <header class="top">
      <a class="brand" href=${href("overview")}><img src="/static/icon.svg" alt="" width="28" height="28" /><span>${plantName()}</span></a>
      <div class="top-right">
        <${Clock} />
        ${open > 0 && html`<a class="ring" href=${href("alarms")} aria-label=${t("board.nav.open", { count: open })}>${worst ? html`<${Priority}
          priority=${worst} word=${false} />` : html`<${Icon} name="alarms" />`}<b>${open}</b></a>`}
        <${Switches} speak=${speak} />
        ${me.sign_in && html`<span class="who">${me.name}</span><button class="plain" aria-label=${t("board.nav.sign_out")} onClick=${signOut}>
          <${Icon} name="sign_out" /></button>`}
      </div>
    </header>
    <nav class="side" aria-label=${t("board.nav.label")}>${places().map((name) => html`<${NavLink} key=${name} name=${name} here=${here}
      count=${name === "alarms" ? open : 0} />`)}</nav>
    <main id="main" tabindex="-1"><${LostBanner} />${children}</main>
    <nav class="bottom" aria-label=${t("board.nav.label")}>
      ${FIRST.map((name) => html`<${NavLink} key=${name} name=${name} here=${here} count=${name === "alarms" ? open : 0} />`)}
      <button class="nav-link" aria-haspopup="dialog" onClick=${() => show(true)}><${Icon} name="more" /><span>${t("board.nav.more")}</span></button>
    </nav>
    ${more && html`<${More} here=${here} open=${open} close=${() => show(false)} />`}
    <${Told} /><${Announcer} />
  </div>`;
}
