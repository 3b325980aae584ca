// Chart columns of a span of time: asked for once, then kept up to date by events.

import { appended, evened, joined } from "./columns.js";
import { useEffect, useMemo, useState } from "./html.js";
import { get } from "./api.js";
import { useLive } from "./live.js";
import { useLoad } from "./load.js";

export const SPANS = [
  { key: "5m", name: "5 min", s: 300, step: 4 },
  { key: "1h", name: "1 hour", s: 3600, step: 20 },
  { key: "24h", name: "24 h", s: 86_400, step: 600 },
  { key: "7d", name: "7 days", s: 7 * 86_400, step: 3600 },
  { key: "30d", name: "30 days", s: 30 * 86_400, step: 3600 },
];
const LIVE_S = 3600;
const STORED_MS = 30_000;

const YOUNG_S = 900;

/** The span that is shown: at first the last minutes where the daemon is too young for an hour to say anything. */
export function useSpan() {
  const [chosen, choose] = useState("");
  const young = useYoung();
  return [chosen || (young ? "5m" : "1h"), choose];
}

export function useYoung() {
  const { state } = useLive();
  return state?.now.uptime_s !== undefined && state.now.uptime_s < YOUNG_S;
}

export function spanOf(key) {
  return SPANS.find((span) => span.key === key).s;
}

/** Return {value, error}: columns by service over the last `spanS` seconds. */
export function useColumns(spanS) {
  const stored = useLoad(spanS > LIVE_S ? `/api/chart?span_s=${spanS}` : null, STORED_MS);
  const recent = useRecent(spanS <= LIVE_S ? spanS : 0);
  const step = SPANS.find((span) => span.s === spanS)?.step ?? 4;
  const held = spanS > LIVE_S ? stored : recent;
  const value = useMemo(() => held.value && evened(joined(held.value, step)), [held.value, step]);
  return { value, error: held.error };
}

function useRecent(spanS) {
  const { state } = useLive();
  const [held, hold] = useState({ span: 0 });
  useEffect(() => {
    if (!spanS) return undefined;
    let gone = false;
    get(`/api/chart?span_s=${spanS}`).then(
      (value) => !gone && hold({ span: spanS, value }),
      (error) => !gone && hold({ span: spanS, error }),
    );
    return () => {
      gone = true;
    };
  }, [spanS]);
  useEffect(() => {
    if (state && held.value && held.span === spanS) hold((before) => (before.value ? { ...before, value: appended(before.value, state, spanS) } : before));
  }, [state]);
  return held.span === spanS ? held : {};
}
