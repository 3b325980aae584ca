// What goes wrong, by class: in words, with who can mend it.

import { errorLines } from "./columns.js";
import { Chart } from "./chart.js";
import { count, percent, short } from "./format.js";
import { html } from "./html.js";
import { Card, Chip, Quiet, Table } from "./parts.js";

const USER = ["", "The user's"];
const OURS = ["bad", "The gateway's"];
const MARKET = ["bad", "The suppliers'"];
const SUPPLIER = ["bad", "The supplier's"];
const NOBODY = ["", "Nobody's"];

/** class -> [in words, whose it is to mend] */
const CLASSES = {
  // of a request, as its user saw it
  no_supplier: ["No supplier gave a sound answer", MARKET],
  timeout: ["No answer in time", MARKET],
  not_ready: ["No session, or no supplier in it", OURS],
  overloaded: ["More requests at once than the gateway takes", OURS],
  internal_error: ["A bug, or a node that answered in no known way", OURS],
  invalid_api_key: ["No key, or one that is not valid", USER],
  not_allowed: ["Not covered by the key", USER],
  rate_limit_exceeded: ["Over the key's limit", USER],
  insufficient_quota: ["The key's budget is used up", USER],
  invalid_json: ["Not JSON", USER],
  invalid_request: ["Malformed request", USER],
  invalid_params: ["Wrong parameters", USER],
  model_not_found: ["Unknown model", USER],
  service_not_found: ["Unknown service", USER],
  method_not_found: ["Unknown method", USER],
  method_not_allowed: ["Wrong HTTP verb", USER],
  unknown_url: ["Unknown path", USER],
  request_timeout: ["The body came too slowly", USER],
  request_too_large: ["The body is too large", USER],
  // of an attempt at a supplier
  backend: ["Backend failed", SUPPLIER],
  fault: ["Answered with a server's error", SUPPLIER],
  wrong: ["Wrong answer", SUPPLIER],
  "does not verify": ["Signature does not verify", SUPPLIER],
  "connection lost": ["Connection lost", SUPPLIER],
  busy: ["Busy: asked to come back later", NOBODY],
  "not-in-session": ["Session was over", NOBODY],
  "out-of-budget": ["Over the credit that the supplier gives", NOBODY],
  "bad-request": ["The user's request was wrong", NOBODY],
  cancelled: ["The user left", NOBODY],
  nobody: ["Left before an answer", NOBODY],
  other: ["Other", NOBODY],
};
const COLOURS = ["--c5", "--c2", "--c4", "--c1", "--c3", "--c6"];

export function inWords(name) {
  return CLASSES[name]?.[0] ?? name;
}

function whose(name) {
  return CLASSES[name]?.[1] ?? NOBODY;
}

/** Failures and refusals over time, the most frequent classes first. */
export function ErrorChart({ title, columns, stepS, empty, ...shared }) {
  const found = errorLines(columns, COLOURS.length);
  const all = found.reduce((sum, one) => sum + one.n, 0);
  const lines = found.map((one, place) => ({ name: inWords(one.name), colour: COLOURS[place], values: one.values.map((n) => (n * 60) / stepS), fill: found.length === 1 }));
  return html`<${Chart} title=${title} headline=${short(all)} unit="in all" lines=${lines} format=${short} zeroIsNothing empty=${empty} ...${shared} />`;
}

/** rows: [{service, name, n, of}]: a class, how often, of how many. */
export function ErrorTable({ rows, caption, title, about, nothing, withService }) {
  const columns = [
    { name: "What", wrap: true, cell: (row) => html`${inWords(row.name)}<span class="sub mono">${row.name}</span>` },
    ...(withService ? [{ name: "Service", narrow: false, cell: (row) => row.service ?? html`<span class="faint">before it was known</span>` }] : []),
    { name: "Whose to mend", cell: (row) => html`<${Chip} tone=${whose(row.name)[0]}>${whose(row.name)[1]}<//>` },
    { name: "Times", num: true, cell: (row) => count(row.n), sort: (row) => row.n },
    { name: "Share", num: true, narrow: false, cell: (row) => (row.of ? percent(row.n / row.of) : "–"), sort: (row) => row.n / (row.of || 1) },
  ];
  if (!rows.length) return html`<${Quiet}>${nothing}.<//>`;
  return html`<${Card} title=${title} about=${about}>
    <${Table} caption=${caption} columns=${columns} rows=${rows} keyOf=${(row) => `${row.service} ${row.name}`} first=${{ name: "Times", down: true }} />
  <//>`;
}
