// The supplier's own page: what it serves, what it is owed and has earned, and what its operator should act upon.

import { COLOURS, Chart } from "../chart.js";
import { evened, joined, perSecond, ratio, summed, total } from "../columns.js";
import { amount, brief, column, count, exactAmount, ms, percent, plural, short } from "../format.js";
import { html, useState } from "../html.js";
import { Icon } from "../icons.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { Card, Chip, Empty, Hash, Page, Quiet, Segments, Share, Stat, Table, Waiting } from "../parts.js";
import { SPANS, spanOf, useColumns, useSpan } from "../series.js";

export function Operator({ about }) {
  const [span, setSpan] = useSpan();
  const data = useColumns(spanOf(span));
  const { state } = useLive();
  const now = state?.now;
  const tools = html`<${Segments} label="Span of time" options=${SPANS.map((one) => [one.key, one.name])} value=${span} onChange=${setSpan} />`;
  if (!now?.services) return html`<${Page} title="Operator"><${Card}><${Waiting} what="The supplier" /><//><//>`;
  const words = `Operator ${brief(about.address, 8, 6)}, serving on ${now.listen || "no address yet"}.`;
  return html`<${Page} title="Operator" about=${words} tools=${tools}>
    <${Alerts} alerts=${now.alerts} />
    <${Figures} about=${about} now=${now} />
    ${data.value ? html`<${Charts} about=${about} data=${data.value} spanS=${spanOf(span)} />` : html`<${Card}><${Waiting} error=${data.error} what="The series" /><//>`}
    <${Backends} now=${now} />
    <${Gateways} about=${about} now=${now} />
    <${GatewayCharts} about=${about} spanS=${spanOf(span)} />
    ${about.token && now.registrations && html`<${Offers} about=${about} now=${now} />`}
    ${about.token && html`<${Claims} about=${about} block=${now.block} />`}
  <//>`;
}

function Alerts({ alerts }) {
  if (!alerts.length) {
    return html`<${Quiet}>Nothing needs you: it is ready, its backends answer, and money comes in.<//>`;
  }
  return html`<${Card} title=${plural(alerts.length, "thing needs you", "things need you")}>
    <ul class="checks">
      ${alerts.map((one) => html`<li key=${one.words}><${Icon} name=${one.level === "bad" ? "bad" : "wait"} tone=${one.level} /><span>${one.words}</span></li>`)}
    </ul>
  <//>`;
}

function Figures({ about, now }) {
  const token = about.token;
  const money = now.money;
  const owed = now.sessions.reduce((sum, one) => sum + one.owed_amount, 0);
  const bond = (now.registrations ?? []).reduce((sum, one) => sum + Number(one.bond), 0);
  const multipliers = (now.gateways ?? []).filter((one) => one.multiplier !== null);
  const paid = multipliers.reduce((sum, one) => sum + one.paid, 0);
  const mean = paid ? multipliers.reduce((sum, one) => sum + one.multiplier * one.paid, 0) / paid : null;
  return html`<${Card}>
    <dl class="stats">
      ${token && money && html`<${Stat} name="Paid so far" value=${amount(money.paid, token)} unit=${token.symbol} note="sent to the payout addresses" />`}
      ${token && money && html`<${Stat} name="Earned, not paid yet" value=${amount(money.pending, token)} unit=${token.symbol} note="waits for its windows" />`}
      ${token && html`<${Stat} name="Owed now" value=${amount(owed, token)} unit=${token.symbol} note="signed in running sessions" />`}
      ${money && html`<${Stat} name="Multiplier" value=${mean === null ? "–" : mean.toFixed(3)} tone=${mean !== null && mean < 0.95 ? "warn" : ""} note=${mean === null ? "after three paid sessions" : "of what equal quality pays"} />`}
      ${token && now.registrations && html`<${Stat} name="Bond" value=${amount(bond, token)} unit=${token.symbol} note=${plural(now.registrations.length, "registration")} />`}
      ${now.gas_wei !== undefined && now.gas_wei !== null && html`<${Stat} name="Gas" value=${short(now.gas_wei / 1e18)} note="of the chain's coin, at the operator key" />`}
    </dl>
  <//>`;
}

function Charts({ about, data, spanS }) {
  const shown = about.services.map((one, place) => ({ one, colour: COLOURS[place % COLOURS.length], columns: data.series[one.id] })).filter((line) => line.columns);
  const lines = (values, extra = {}) => shown.map((line) => ({ name: line.one.id, colour: line.colour, values: values(line.columns), ...extra }));
  const all = total(data);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const shared = { t: data.t, spanS, height: 150 };
  return html`<section class="grid-3" aria-label="Charts">
    <${Chart} title="Relays a second" headline=${short(sum(all.relays.slice(-3)) / (3 * data.step_s))} unit="/s now" lines=${lines((c) => perSecond(c.relays, data.step_s), { fill: true })} format=${short} zeroIsNothing ...${shared} empty="No relays in this span" />
    <${Chart} title="Time of an answer, p95" lines=${lines((c) => c.p95_ms, { sparse: true })} format=${ms} ...${shared} />
    ${about.token
      ? html`<${Chart} title="Served a minute" headline=${amount(sum(all.amount), about.token)} unit=${about.token.symbol} lines=${lines((c) => c.amount.map((v) => (v * 60) / data.step_s), { fill: true })} format=${(v) => amount(v, about.token)} zeroIsNothing ...${shared} empty="Nothing was earned in this span" />`
      : html`<${Chart} title="Answered" lines=${lines((c) => ratio(c.good, c.relays))} format=${(v) => percent(v)} ...${shared} />`}
  </section>`;
}

/** All services of a gateway as one; relays of several services have no time in common that says anything. */
function GatewayCharts({ about, spanS }) {
  const chart = useLoad(`/api/chart?span_s=${spanS}&peers=1`, spanS > 3600 ? 30_000 : 10_000);
  const sessions = usePaidSessions(about);
  if (!chart.value) return null;
  const data = evened(joined(chart.value, Math.max(20, SPANS.find((one) => one.s === spanS).step)));
  const gateways = Object.entries(data.series)
    .sort((a, b) => summed(b[1]).relays - summed(a[1]).relays)
    .slice(0, COLOURS.length);
  const lines = (values, extra = {}) => gateways.map(([name, columns], place) => ({ name: brief(name), colour: COLOURS[place], values: values(columns), ...extra }));
  const shared = { t: data.t, spanS, height: 150, empty: "No relays in this span" };
  const colours = new Map(gateways.map(([name], place) => [name, COLOURS[place]]));
  return html`<section class="grid-3" aria-label="Charts by gateway">
    <${Chart} title="Relays a second, by gateway" lines=${lines((c) => perSecond(c.relays, data.step_s), { fill: gateways.length === 1 })} format=${short} zeroIsNothing ...${shared} />
    ${about.token
      ? html`<${Chart} title="Served a minute, by gateway" unit=${about.token.symbol} headline="" lines=${lines((c) => c.amount.map((v) => (v * 60) / data.step_s), { fill: gateways.length === 1 })} format=${(v) => amount(v, about.token)} zeroIsNothing ...${shared} />`
      : html`<${Chart} title="Answered, by gateway" lines=${lines((c) => ratio(c.good, c.relays), { sparse: true })} format=${(v) => percent(v)} ...${shared} />`}
    ${sessions && html`<${Chart} title="Multiplier, by gateway" t=${sessions.t} lines=${sessions.lines(colours)} format=${(v) => (v === null || v === undefined ? "–" : v.toFixed(3))} range=${() => [0.85, 1.22]} spanS=${sessions.span} tick=${(n) => `#${count(n)}`} height=${150} empty="No session is paid yet" />`}
  </section>`;
}

/** Pay over what equal quality would have paid, by session and gateway, as this supplier's own store has it. */
function usePaidSessions(about) {
  const own = useLoad(about.token ? "/api/own?limit=200" : null, 20_000).value;
  if (!own) return null;
  const paid = own.pots.filter((pot) => pot.stage === "paid" && Number(pot.earned)).sort((a, b) => a.session - b.session);
  const t = [...new Set(paid.map((pot) => pot.session))];
  const span = Math.max(4, t.length ? t[t.length - 1] - t[0] : 4);
  const lines = (colours) =>
    [...new Set(paid.map((pot) => pot.gateway))].slice(0, COLOURS.length).map((gateway, place) => {
      const values = t.map((number) => {
        const pots = paid.filter((pot) => pot.session === number && pot.gateway === gateway);
        const earned = pots.reduce((sum, pot) => sum + Number(pot.earned), 0);
        const net = earned * (1 - (about.fee ?? 0) / 10_000);
        return net ? pots.reduce((sum, pot) => sum + Number(pot.paid), 0) / net : null;
      });
      return { name: brief(gateway), colour: colours.get(gateway.toLowerCase()) ?? COLOURS[place], values, sparse: true };
    });
  return { t, span, lines };
}

const STATES = { closed: ["good", "In use"], warming: ["warn", "Warming up"], open: ["bad", "Left alone"] };

function Backends({ now }) {
  const rows = now.services.flatMap((service) => service.backends.map((backend) => ({ ...backend, service: service.id, waiting: service.waiting })));
  const use = (row) => html`<${Chip} tone=${STATES[row.state]?.[0]}>${STATES[row.state]?.[1] ?? row.state}<//>`;
  const columns = [
    { name: "Backend", wrap: true, cell: (row) => html`<strong>${row.name}</strong><span class="sub">${row.service}${engineOf(row)}</span><span class="narrow-only">${use(row)}</span>` },
    { name: "State", narrow: false, cell: use },
    { name: "Load", num: true, cell: (row) => html`${row.in_flight} of ${row.concurrency}<${Share} value=${row.in_flight / row.concurrency} />`, sort: (row) => row.in_flight / row.concurrency },
    { name: "Waiting", num: true, narrow: false, cell: (row) => count(row.waiting) },
    { name: "Served", num: true, narrow: false, cell: (row) => count(row.served), sort: (row) => row.served },
    { name: "Failures", num: true, cell: (row) => html`<span class=${row.failures ? "bad" : ""}>${count(row.failures)}</span>`, sort: (row) => row.failures },
    { name: "Mean", num: true, narrow: false, cell: (row) => ms(row.mean_s * 1000) },
    { name: "Last error", wrap: true, narrow: false, cell: (row) => html`<span class="muted">${row.last_error || "none"}</span>` },
  ];
  return html`<${Card} title="Backends and load">
    <${Table} caption="Backends" columns=${columns} rows=${rows} keyOf=${(row) => row.service + row.name} />
  <//>`;
}

function engineOf(row) {
  const engine = row.engine?.engine ?? row.engine?.name;
  return engine ? ` · ${engine}${row.engine.version ? ` ${row.engine.version}` : ""}` : "";
}

function Gateways({ about, now }) {
  const token = about.token;
  const gateways = new Map((now.gateways ?? []).map((one) => [one.gateway, { ...one, lanes: 0, owed: 0, unacknowledged: 0, guaranteed: 0 }]));
  for (const one of now.sessions) {
    const line = gateways.get(one.gateway) ?? { gateway: one.gateway, multiplier: null, paid: 0, pending: 0, paid_sessions: 0, lanes: 0, owed: 0, unacknowledged: 0, guaranteed: 0 };
    line.lanes += one.lanes;
    line.owed += one.owed_amount;
    line.unacknowledged += one.unacknowledged_units;
    gateways.set(one.gateway, line);
  }
  const columns = [
    { name: "Gateway", cell: (row) => html`<${Hash} value=${row.gateway} />` },
    { name: "Multiplier", num: true, cell: (row) => (row.multiplier === null ? html`<span class="faint">–</span>` : html`<span class=${row.multiplier < 0.95 ? "warn" : "good"}>${row.multiplier.toFixed(4)}</span>`) },
    { name: "Lanes", num: true, narrow: false, cell: (row) => count(row.lanes) },
    { name: "Unacknowledged", num: true, narrow: false, cell: (row) => html`${count(row.unacknowledged)}<span class="sub">units</span>` },
    { name: "Owed now", num: true, cell: (row) => (token ? column(row.owed, token) : count(row.owed)) },
    { name: "Pending", num: true, narrow: false, cell: (row) => (token ? column(row.pending, token) : count(row.pending)) },
    { name: "Paid", num: true, cell: (row) => (token ? column(row.paid, token) : count(row.paid)) },
    { name: "Sessions paid", num: true, narrow: false, cell: (row) => count(row.paid_sessions) },
  ];
  const rows = [...gateways.values()];
  return html`<${Card} title="Gateways" about="The multiplier is your pay over what equal quality would have paid: 0.9 to 1.2.">
    ${rows.length ? html`<${Table} caption="Gateways" columns=${columns} rows=${rows} keyOf=${(row) => row.gateway} />` : html`<${Empty} title="No gateway has come yet">Sessions choose suppliers by lot; a lane opens when this one is drawn.<//>`}
  <//>`;
}

const STAGES = {
  open: ["accent", "Running"],
  stated: ["accent", "Stated"],
  claimed: ["accent", "Claimed"],
  payable: ["warn", "Payable"],
  paid: ["good", "Paid"],
  empty: ["", "Nothing earned"],
  missed: ["bad", "Missed"],
};

function Claims({ about, block }) {
  const own = useLoad("/api/own?limit=10", 5000);
  const token = about.token;
  const money = (base) => html`<span title=${exactAmount(base, token)}>${column(base, token)}</span>`;
  const columns = [
    { name: "Session", cell: (row) => html`${count(row.session)}<span class="sub">${row.service}</span>` },
    { name: "Stage", cell: (row) => html`<${Chip} tone=${STAGES[row.stage]?.[0]}>${STAGES[row.stage]?.[1] ?? row.stage}<//><span class="sub narrow-only">${waits(row, block)}</span>` },
    { name: "Waits for", wrap: true, narrow: false, cell: (row) => html`<span class="muted">${waits(row, block)}</span>` },
    { name: "Earned", num: true, cell: (row) => money(row.earned) },
    { name: "Stated", num: true, narrow: false, cell: (row) => money(row.stated) },
    { name: "Claimed", num: true, narrow: false, cell: (row) => money(row.claimed) },
    { name: "Paid", num: true, cell: (row) => money(row.paid) },
    { name: "Gateway", narrow: false, cell: (row) => html`<${Hash} value=${row.gateway} />` },
  ];
  return html`<${Card} title="Sessions and claims" about=${`In ${token.symbol}. A session is claimed only where the gateway's statement leaves something out.`}>
    ${!own.value ? html`<${Waiting} error=${own.error} reload=${own.reload} what="The sessions" />` : own.value.pots.length ? html`<${Table} caption="Sessions and claims" columns=${columns} rows=${own.value.pots} keyOf=${(row) => row.pot} />` : html`<${Empty} title="No session yet">The first shows here when it has ended.<//>`}
  <//>`;
}

function waits(row, block) {
  if (row.note) return row.note;
  const left = row.until - block;
  const blocks = left > 0 ? `, ${plural(left, "block")} left` : "";
  if (row.stage === "open") return `the gateway's statement${blocks}`;
  if (row.stage === "stated" || row.stage === "claimed") return `the end of the claim window${blocks}`;
  if (row.stage === "payable") return "its withdrawal";
  return row.stage === "paid" ? "nothing: the money is there" : "nothing";
}

function Offers({ about, now }) {
  const token = about.token;
  const columns = [
    { name: "Service", cell: (row) => html`<strong>${row.service}</strong><span class="sub">registration ${row.registration}</span>` },
    { name: "State", cell: (row) => html`<${Chip} tone=${row.listed ? "good" : "bad"}>${row.listed ? "Listed" : "Not listed"}<//>` },
    { name: "Price", num: true, cell: (row) => html`${amount(row.price, token)}<span class="sub">a million units</span>` },
    { name: "Bond", num: true, narrow: false, cell: (row) => amount(row.bond, token) },
    { name: "Thawing", num: true, narrow: false, cell: (row) => amount(row.thawing, token) },
    { name: "Endpoint", narrow: false, cell: (row) => html`<span class="mono">${row.endpoint}</span>` },
  ];
  return html`<${Card} title="Registrations">
    ${now.registrations.length ? html`<${Table} caption="Registrations" columns=${columns} rows=${now.registrations} keyOf=${(row) => row.registration} />` : html`<${Empty} title="Not registered yet" code="pocketnode supplier register --help">Until then no session lists this supplier:<//>`}
  <//>`;
}
