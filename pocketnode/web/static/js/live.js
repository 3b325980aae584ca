// The one stream of events: how things stand, every two seconds, for every page that looks.

import { useEffect, useState } from "./html.js";

const RETRY_MS = 2000;
const STALE_MS = 8000;

class Live {
  constructor() {
    this.status = "connecting";
    this.state = null;
    this.listeners = new Set();
    this.heardMs = 0;
  }

  start() {
    this.stop();
    this.source = new EventSource("/api/events");
    this.source.onmessage = (event) => {
      this.heardMs = performance.now();
      this.tell("live", JSON.parse(event.data));
    };
    this.source.onerror = () => {
      this.tell("lost", this.state);
      // A browser gives up for good where the answer was an error: begin anew.
      if (this.source.readyState === EventSource.CLOSED) this.retry = setTimeout(() => this.start(), RETRY_MS);
    };
    this.watch = setInterval(() => {
      if (this.status === "live" && performance.now() - this.heardMs > STALE_MS) this.tell("lost", this.state);
    }, 1000);
  }

  stop() {
    clearInterval(this.watch);
    clearTimeout(this.retry);
    this.source?.close();
  }

  tell(status, state) {
    this.status = status;
    this.state = state;
    for (const listener of this.listeners) listener();
  }
}

export const live = new Live();

/** Redraw at each event, and return {status, state}. */
export function useLive() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = () => redraw((n) => n + 1);
    live.listeners.add(listener);
    return () => live.listeners.delete(listener);
  }, []);
  return { status: live.status, state: live.state };
}
