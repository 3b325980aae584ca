// Who answers: quality, latency, share and price of each supplier, and why it is chosen or not.

import { COLOURS, Chart } from "../chart.js";
import { evened, perSecond, ratio } from "../columns.js";
import { amount, count, ms, percent, short } from "../format.js";
import { html, useState } from "../html.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { useYoung } from "../series.js";
import { Card, Chip, Empty, Hash, Page, Pairs, Segments, Share, Table, Waiting } from "../parts.js";

const VERDICTS = [
  ["good", "Good", "good"],
  ["cut", "Cut short by the user", ""],
  ["wrong", "Wrong: does not verify, or is no answer", "bad"],
  ["fault", "Fault: refused, broken, or a backend's error", "bad"],
  ["timeout", "Timeout", "bad"],
  ["nobody", "Nobody's fault", ""],
];

export function Suppliers({ about, path }) {
  const { state } = useLive();
  if (!state?.now.sessions) return html`<${Page} title="Suppliers"><${Card}><${Waiting} what="The session" /><//><//>`;
  const rows = rowsOf(state.now);
  return path[0] ? html`<${One} about=${about} operator=${path[0]} rows=${rows} />` : html`<${All} about=${about} rows=${rows} />`;
}

function rowsOf(now) {
  const rows = [];
  for (const session of now.sessions.filter((one) => !one.retiring)) {
    const relays = session.suppliers.reduce((sum, one) => sum + one.relays, 0);
    for (const supplier of session.suppliers) {
      const explained = now.explained.filter((one) => one.service === session.service && one.supplier === supplier.operator);
      rows.push({ ...supplier, service: session.service, session, explained, share: relays ? supplier.relays / relays : 0 });
    }
  }
  return rows;
}

export function standing(row) {
  if (row.lane !== "open") return { tone: "bad", name: row.lane === "opening" ? "Connecting" : "No lane" };
  const tier = best(row)?.tier;
  if (tier === 1) return { tone: "good", name: "Tier 1" };
  if (tier) return { tone: "warn", name: `Tier ${tier}` };
  return row.explained.length ? { tone: "warn", name: "Resting" } : { tone: "", name: "Not asked yet" };
}

function All({ about, rows }) {
  const [service, setService] = useState(about.services[0]?.id ?? "");
  const shown = rows.filter((row) => row.service === service);
  const options = about.services.map((one) => [one.id, one.title]);
  const columns = [
    { name: "Supplier", cell: (row) => html`<a href=${`#/suppliers/${row.operator}`} class="mono">${row.operator.slice(0, 8)}…${row.operator.slice(-4)}</a><span class="sub">${row.endpoint}</span>` },
    { name: "Standing", cell: (row) => html`<${Chip} tone=${standing(row).tone}>${standing(row).name}<//>` },
    { name: "Quality", num: true, cell: (row) => (row.relays ? (row.quality / 10_000).toFixed(4) : "–"), sort: (row) => (row.relays ? row.quality : -1) },
    { name: "First byte", num: true, cell: (row) => (row.first_byte_ms ? ms(row.first_byte_ms) : "–"), sort: (row) => row.first_byte_ms },
    { name: "Relays", num: true, cell: (row) => count(row.relays), sort: (row) => row.relays },
    { name: "Share", num: true, narrow: false, cell: (row) => html`${percent(row.share, 0)}<${Share} value=${row.share} />`, sort: (row) => row.share },
    { name: "In flight", num: true, narrow: false, cell: (row) => count(row.in_flight) },
    { name: "Price", num: true, narrow: false, cell: (row) => (about.token ? amount(row.price, about.token) : count(row.price)), sort: (row) => row.price },
    { name: "Why", wrap: true, narrow: false, cell: (row) => html`<span class="muted">${why(row)}</span>` },
  ];
  const tools =
    options.length > 4
      ? html`<select aria-label="Service" value=${service} onChange=${(event) => setService(event.target.value)}>${options.map(([key, name]) => html`<option key=${key} value=${key}>${name}</option>`)}</select>`
      : html`<${Segments} label="Service" options=${options} value=${service} onChange=${setService} />`;
  return html`<${Page} title="Suppliers" about="Everyone in the sessions that run now, and why each is asked or left alone." tools=${tools}>
    <${PeerCharts} service=${service} rows=${shown} />
    <${Card} title="In this session" about=${about.token ? `Price: ${about.token.symbol} for a million units. Quality decides tiers; latency and load choose among equals.` : "Quality decides tiers; latency and load choose among equals."}>
      ${shown.length ? html`<${Table} caption="Suppliers" columns=${columns} rows=${shown} keyOf=${(row) => row.service + row.operator} first=${{ name: "Relays", down: true }} />` : html`<${Empty} title="No session runs">The gateway is not in a session: its application needs a grant, escrow that covers it, and a supplier.<//>`}
    <//>
  <//>`;
}

function why(row) {
  if (row.problem) return row.problem;
  return best(row)?.why ?? "nothing was asked of this class yet";
}

/** What is said of the class in which it stands best. */
function best(row) {
  return [...row.explained].sort((a, b) => (a.tier ?? 99) - (b.tier ?? 99))[0];
}

function PeerCharts({ service, rows }) {
  const spanS = useYoung() ? 900 : 3600;
  const chart = useLoad(`/api/chart?span_s=3600&peers=1&service=${encodeURIComponent(service)}`, 10_000);
  if (!chart.value) return html`<${Card}><${Waiting} error=${chart.error} what="The series" /><//>`;
  const data = evened(chart.value);
  const operators = [...new Set(rows.map((row) => row.operator))].filter((operator) => data.series[operator]).slice(0, COLOURS.length);
  const lines = (values, extra = {}) =>
    operators.map((operator, place) => ({ name: `${operator.slice(0, 6)}…${operator.slice(-4)}`, colour: COLOURS[place], values: values(data.series[operator]), ...extra }));
  const shared = { t: data.t, spanS, height: 150 };
  return html`<section class="grid-3" aria-label="Charts of the last hour">
    <${Chart} title="Good answers" lines=${lines((c) => ratio(c.good, c.relays), { sparse: true })} format=${(v) => percent(v, 0)} range=${() => [0, 1.02]} ...${shared} />
    <${Chart} title="Attempts a second" lines=${lines((c) => perSecond(c.relays, data.step_s))} format=${short} zeroIsNothing ...${shared} />
    <${Chart} title="First byte, p95" lines=${lines((c) => c.p95_ms, { sparse: true })} format=${ms} ...${shared} />
  </section>`;
}

function One({ about, operator, rows }) {
  const own = rows.filter((row) => row.operator.toLowerCase() === operator.toLowerCase());
  const chain = useLoad(about.pages.includes("explorer") ? "/api/chain" : null, 20_000).value;
  const back = { href: "#/suppliers", name: "Suppliers" };
  return html`<${Page} title=${html`Supplier <span class="mono">${operator.slice(0, 8)}…${operator.slice(-4)}</span>`} about=${own[0] ? own[0].endpoint : "Not in a session of now."} back=${back}>
    ${own.length === 0 && html`<${Card}><${Empty} title="Not in a session now">Sessions choose their suppliers anew each time. What this one was paid is in the <a href="#/explorer/suppliers">explorer</a>.<//><//>`}
    ${own.map((row) => html`<${Seat} key=${row.service} row=${row} about=${about} line=${chain?.suppliers.find((one) => one.registration === row.registration)} />`)}
  <//>`;
}

function SeatCharts({ row }) {
  const chart = useLoad(`/api/chart?span_s=3600&peers=1&service=${encodeURIComponent(row.service)}`, 10_000);
  const data = chart.value && evened(chart.value);
  const columns = data?.series[row.operator];
  if (!columns) return html`<${Card}><${Empty} title="Nothing was asked in the last hour" /><//>`;
  const shared = { t: data.t, spanS: 3600, height: 150 };
  return html`<${Chart} title="Good answers" lines=${[{ name: "good", colour: "--c3", values: ratio(columns.good, columns.relays), sparse: true }]} format=${(v) => percent(v)} range=${() => [0, 1.02]} ...${shared} />
    <${Chart} title="Time to the first byte" lines=${["p50_ms", "p95_ms"].map((key, place) => ({ name: key.slice(0, 3), colour: COLOURS[place], values: columns[key], sparse: true }))} format=${ms} ...${shared} />`;
}

function Seat({ row, about, line }) {
  const token = about.token;
  const verdicts = VERDICTS.map(([key, name, tone]) => ({ key, name, tone, n: row.verdicts[key] }));
  const facts = [
    ["Standing", html`<${Chip} tone=${standing(row).tone}>${standing(row).name}<//>`],
    ...(row.problem ? [["Problem", row.problem]] : row.explained.map((one) => [`Asked for ${one.class}`, one.why])),
    ["Quality so far", row.relays ? (row.quality / 10_000).toFixed(4) : "–"],
    ["Units", count(row.units)],
    token && ["Amount so far", `${amount(row.amount, token)} ${token.symbol}`],
    token && ["Price", `${amount(row.price, token)} ${token.symbol} for a million units`],
    ["Registration", `${row.registration}, index ${row.index}`],
    line && token && ["Bond", `${amount(line.bond, token)} ${token.symbol}`],
    line && token && ["Paid in all", `${amount(line.paid, token)} ${token.symbol} over ${count(line.sessions)} sessions`],
    ["Operator", html`<${Hash} value=${row.operator} head=${10} tail=${8} />`],
  ].filter(Boolean);
  const columns = [
    { name: "Verdict", cell: (one) => html`<span class=${one.n ? one.tone : "faint"}>${one.name}</span>` },
    { name: "Attempts", num: true, cell: (one) => html`<span class=${one.n ? "" : "faint"}>${count(one.n)}</span>` },
    { name: "Share", num: true, cell: (one) => (row.relays ? percent(one.n / row.relays) : "–") },
  ];
  return html`<h2 class="part">${row.service}</h2>
    <section class="grid-2" aria-label=${`${row.service}: charts of the last hour`}><${SeatCharts} row=${row} /></section>
    <div class="grid-2">
      <${Card} title=${`Session ${count(row.session.number)}`}><${Pairs} rows=${facts} /><//>
      <${Card} title="Attempts by verdict"><${Table} caption=${`Verdicts on ${row.service}`} columns=${columns} rows=${verdicts} keyOf=${(one) => one.key} /><//>
    </div>`;
}
