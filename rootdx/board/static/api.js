// Requests to the board's own server.
const BASE = "/api/v1";
const TIMEOUT_MS = 60000;

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error || `HTTP ${status}`);
    this.status = status;
    this.kind = body?.kind;
    this.field = body?.field;
  }
}

let onSignedOut = () => {};

export function whenSignedOut(act) {
  onSignedOut = act;
}

export function address(path, query = {}) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") parts.append(name, one);
    }
  }
  const text = parts.toString();
  return BASE + path + (text ? (path.includes("?") ? "&" : "?") + text : "");
}

async function ask(method, path, query, body, signal) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-Rootdx"] = "board";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetch(address(path, query), {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    credentials: "same-origin",
  });
  const text = answer.status === 204 ? "" : await answer.text();
  const given = text && answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : null;
  if (!answer.ok) {
    if (answer.status === 401 && path !== "/session" && path !== "/me") onSignedOut();
    throw new Refused(answer.status, given);
  }
  return given;
}

export const get = (path, query, signal) => ask("GET", path, query, undefined, signal);
export const post = (path, body = {}) => ask("POST", path, undefined, body);
export const patch = (path, body) => ask("PATCH", path, undefined, body);
export const remove = (path) => ask("DELETE", path, undefined, undefined);
