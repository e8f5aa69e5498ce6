// The one stream of events. The browser reconnects by itself; a silent stream is as lost as a closed one.
import { address, get } from "./api.js";
import { now, publish, read, serverSays } from "./store.js";

const SILENT_MS = 14000;
const RETRY_MS = 3000;
const RENEW_MS = 30000;
const RELOAD_AFTER_MS = 120000;
let source = null;
let machine = "";
let heard_ms = 0;
let renewed_ms = 0;
let watch = 0;
let retry = 0;
const listeners = { values: new Set(), alarms: new Set() };

export function listen(event, act) {
  listeners[event].add(act);
  return () => listeners[event].delete(act);
}

export function openLive() {
  heard_ms = Date.now();
  clearInterval(watch);
  watch = setInterval(look, 2000);
  renew();
  connect();
}

export function closeLive() {
  clearInterval(watch);
  clearTimeout(retry);
  source?.close();
  source = null;
}

export function follow(path) {
  if (path === machine) return;
  machine = path;
  if (source) connect();
}

function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource(address("/live", { machine }));
  source.addEventListener("overview", (event) => hear(event, renewed));
  source.addEventListener("values", (event) => hear(event, (data) => tell("values", data)));
  source.addEventListener("alarms", (event) => hear(event, (data) => {
    publish({ alarms: data });
    tell("alarms", data);
  }));
  source.addEventListener("trouble", (event) => hear(event, (data) => publish({ trouble: data.error })));
  source.addEventListener("beat", (event) => hear(event, (data) => serverSays(data.now_ms)));
  source.onerror = failed;
}

function renewed(overview) {
  renewed_ms = Date.now();
  publish({ overview, trouble: "" });
}

// Ages grow without an event. What the stream repeats may be minutes old, so its times say nothing of the clock.
async function renew() {
  renewed_ms = Date.now();
  try {
    const overview = await get("/overview");
    serverSays(overview.now_ms);
    renewed(overview);
  } catch {
    // the stream says it
  }
}

function hear(event, act) {
  const data = JSON.parse(event.data);
  heard_ms = Date.now();
  if (read("link").lost) found();
  act(data);
}

function tell(event, data) {
  for (const act of [...listeners[event]]) act(data);
}

function failed() {
  lose();
  if (source?.readyState === EventSource.CLOSED) {
    clearTimeout(retry);
    retry = setTimeout(async () => {
      // told by the banner; 401 leads to the sign-in page; a machine that nobody knows is not asked for again
      await (machine ? get("/machine", { machine }) : get("/overview")).catch((error) => {
        if (error.status === 400) machine = "";
      });
      if (source) connect();
    }, RETRY_MS);
  }
}

function look() {
  if (Date.now() - renewed_ms > RENEW_MS && !document.hidden && !read("link").lost) renew();
  if (Date.now() - heard_ms > SILENT_MS) lose();
}

function lose() {
  if (read("link").lost || !source) return;
  publish({ link: { lost: true, since_ms: heard_ms + (now() - Date.now()) } });
}

function found() {
  const since = read("link").since_ms;
  publish({ link: { lost: false, since_ms: null } });
  if (document.documentElement.dataset.kiosk && now() - since > RELOAD_AFTER_MS) location.reload();
}
