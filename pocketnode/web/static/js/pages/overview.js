// The gateway at a glance: reliable, performant, cheap; traffic over time; services.

import { COLOURS, Chart } from "../chart.js";
import { perSecond, ratio, summed, total } from "../columns.js";
import { ErrorChart, ErrorTable } from "../errors.js";
import { amount, count, ms, percent, plural, short } from "../format.js";
import { html, useState } from "../html.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { Card, Chip, Empty, Gauge, Page, Segments, Table, Waiting } from "../parts.js";
import { SPANS, spanOf, useColumns, useSpan } from "../series.js";

const RECENT_S = 300;

export function Overview({ about }) {
  const [span, setSpan] = useSpan();
  const [service, setService] = useState("");
  const data = useColumns(spanOf(span));
  const recent = useColumns(RECENT_S);
  const { state } = useLive();
  const chain = useLoad(about.pages.includes("explorer") ? "/api/chain" : null, 20_000).value;
  const tools = html`<label class="hidden" for="service">Service</label>
    <select id="service" value=${service} onChange=${(event) => setService(event.target.value)}>
      <option value="">All services</option>
      ${about.services.map((one) => html`<option key=${one.id} value=${one.id}>${one.title}</option>`)}
    </select>
    <${Segments} label="Span of time" options=${SPANS.map((one) => [one.key, one.name])} value=${span} onChange=${setSpan} />`;
  return html`<${Page} title="Overview" about="What users of this gateway get, and what it costs." tools=${tools}>
    <${Trilemma} about=${about} service=${service} data=${recent.value} chain=${chain} />
    ${data.value ? html`<${Charts} about=${about} service=${service} data=${data.value} spanS=${spanOf(span)} />` : html`<${Card}><${Waiting} error=${data.error} what="The series" /><//>`}
    <${Services} about=${about} data=${recent.value} now=${state?.now} chain=${chain} />
    ${data.value && html`<${Troubles} about=${about} service=${service} data=${data.value} />`}
  <//>`;
}

function chosen(about, service) {
  return about.services.filter((one) => !service || one.id === service);
}

function Trilemma({ about, service, data, chain }) {
  const services = chosen(about, service)
    .map((one) => ({ ...one, sums: data?.series[one.id] ? summed(data.series[one.id]) : null, terms: chain?.services.find((s) => s.id === one.id) }))
    .filter((one) => one.sums?.relays);
  return html`<section class="grid-3" aria-label="Reliable, performant, cheap: the last five minutes against their promises">
    <${Reliable} services=${services} />
    <${Performant} services=${services} />
    <${Cheap} services=${services} token=${about.token} />
  </section>`;
}

function Lemma({ name, tone, state, value, unit, gauge, says, ends }) {
  return html`<article class="card lemma">
    <header><h2>${name}</h2><${Chip} tone=${tone}>${state}<//></header>
    <p class="value">${value}<span class="unit">${unit}</span></p>
    ${gauge ?? html`<${Gauge} value=${0} label="nothing measured yet" />`}
    <div class="ends"><span>${ends?.[0] ?? " "}</span><span>${ends?.[1] ?? " "}</span></div>
    <p class="says">${says}</p>
  </article>`;
}

/** What users were not answered, by class; also what was turned away before its service was known. */
function Troubles({ about, service, data }) {
  const known = new Set(about.services.map((one) => one.id));
  const rows = Object.entries(data.series)
    .filter(([name]) => !service || name === service)
    .flatMap(([name, columns]) => {
      const sums = summed(columns);
      return Object.entries(sums.errors).map(([error, n]) => ({ service: known.has(name) ? name : null, name: error, n, of: sums.relays + sums.refused }));
    });
  return html`<${ErrorTable} title="What was not answered" caption="Failures and refusals by class" rows=${rows} withService about="In the span shown above. What is the user's to mend does not count against success." nothing="Every request of this span was answered" />`;
}

const QUIET = { tone: "", state: "No traffic", value: "–", says: "Nothing was asked in the last five minutes." };

function Reliable({ services }) {
  if (!services.length) return html`<${Lemma} name="Reliable" ...${QUIET} />`;
  const relays = services.reduce((sum, one) => sum + one.sums.relays, 0);
  const good = services.reduce((sum, one) => sum + one.sums.good, 0);
  // Of several services the one that misses its target by most speaks for all.
  const worst = services.reduce((a, b) => (missOf(a) >= missOf(b) ? a : b));
  const target = worst.slo.success;
  const share = worst.sums.good / worst.sums.relays;
  const kept = share >= target;
  const refused = services.reduce((sum, one) => sum + one.sums.refused, 0);
  const tone = kept ? "good" : share > target - 0.02 ? "warn" : "bad";
  const low = Math.min(0.9, Math.floor(share * 10) / 10);
  const at = (value) => (value - low) / (1 - low);
  return html`<${Lemma}
    name="Reliable"
    tone=${tone}
    state=${kept ? "On target" : "Below target"}
    value=${percent(share)}
    unit="answered"
    gauge=${html`<${Gauge} value=${at(share)} mark=${at(target)} tone=${tone} label=${`${percent(share)} of requests answered, target ${percent(target)}`} />`}
    ends=${[percent(low, 0), `target ${percent(target)}`]}
    says=${`${services.length > 1 && !kept ? `${worst.title} is furthest below. ` : ""}${relays === good ? `All ${count(relays)} requests of the last five minutes were answered` : `${count(relays - good)} of ${count(relays)} requests in five minutes were not answered`}${refused ? `; ${plural(refused, "more was", "more were")} turned away for the user to mend.` : "."}`}
  />`;
}

/** By how much of what may fail a service's failures exceed it. */
function missOf(one) {
  return (1 - one.sums.good / one.sums.relays) / (1 - one.slo.success);
}

function Performant({ services }) {
  const timed = services.filter((one) => one.sums.first_p95_ms !== null);
  if (!timed.length) return html`<${Lemma} name="Performant" ...${QUIET} />`;
  const worst = timed.reduce((a, b) => (a.sums.first_p95_ms / a.slo.first_byte_ms >= b.sums.first_p95_ms / b.slo.first_byte_ms ? a : b));
  const used = worst.sums.first_p95_ms / worst.slo.first_byte_ms;
  const tone = used <= 1 ? "good" : used <= 1.5 ? "warn" : "bad";
  const [value, unit] = ms(worst.sums.first_p95_ms).split(" ");
  return html`<${Lemma}
    name="Performant"
    tone=${tone}
    state=${used <= 1 ? "On target" : "Above target"}
    value=${value}
    unit=${`${unit} to the first byte, p95`}
    gauge=${html`<${Gauge} value=${used / 1.5} mark=${1 / 1.5} tone=${tone} label=${`p95 ${ms(worst.sums.first_p95_ms)}, promised ${ms(worst.slo.first_byte_ms)}`} />`}
    ends=${["0", `target ${ms(worst.slo.first_byte_ms)}`]}
    says=${`${worst.title}${timed.length > 1 ? " is nearest to its limit" : ""}. Half of its answers begin within ${ms(worst.sums.first_p50_ms)} and end within ${ms(worst.sums.p50_ms)}.`}
  />`;
}

/** What a million units may cost: the operator's own target, else the highest price that the service's owner allows. */
function priceOf(one) {
  return one.slo.price ?? (one.terms ? Number(one.terms.max_price) : null);
}

function Cheap({ services, token }) {
  const sold = services.filter((one) => one.sums.units);
  if (!sold.length || !token) return html`<${Lemma} name="Cheap" ...${QUIET} />`;
  const spent = sold.reduce((sum, one) => sum + one.sums.amount, 0);
  const good = sold.reduce((sum, one) => sum + one.sums.good, 0);
  const priced = sold.filter((one) => priceOf(one));
  const allowed = priced.reduce((sum, one) => sum + (one.sums.units * priceOf(one)) / 1e6, 0);
  const used = allowed ? priced.reduce((sum, one) => sum + one.sums.amount, 0) / allowed : null;
  const own = priced.some((one) => one.slo.price);
  const what = own ? "target" : "highest price";
  const tone = used === null ? "" : used <= 1 ? "good" : "bad";
  return html`<${Lemma}
    name="Cheap"
    tone=${tone}
    state=${used === null ? "No target" : used <= 1 ? "On target" : "Above target"}
    value=${amount((spent / good) * 1000, token)}
    unit=${`${token.symbol} for 1,000 answers`}
    gauge=${html`<${Gauge} value=${(used ?? 0) / 1.25} mark=${used === null ? undefined : 1 / 1.25} tone=${tone || "plain"} label=${used === null ? "no target" : `${percent(used)} of the ${what}`} />`}
    ends=${["0", used === null ? "no target" : `the ${what}`]}
    says=${`${used === null ? "" : `${percent(used, 0)} of what ${own ? "your targets allow" : "the services' owners allow"} for this work. `}${amount(spent, token)} ${token.symbol} in five minutes.`}
  />`;
}

function Charts({ about, service, data, spanS }) {
  const services = chosen(about, service);
  const shown = services.map((one) => ({ one, colour: COLOURS[about.services.indexOf(one) % COLOURS.length], columns: data.series[one.id] })).filter((line) => line.columns);
  const all = total({ ...data, series: Object.fromEntries(shown.map((line) => [line.one.id, line.columns])) });
  const whole = service ? all : total(data); // with what was turned away before its service was known
  const lines = (values, extra = {}) => shown.map((line) => ({ name: line.one.id, colour: line.colour, values: values(line.columns), ...extra }));
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const [relays, good, spent] = [sum(all.relays), sum(all.good), sum(all.amount)];
  const shared = { t: data.t, spanS, height: 150 };
  const steps = Math.min(Math.max(1, Math.round(20 / data.step_s)), all.relays.length);
  const rate = steps ? (sum(all.relays.slice(-steps)) + sum(all.refused.slice(-steps))) / (steps * data.step_s) : 0;
  const only = shown.length === 1 ? shown[0] : null;
  const summary = only ? summed(only.columns) : null;
  const parted = (keys) => keys.map(([key, name, colour]) => ({ name, colour, values: only.columns[key], sparse: true }));
  const first = only ? parted([["first_p50_ms", "p50", "--c1"], ["first_p95_ms", "p95", "--c2"]]) : lines((c) => c.first_p95_ms, { sparse: true });
  const ends = only ? parted([["p50_ms", "p50", "--c1"], ["p95_ms", "p95", "--c2"], ["p99_ms", "p99", "--c5"]]) : lines((c) => c.p95_ms, { sparse: true });
  const asked = (c) => perSecond(c.relays.map((n, place) => n + c.refused[place]), data.step_s);
  return html`<section class="grid-3" aria-label="Charts">
    <${Chart} title="Requests a second" headline=${short(rate)} unit="/s now" lines=${lines(asked, { fill: true })} format=${short} zeroIsNothing ...${shared} empty="No requests in this span" />
    <${Chart} title="Answered" headline=${relays ? percent(good / relays) : "–"} unit=${relays ? `of ${short(relays)}` : ""} lines=${lines((c) => ratio(c.good, c.relays), { sparse: true })} format=${(v) => percent(v)} range=${(_, low) => [Math.min(0.9, Math.floor((low ?? 1) * 10) / 10), 1.003]} ...${shared} />
    ${about.token
      ? html`<${Chart} title="Spend a minute" headline=${amount(spent, about.token)} unit=${`${about.token.symbol} in all`} lines=${lines((c) => c.amount.map((v) => (v * 60) / data.step_s), { fill: true })} format=${(v) => amount(v, about.token)} zeroIsNothing ...${shared} empty="Nothing was spent in this span" />`
      : html`<${Chart} title="Units a second" lines=${lines((c) => perSecond(c.units, data.step_s), { fill: true })} format=${short} zeroIsNothing ...${shared} />`}
    <${Chart} title=${only ? "Time to first byte" : "Time to first byte, p95"} headline=${summary ? ms(summary.first_p95_ms) : undefined} unit=${summary ? "p95" : undefined} lines=${first} format=${ms} ...${shared} />
    <${Chart} title=${only ? "Time of an answer" : "Time of an answer, p95"} headline=${summary ? ms(summary.p95_ms) : undefined} unit=${summary ? "p95" : undefined} lines=${ends} format=${ms} ...${shared} />
    <${ErrorChart} title="Not answered, a minute" columns=${whole} stepS=${data.step_s} empty="Everything was answered" ...${shared} />
  </section>`;
}

function Services({ about, data, now, chain }) {
  const rows = about.services.map((one) => ({
    ...one,
    sums: data?.series[one.id] ? summed(data.series[one.id]) : null,
    session: now?.sessions?.find((session) => session.service === one.id && !session.retiring),
    terms: chain?.services.find((service) => service.id === one.id),
  }));
  const token = about.token;
  const columns = [
    { name: "Service", cell: (row) => html`<span>${row.title}</span><span class="sub mono">${row.id}</span>` },
    { name: "Requests", num: true, narrow: false, cell: (row) => count(row.sums?.relays ?? 0), sort: (row) => row.sums?.relays ?? 0 },
    { name: "Answered", num: true, cell: (row) => html`${row.sums?.relays ? percent(row.sums.good / row.sums.relays) : "–"}<span class="sub">of ${percent(row.slo.success)}</span>` },
    { name: "From cache", num: true, narrow: false, cell: (row) => (row.sums?.good ? percent(row.sums.kept / row.sums.good, 0) : "–") },
    { name: "First byte p95", num: true, cell: (row) => html`${ms(row.sums?.first_p95_ms)}<span class="sub">of ${ms(row.slo.first_byte_ms)}</span>` },
    { name: "Answer p50", num: true, narrow: false, cell: (row) => html`${ms(row.sums?.p50_ms)}<span class="sub">p95 ${ms(row.sums?.p95_ms)} · p99 ${ms(row.sums?.p99_ms)}</span>` },
    { name: "Suppliers", num: true, narrow: false, cell: (row) => (row.session ? `${row.session.suppliers.filter((s) => s.lane === "open").length} of ${row.session.suppliers.length}` : "–") },
    { name: "Session", narrow: false, cell: (row) => html`<${SessionCell} session=${row.session} token=${token} />` },
  ];
  const missing = now?.missing ?? [];
  return html`<${Card} title="Services" about="Figures of the last five minutes; sessions as they run.">
    ${missing.length > 0 && html`<div class="card-pad"><p class="bad">${missing.join("; ")}</p></div>`}
    ${rows.length ? html`<${Table} caption="Services" columns=${columns} rows=${rows} keyOf=${(row) => row.id} />` : html`<${Empty} title="No service is sold">Name one under <code>applications</code> in the gateway's configuration.<//>`}
  <//>`;
}

function SessionCell({ session, token }) {
  if (!session) return html`<span class="faint">none</span>`;
  const used = session.cap ? session.spent / session.cap : 0;
  return html`<span>${count(session.number)} · ${count(session.blocks_left)} blocks left</span><span class="sub">${token ? `${amount(session.spent, token)} of ${amount(session.cap, token)} ${token.symbol}` : percent(used)}</span>`;
}
