// What several parts of the page look at: who is signed in, language, theme, the newest overview, the link.
import { useEffect, useState } from "./view.js";

const shared = {
  me: null,
  lang: "en",
  theme: localStorage.getItem("rootdx_theme") || "auto",
  overview: null,
  link: { lost: false, since_ms: null },
  alarms: null,
  trouble: "",
};
const listeners = new Set();
let ahead_ms = 0;

export function read(name) {
  return shared[name];
}

export function publish(changes) {
  Object.assign(shared, changes);
  for (const one of [...listeners]) one();
}

export function useShared(name) {
  const [value, set] = useState(shared[name]);
  useEffect(() => {
    const look = () => set(shared[name]);
    listeners.add(look);
    look();
    return () => listeners.delete(look);
  }, [name]);
  return value;
}

// The server's clock: a tablet's own may be wrong by hours.
export function serverSays(now_ms) {
  ahead_ms = now_ms - Date.now();
}

export function now() {
  return Date.now() + ahead_ms;
}

export function may(what) {
  return Boolean(shared.me?.may?.includes(what));
}

export function zone() {
  return shared.me?.plant?.time_zone || "Asia/Seoul";
}

export function setTheme(theme) {
  localStorage.setItem("rootdx_theme", theme);
  document.documentElement.dataset.theme = theme;
  publish({ theme });
}

export function plantName() {
  const plant = shared.me?.plant;
  return plant?.name || [plant?.enterprise, plant?.site].filter(Boolean).join(" ");
}

// What a machine is called: by its path, or by the end of it.
export function machineName(path) {
  const tile = shared.overview?.machines?.find((one) => one.machine === path || one.short === path);
  return tile ? inLanguage(tile.name) : path;
}

// Names in machine files are written "한국어 / English".
export function inLanguage(text) {
  if (!text) return "";
  const parts = text.split(" / ");
  if (parts.length !== 2) return text;
  const korean = parts.findIndex((one) => /[가-힣]/.test(one));
  if (korean < 0) return text;
  return shared.lang === "ko" ? parts[korean] : parts[1 - korean];
}
