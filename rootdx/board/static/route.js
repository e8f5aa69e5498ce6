// Addresses: #/page/rest?name=value
import { useEffect, useState } from "./view.js";

function parsed(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  return {
    page: page || "overview",
    arg: decodeURIComponent(rest.join("/")),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

export function href(page, arg = "", query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const tail = kept.length ? `?${new URLSearchParams(kept)}` : "";
  const path = arg === "" ? "" : `/${String(arg).split("/").map(encodeURIComponent).join("/")}`;
  return `#/${page}${path}${tail}`;
}

export function useRoute() {
  const [route, set] = useState(() => parsed(location.hash));
  useEffect(() => {
    const look = () => set(parsed(location.hash));
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  return route;
}

// Changes what the address asks for without a new step in the history.
export function setQuery(changes) {
  const { page, arg, query } = parsed(location.hash);
  location.replace(href(page, arg, { ...query, ...changes }));
}

export function go(page, arg = "", query = {}) {
  location.hash = href(page, arg, query).slice(1);
}
