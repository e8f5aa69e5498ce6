// Numbers, units and times as people read them: in their language, in the plant's time zone.
import { language, t } from "./texts.js";
import { zone } from "./store.js";

const UNITS = {
  1: "", Cel: "°C", K: "K", "kW.h": "kWh", "A.h": "Ah", "%{wt}": "wt%", "/min": "1/min", Ohm: "Ω", kOhm: "kΩ",
  "L/min": "L/min", "Cel/s": "°C/s", "Cel/min": "°C/min", "kW.h/t": "kWh/t", "kW.h/m2": "kWh/m²", m2: "m²", m3: "m³",
  "A/dm2": "A/dm²", "m3/h": "m³/h", um: "µm", "kJ/mm": "kJ/mm", "{item}": "", "kW.h/{item}": "kWh", "/h": "1/h",
  "uS/cm": "µS/cm", "mm3": "mm³", "kgCO2e": "kg CO₂e", deg: "°", "m/s": "m/s", "[pH]": "pH", bar: "bar", "V.s": "Vs",
};
const formatters = new Map();

function formatter(kind, options) {
  const key = `${language()} ${zone()} ${kind} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) {
    formatters.set(key, kind === "number" ? new Intl.NumberFormat(language(), options)
      : new Intl.DateTimeFormat("en-CA", { timeZone: zone(), hourCycle: "h23", ...options }));
  }
  return formatters.get(key);
}

export function unit(ucum) {
  if (!ucum) return "";
  return UNITS[ucum] ?? ucum.replace(/\{[^}]*\}/g, "").replace(/\./g, "·").replace(/m2\b/g, "m²").replace(/m3\b/g, "m³");
}

export function number(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Object.is(value, -0)) value = 0;
  const size = Math.abs(value);
  const found = digits ?? (Number.isInteger(value) || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : size >= 0.01 ? 3 : undefined);
  return formatter("number", found === undefined ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: found }).format(value);
}

export const whole = (value) => number(value, 0);

export function percent(share, digits = 1) {
  if (share === null || share === undefined || !Number.isFinite(share)) return "–";
  return formatter("number", { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share);
}

export function withUnit(value, ucum) {
  const shown = unit(ucum);
  return shown ? `${number(value)} ${shown}` : number(value);
}

function parts(ms) {
  const options = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  return Object.fromEntries(formatter("time", options).formatToParts(new Date(ms)).map((one) => [one.type, one.value]));
}

export function day(ms) {
  const p = parts(ms);
  return `${p.year}-${p.month}-${p.day}`;
}

export function clock(ms, seconds = true) {
  const p = parts(ms);
  return seconds ? `${p.hour}:${p.minute}:${p.second}` : `${p.hour}:${p.minute}`;
}

export function moment(ms, seconds = true) {
  return Number.isFinite(ms) ? `${day(ms)} ${clock(ms, seconds)}` : "–";
}

// Today's times without the date.
export function brief(ms, now_ms) {
  if (!Number.isFinite(ms)) return "–";
  return day(ms) === day(now_ms) ? clock(ms, false) : moment(ms, false).slice(5);
}

// How old something is, no finer than it is known.
export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  return seconds < 60 ? t("board.time.fresh") : duration(Math.floor(seconds / 60) * 60);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const size = Math.abs(seconds);
  if (size < 10 && !Number.isInteger(seconds)) return t("board.time.s", { s: number(seconds, 1) });
  if (size < 120) return t("board.time.s", { s: whole(seconds) });
  if (size < 3600 && size % 60 === 0) return t("board.time.whole_min", { min: size / 60 });
  if (size < 3600) return t("board.time.min", { min: Math.floor(size / 60), s: Math.round(size % 60) });
  if (size < 86400) return t("board.time.h", { h: Math.floor(size / 3600), min: Math.floor((size % 3600) / 60) });
  return t("board.time.d", { d: Math.floor(size / 86400), h: Math.floor((size % 86400) / 3600) });
}

function offsetMinutes(ms) {
  const p = parts(ms);
  return Math.round((Date.UTC(p.year, p.month - 1, p.day, p.hour, p.minute, p.second) - ms) / 60000);
}

// "2026-11-22T08:00" on the plant's clock, as ISO 8601 with its offset.
export function plantIso(local) {
  const guess = Date.parse(`${local}Z`);
  const minutes = offsetMinutes(guess - offsetMinutes(guess) * 60000);
  const size = Math.abs(minutes);
  const two = (n) => String(n).padStart(2, "0");
  const full = local.length === 16 ? `${local}:00` : local;
  return `${full}${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

export function plantLocal(ms) {
  return `${day(ms)}T${clock(ms, false)}`;
}

export function plantMs(local) {
  return Date.parse(plantIso(local));
}
