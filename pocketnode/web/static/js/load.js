// Facts that are asked for: once, and again every so often.

import { get } from "./api.js";
import { useCallback, useEffect, useState } from "./html.js";

/** Return {value, error, reload}; `value` is undefined until the first answer, and stays while a later one fails. */
export function useLoad(path, everyMs = 0) {
  const [held, hold] = useState({ path: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!path) return undefined;
    let gone = false;
    const load = async () => {
      try {
        const value = await get(path);
        if (!gone) hold({ path, value });
      } catch (error) {
        if (!gone) hold((before) => ({ path, value: before.path === path ? before.value : undefined, error }));
      }
    };
    load();
    const timer = everyMs ? setInterval(load, everyMs) : 0;
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, [path, everyMs, turn]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const fresh = held.path === path;
  return { value: fresh ? held.value : undefined, error: fresh ? held.error : undefined, reload };
}
