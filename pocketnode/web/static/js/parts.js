// What pages are made of.

import { brief, count } from "./format.js";
import { html, useState } from "./html.js";
import { Icon } from "./icons.js";

export function Page({ title, about, tools, back, children }) {
  return html`<div>
    ${back && html`<a class="back" href=${back.href}>← ${back.name}</a>`}
    <header class="page-head">
      <div>
        <h1 tabindex="-1">${title}</h1>
        ${about && html`<p>${about}</p>`}
      </div>
      ${tools && html`<div class="tools">${tools}</div>`}
    </header>
    <div class="stack">${children}</div>
  </div>`;
}

export function Card({ title, about, tools, children }) {
  return html`<section class="card">
    ${title &&
    html`<header class="card-head">
      <div>
        <h2>${title}</h2>
        ${about && html`<p>${about}</p>`}
      </div>
      ${tools && html`<div class="tools">${tools}</div>`}
    </header>`}
    ${children}
  </section>`;
}

export function Stat({ name, value, unit, note, tone = "" }) {
  return html`<div class="stat">
    <dt>${name}</dt>
    <dd class=${tone}>${value}${unit && html`<span class="unit">${unit}</span>`}${note && html`<div class="note">${note}</div>`}</dd>
  </div>`;
}

export function Chip({ tone = "", children }) {
  return html`<span class=${`chip ${tone && `is-${tone}`}`}>${children}</span>`;
}

export function Banner({ tone = "warn", title, children }) {
  return html`<div class=${`banner is-${tone}`} role="status"><strong>${title}</strong><span>${children}</span></div>`;
}

/** One line that all is well. */
export function Quiet({ children }) {
  return html`<div class="card card-pad quiet"><${Icon} name="good" tone="good" /><span>${children}</span></div>`;
}

export function Empty({ title, children, code }) {
  return html`<div class="empty"><strong>${title}</strong>${children}${code && html`<br /><code>${code}</code>`}</div>`;
}

/** What a page shows while it waits, or when the daemon does not answer. */
export function Waiting({ error, reload, what }) {
  if (!error) return html`<div class="empty" role="status">Reading ${what}…</div>`;
  return html`<div class="empty" role="alert">
    <strong>${what} could not be read</strong>${error.message}
    ${reload && html`<br /><button class="button is-small" style="margin-top:12px" onClick=${reload}>Try again</button>`}
  </div>`;
}

/** A short form of an address or hash that copies the whole one. */
export function Hash({ value, head, tail }) {
  const [copied, tell] = useState(false);
  if (!value) return html`<span class="faint">–</span>`;
  const copy = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    await navigator.clipboard?.writeText(value);
    tell(true);
    setTimeout(() => tell(false), 1200);
  };
  return html`<button class="copy mono" title=${`${value}: click to copy`} onClick=${copy}>${copied ? "copied" : brief(value, head, tail)}</button>`;
}

export function Segments({ label, options, value, onChange }) {
  return html`<div class="segments" role="group" aria-label=${label}>
    ${options.map(
      ([key, name]) => html`<button key=${key} type="button" aria-pressed=${key === value ? "true" : "false"} onClick=${() => onChange(key)}>${name}</button>`,
    )}
  </div>`;
}

export function Share({ value }) {
  const width = `${Math.round(Math.max(0, Math.min(1, value)) * 100)}%`;
  return html`<span class="bar" aria-hidden="true"><i style=${{ width }}></i></span>`;
}

/**
 * columns: [{name, cell(row), num, narrow, sort(row)}]; `narrow: false` leaves a column out on a phone.
 * below(row): what is shown in a row of its own under it, if anything.
 */
export function Table({ caption, columns, rows, keyOf, below, first }) {
  const [by, sortBy] = useState(first ?? null);
  const sorting = by && columns.find((column) => column.name === by.name);
  const shown = sorting?.sort ? [...rows].sort((a, b) => compare(sorting.sort(a), sorting.sort(b)) * (by.down ? -1 : 1)) : rows;
  const turn = (name) => sortBy(by?.name === name ? { name, down: !by.down } : { name, down: true });
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption class="hidden">${caption}</caption>
      <thead>
        <tr>
          ${columns.map((column) => html`<th key=${column.name} scope="col" class=${classOf(column)} aria-sort=${sortOf(by, column)}>
            ${column.sort ? html`<button class="sort" type="button" onClick=${() => turn(column.name)}>${column.name}${by?.name === column.name ? (by.down ? " ↓" : " ↑") : ""}</button>` : column.name}
          </th>`)}
        </tr>
      </thead>
      <tbody>
        ${shown.map((row) => html`<tr key=${keyOf(row)}>
            ${columns.map((column) => html`<td key=${column.name} class=${classOf(column)}>${column.cell(row)}</td>`)}
          </tr>
          ${below?.(row) && html`<tr key=${`${keyOf(row)} below`}><td class="below" colspan=${columns.length}>${below(row)}</td></tr>`}`)}
      </tbody>
    </table>
  </div>`;
}

function classOf(column) {
  return [column.num && "num", column.narrow === false && "narrow-hide", column.wrap && "wrap"].filter(Boolean).join(" ");
}

function sortOf(by, column) {
  if (by?.name !== column.name) return undefined;
  return by.down ? "descending" : "ascending";
}

function compare(a, b) {
  if (a === b) return 0;
  return (a ?? -Infinity) < (b ?? -Infinity) ? -1 : 1;
}

/** Turns the pages of a list; nothing where it fits on one. `count` is how many there are in all, if that is known. */
export function Pager({ offset, size, shown, count: all, go }) {
  if (!offset && shown < size) return null;
  const last = all === undefined ? shown < size : offset + size >= all;
  return html`<nav class="pager" aria-label="Pages of the list">
    <span class="muted">${count(offset + Math.min(1, shown))}–${count(offset + shown)}${all === undefined ? "" : ` of ${count(all)}`}</span>
    <button class="button is-small" disabled=${!offset} onClick=${() => go(Math.max(0, offset - size))}>Previous</button>
    <button class="button is-small" disabled=${last} onClick=${() => go(offset + size)}>Next</button>
  </nav>`;
}

export function Pairs({ rows }) {
  return html`<dl class="pairs">${rows.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** A bar that fills, with a mark where the promise lies. */
export function Gauge({ value, mark, tone = "plain", label }) {
  const at = (share) => `${Math.max(0, Math.min(1, share)) * 100}%`;
  return html`<div class="gauge" role="img" aria-label=${label}>
    <div class=${`fill is-${tone}`} style=${{ width: at(value) }}></div>
    ${mark !== undefined && html`<div class="mark" style=${{ left: `calc(${at(mark)} - 1px)` }}></div>`}
  </div>`;
}

/** A modal dialog that closes by Escape, by its buttons, and gives the focus back. */
export function Dialog({ label, onClose, children }) {
  const open = (element) => {
    if (element && !element.open) element.showModal();
  };
  return html`<dialog ref=${open} aria-label=${label} onClose=${onClose}>${children}</dialog>`;
}
