// Starts the page: texts, who is here, the stream; then shows what the address asks for.
import { html, render, useEffect, useState } from "./view.js";
import { get, Refused, whenSignedOut } from "./api.js";
import { closeLive, follow, openLive } from "./live.js";
import { Shell } from "./shell.js";
import { useRoute } from "./route.js";
import { publish, read, setTheme, useShared } from "./store.js";
import { loadTexts, storedLanguage } from "./texts.js";
import { AccountsPage } from "./pages/accounts.js";
import { AlarmPage } from "./pages/alarm.js";
import { AlarmsPage } from "./pages/alarms.js";
import { CommissioningPage } from "./pages/commissioning.js";
import { CompletenessPage } from "./pages/completeness.js";
import { CyclePage } from "./pages/cycle.js";
import { CyclesPage } from "./pages/cycles.js";
import { EnergyPage } from "./pages/energy.js";
import { EntriesPage } from "./pages/entries.js";
import { JournalPage } from "./pages/journal.js";
import { KioskPage } from "./pages/kiosk.js";
import { KpisPage } from "./pages/kpis.js";
import { LotsPage } from "./pages/lots.js";
import { MachinePage } from "./pages/machine.js";
import { OverviewPage } from "./pages/overview.js";
import { RecordsPage } from "./pages/records.js";
import { SettingsPage } from "./pages/settings.js";
import { SignInPage } from "./pages/sign_in.js";

const PAGES = {
  overview: OverviewPage, machine: MachinePage, alarms: AlarmsPage, alarm: AlarmPage, cycles: CyclesPage, cycle: CyclePage,
  lots: LotsPage, records: RecordsPage, entries: EntriesPage, commissioning: CommissioningPage, kpis: KpisPage,
  energy: EnergyPage, completeness: CompletenessPage, settings: SettingsPage, journal: JournalPage, accounts: AccountsPage,
};

export async function speak(lang) {
  await loadTexts(lang);
  publish({ lang });
}

async function whoIsHere() {
  try {
    publish({ me: await get("/me") });
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401)) throw error;
    publish({ me: null });
  }
}

function App() {
  const route = useRoute();
  const me = useShared("me");
  const lang = useShared("lang");
  const kiosk = route.page === "kiosk";
  useEffect(() => {
    if (!me) return undefined;
    openLive();
    return closeLive;
  }, [me?.name]);
  useEffect(() => {
    follow(route.page === "machine" ? route.arg : "");
    if (kiosk) document.documentElement.dataset.kiosk = "yes";
    else delete document.documentElement.dataset.kiosk;
    scrollTo(0, 0);
  }, [route.page, route.arg]);
  if (!me) return html`<${SignInPage} key=${lang} speak=${speak} />`;
  if (kiosk) return html`<${KioskPage} key=${lang} query=${route.query} />`;
  const Page = PAGES[route.page] ?? OverviewPage;
  return html`<${Shell} route=${route} key=${lang} speak=${speak}><div class="page" key=${route.page + route.arg} data-address=${location.hash}>
    <${Page} arg=${route.arg} query=${route.query} /></div><//>`;
}

// Before there are texts there is only this; it tries until the server answers.
function Starting() {
  const [tries, again] = useState(0);
  useEffect(() => {
    const timer = setTimeout(() => start().catch(() => again(tries + 1)), tries ? 3000 : 0);
    return () => clearTimeout(timer);
  }, [tries]);
  return html`<main class="starting" aria-busy="true"><div class="pulse">
    </div>${tries > 0 && html`<p role="alert">No answer from the server; trying again · 서버 응답이 없습니다. 다시 시도합니다 (${tries})</p>`}</main>`;
}

async function start() {
  await speak(storedLanguage());
  await whoIsHere();
  render(html`<${App} />`, document.getElementById("app"));
}

whenSignedOut(() => {
  if (read("me")) publish({ me: null });
});
setTheme(read("theme"));
render(html`<${Starting} />`, document.getElementById("app"));
