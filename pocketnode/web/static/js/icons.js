// Line icons, 18 by 18.
import { html } from "./html.js";

const PATHS = {
  overview: "M2.5 9h3l2-5.5 3.5 11 2-5.5h2.5",
  suppliers: "M3 3.5h12v4H3zM3 10.5h12v4H3zM6 5.5h.01M6 12.5h.01",
  money: "M4 2.5h10v13l-2.5-1.6L9 15.5l-2.5-1.6L4 15.5zM7 6.5h4M7 9.5h4",
  keys: "M11.5 10a3.5 3.5 0 1 0-3.3-2.3L3 13v2h2.5v-1.8h1.8v-1.8H9l1-1",
  operator: "M3 14a7 7 0 1 1 12 0M9 11l3-4M9 11h.01",
  explorer: "M9 2.5 15 6v6l-6 3.5L3 12V6zM3 6l6 3.5L15 6M9 9.5v6",
  good: "M4 9.5l3.3 3.3L14 6",
  bad: "M5 5l8 8M13 5l-8 8",
  wait: "M9 5v4l2.5 2M9 2.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z",
  theme: "M9 2.5a6.5 6.5 0 1 0 0 13zM9 2.5a6.5 6.5 0 0 1 0 13",
};

export function Icon({ name, size = 18, tone = "" }) {
  return html`<svg class=${tone} width=${size} height=${size} viewBox="0 0 18 18" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    <path d=${PATHS[name]} />
  </svg>`;
}
