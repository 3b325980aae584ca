// Who answers: quality, latency, share and price of each supplier, and why it is chosen or not.

import { COLOURS, Chart } from "../chart.js";
import { evened, joined, perSecond, ratio, summed, total } from "../columns.js";
import { ErrorChart, ErrorTable } from "../errors.js";
import { amount, brief, count, ms, percent, short } from "../format.js";
import { html, useMemo, useState } from "../html.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { SPANS, spanOf, useYoung } from "../series.js";
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
    { name: "First byte", num: true, narrow: false, cell: (row) => (row.first_byte_ms ? ms(row.first_byte_ms) : "–"), sort: (row) => row.first_byte_ms },
    { name: "Relays", num: true, cell: (row) => count(row.relays), sort: (row) => row.relays },
    { name: "Share", num: true, narrow: false, cell: (row) => html`${percent(row.share, 0)}<${Share} value=${row.share} />`, sort: (row) => row.share },
    { name: "In flight", num: true, narrow: false, cell: (row) => count(row.in_flight) },
    { name: "Price", num: true, narrow: false, cell: (row) => (about.token ? amount(row.price, about.token) : count(row.price)), sort: (row) => row.price },
    { name: "Why", wrap: true, narrow: false, cell: (row) => html`<span class="muted">${why(row)}</span>` },
  ];
  const young = useYoung();
  const [span, setSpan] = useState("");
  const shownSpan = span || (young ? "5m" : "1h");
  const tools = html`${
    options.length > 4
      ? html`<select aria-label="Service" value=${service} onChange=${(event) => setService(event.target.value)}>${options.map(([key, name]) => html`<option key=${key} value=${key}>${name}</option>`)}</select>`
      : html`<${Segments} label="Service" options=${options} value=${service} onChange=${setService} />`
  }<${Segments} label="Span of time" options=${SPANS.map((one) => [one.key, one.name])} value=${shownSpan} onChange=${setSpan} />`;
  return html`<${Page} title="Suppliers" about="Everyone in the sessions that run now, and why each is asked or left alone." tools=${tools}>
    <${PeerCharts} about=${about} service=${service} rows=${shown} spanS=${spanOf(shownSpan)} />
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

/** Columns by supplier over `spanS` seconds. */
function usePeers(service, spanS) {
  const chart = useLoad(`/api/chart?span_s=${spanS}&peers=1&service=${encodeURIComponent(service)}`, spanS > 3600 ? 30_000 : 10_000);
  return { error: chart.error, data: useMemo(() => chart.value && evened(joined(chart.value, stepOf(spanS))), [chart.value]) };
}

function stepOf(spanS) {
  return Math.max(20, SPANS.find((one) => one.s === spanS)?.step ?? 20);
}

const SESSIONS_SHOWN = 60;

/** What the chain says of the last sessions: {t: numbers, of(operator, value)}; null where it is not known. */
function useSessions(about, service) {
  const asked = about.pages.includes("explorer") && service;
  const pots = useLoad(asked ? `/api/pots?gateway=${about.address}&service=${encodeURIComponent(service)}&limit=${SESSIONS_SHOWN}` : null, 20_000).value;
  if (!pots) return null;
  const known = [...pots.pots].sort((a, b) => a.session - b.session);
  const part = (pot, operator) => pot.suppliers.find((one) => one.operator?.toLowerCase() === operator.toLowerCase());
  return {
    t: known.map((pot) => pot.session),
    of: (operator, value) => known.map((pot) => {
      const one = part(pot, operator);
      return one ? value(one, pot) : null;
    }),
  };
}

const qualityOf = (one) => (one.quality === null ? null : one.quality / 10_000);
const priceOf = (one) => (one.units ? (Number(one.amount) * 1e6) / one.units : null);
const session = (number) => `#${count(number)}`;

function PeerCharts({ about, service, rows, spanS }) {
  const { data, error } = usePeers(service, spanS);
  const sessions = useSessions(about, service);
  if (!data) return html`<${Card}><${Waiting} error=${error} what="The series" /><//>`;
  const operators = [...new Set(rows.map((row) => row.operator))].slice(0, COLOURS.length);
  const named = (operator, place) => ({ name: `${operator.slice(0, 6)}…`, colour: COLOURS[place] });
  const blank = data.t.map(() => null);
  const lines = (values, extra = {}) => operators.map((operator, place) => ({ ...named(operator, place), values: data.series[operator] ? values(data.series[operator]) : blank, ...extra }));
  const all = total({ ...data, series: Object.fromEntries(operators.filter((one) => data.series[one]).map((one) => [one, data.series[one]])) });
  const shared = { t: data.t, spanS, height: 140 };
  const stated = (value) => operators.map((operator, place) => ({ ...named(operator, place), values: sessions.of(operator, value), sparse: true }));
  const by = sessions && { t: sessions.t, spanS: Math.max(4, sessions.t.length ? sessions.t[sessions.t.length - 1] - sessions.t[0] : 4), tick: session, height: 140, empty: "No session is settled yet" };
  return html`<section class="grid-3" aria-label="Charts">
    <${Chart} title="Good answers" lines=${lines((c) => ratio(c.good, c.relays), { sparse: true })} format=${(v) => percent(v, 0)} range=${() => [0, 1.02]} ...${shared} empty="No attempts in this span" />
    <${Chart} title="First byte, p95" lines=${lines((c) => c.first_p95_ms, { sparse: true })} format=${ms} ...${shared} empty="No attempts in this span" />
    <${Chart} title="Share of attempts" lines=${lines((c) => ratio(c.relays, all.relays), { sparse: true })} format=${(v) => percent(v, 0)} range=${() => [0, 1.02]} ...${shared} empty="No attempts in this span" />
    ${by && html`<${Chart} title="Quality, by session" lines=${stated(qualityOf)} format=${(v) => (v === null || v === undefined ? "–" : v.toFixed(3))} range=${() => [0.48, 1.02]} ...${by} />`}
    ${by && about.token && html`<${Chart} title="Price a million units" unit=${about.token.symbol} headline="" lines=${stated(priceOf)} format=${(v) => amount(v, about.token)} ...${by} />`}
    <${Chart} title="Attempts a second" lines=${lines((c) => perSecond(c.relays, data.step_s))} format=${short} zeroIsNothing ...${shared} empty="No attempts in this span" />
  </section>`;
}

function One({ about, operator, rows }) {
  const [span, setSpan] = useState("1h");
  const own = rows.filter((row) => row.operator.toLowerCase() === operator.toLowerCase());
  const lines = useLoad(about.pages.includes("explorer") ? `/api/chain/suppliers?find=${operator}` : null, 20_000).value?.rows ?? [];
  const back = { href: "#/suppliers", name: "Suppliers" };
  const services = about.services.filter((one) => own.some((row) => row.service === one.id) || lines.some((line) => line.service === one.id));
  const tools = html`<${Segments} label="Span of time" options=${SPANS.slice(1).map((one) => [one.key, one.name])} value=${span} onChange=${setSpan} />`;
  return html`<${Page} title=${html`Supplier <span class="mono">${brief(operator, 8, 4)}</span>`} about=${own[0] ? own[0].endpoint : "Not in a session of now."} back=${back} tools=${tools}>
    ${services.length === 0 && html`<${Card}><${Empty} title="Not in a session now">Sessions choose their suppliers anew each time.<//><//>`}
    ${services.map((one) => html`<${Seat} key=${one.id} service=${one.id} operator=${own[0]?.operator ?? operator} row=${own.find((row) => row.service === one.id)} about=${about} line=${lines.find((line) => line.service === one.id)} spanS=${spanOf(span)} />`)}
  <//>`;
}

function Seat({ service, operator, row, about, line, spanS }) {
  const { data, error } = usePeers(service, spanS);
  const sessions = useSessions(about, service);
  const columns = data?.series[operator.toLowerCase()];
  return html`<h2 class="part">${service}</h2>
    ${!data ? html`<${Card}><${Waiting} error=${error} what="The series" /><//>` : html`<${SeatCharts} about=${about} service=${service} operator=${operator} data=${data} columns=${columns} sessions=${sessions} spanS=${spanS} />`}
    ${row && html`<div class="grid-2">
      <${Card} title=${`Session ${count(row.session.number)}`}><${Pairs} rows=${factsOf(row, about.token, line)} /><//>
      <${Verdicts} row=${row} />
    </div>`}
    <${Errors} columns=${columns} service=${service} />`;
}

function SeatCharts({ about, service, operator, data, columns, sessions, spanS }) {
  if (!columns) return html`<${Card}><${Empty} title="Nothing was asked in this span" /><//>`;
  const all = total(data);
  const line = (name, colour, values) => [{ name, colour, values, sparse: true }];
  const shared = { t: data.t, spanS, height: 140 };
  const by = sessions && { t: sessions.t, spanS: Math.max(4, sessions.t.length ? sessions.t[sessions.t.length - 1] - sessions.t[0] : 4), tick: session, height: 140, empty: "No session is settled yet" };
  return html`<section class="grid-3" aria-label=${`Charts of ${service}`}>
    <${Chart} title="Good answers" lines=${line("good", "--c3", ratio(columns.good, columns.relays))} format=${(v) => percent(v)} range=${() => [0, 1.02]} ...${shared} />
    <${Chart} title="First byte" lines=${[["first_p50_ms", "p50"], ["first_p95_ms", "p95"]].map(([key, name], place) => ({ name, colour: COLOURS[place], values: columns[key], sparse: true }))} format=${ms} ...${shared} />
    <${ErrorChart} title="Errors a minute" columns=${columns} stepS=${data.step_s} empty="No errors" ...${shared} />
    <${Chart} title="Share of attempts" lines=${line("share", "--c1", ratio(columns.relays, all.relays))} format=${(v) => percent(v, 0)} range=${() => [0, 1.02]} ...${shared} />
    ${by && html`<${Chart} title="Quality, by session" lines=${line("quality", "--c4", sessions.of(operator, qualityOf))} format=${(v) => (v === null || v === undefined ? "–" : v.toFixed(3))} range=${() => [0.48, 1.02]} ...${by} />`}
    ${by && html`<${Chart} title="Multiplier, by session" lines=${line("pay over equal quality's", "--c2", sessions.of(operator, (one) => one.multiplier))} format=${(v) => (v === null || v === undefined ? "–" : v.toFixed(3))} range=${() => [0.85, 1.2]} ...${by} />`}
  </section>`;
}

function factsOf(row, token, line) {
  return [
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
}

function Verdicts({ row }) {
  const verdicts = VERDICTS.map(([key, name, tone]) => ({ key, name, tone, n: row.verdicts[key] }));
  const columns = [
    { name: "Verdict", cell: (one) => html`<span class=${one.n ? one.tone : "faint"}>${one.name}</span>` },
    { name: "Attempts", num: true, cell: (one) => html`<span class=${one.n ? "" : "faint"}>${count(one.n)}</span>` },
    { name: "Share", num: true, cell: (one) => (row.relays ? percent(one.n / row.relays) : "–") },
  ];
  return html`<${Card} title="Attempts by verdict" about="In the session that runs; quality is made of these."><${Table} caption=${`Verdicts on ${row.service}`} columns=${columns} rows=${verdicts} keyOf=${(one) => one.key} /><//>`;
}

function Errors({ columns, service }) {
  const sums = columns && summed(columns);
  const rows = sums ? Object.entries(sums.errors).map(([name, n]) => ({ name, n, of: sums.relays + sums.refused })) : [];
  return html`<${ErrorTable} title="Errors by class" caption=${`Errors on ${service}`} rows=${rows} about="Of the span chosen above. What is nobody's fault does not lower its quality." nothing="No errors in this span" />`;
}
