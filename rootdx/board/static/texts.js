// What the pages say. A key that is not there shows as ⟦key⟧.
import { get } from "./api.js";

let texts = {};
let spoken = "en";

export function language() {
  return spoken;
}

export function storedLanguage() {
  const found = document.cookie.match(/(?:^|; )rootdx_lang=(ko|en)/);
  if (found) return found[1];
  return navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
}

export async function loadTexts(lang) {
  const answer = await get("/texts", { lang });
  texts = answer.texts;
  spoken = lang;
  document.documentElement.lang = lang;
  document.cookie = `rootdx_lang=${lang}; path=/; max-age=31536000; samesite=strict`;
}

export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) return `⟦${key}⟧`;
  return text.replace(/\{(\w+)[^}]*\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// A name that a plant may have given itself: its text where there is one, else the name.
export function named(group, name) {
  return texts[`${group}.${name}`] ?? name;
}
