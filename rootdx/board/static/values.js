// The newest value of every tag of the machine one looks at.
import { useEffect, useState } from "./view.js";
import { listen } from "./live.js";

export function useValues(machine) {
  const [values, set] = useState({});
  useEffect(() => {
    set({});
    return listen("values", (data) => data.machine === machine && set((old) => ({ ...old, ...data.values })));
  }, [machine]);
  return values;
}
