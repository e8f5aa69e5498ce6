// Preact with htm. Several roots are put into a box without a layout: in the bundled Preact loose siblings that are
// replaced can change places.
import { h, html as written } from "./vendor/preact-htm.js";

export { render, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";

export function html(...parts) {
  const made = written(...parts);
  return Array.isArray(made) ? h("div", { class: "loose" }, ...made) : made;
}
