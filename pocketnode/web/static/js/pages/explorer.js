// A deployment from its logs alone: services, suppliers, applications, gateways, sessions, totals.

import { amount, count, exactAmount, short } from "../format.js";
import { html, useState } from "../html.js";
import { useLoad } from "../load.js";
import { Banner, Card, Chip, Empty, Hash, Page, Pager, Pairs, Segments, Stat, Table, Waiting } from "../parts.js";
import { PotTable } from "../pots.js";

const PAGE = 25;
const TABS = [
  ["sessions", "Sessions"],
  ["suppliers", "Suppliers"],
  ["services", "Services"],
  ["applications", "Applications"],
  ["gateways", "Gateways"],
  ["contracts", "Contracts"],
];

export function Explorer({ about, path }) {
  const chain = useLoad("/api/chain", 4000);
  const tab = TABS.some(([name]) => name === path[0]) ? path[0] : "sessions";
  const behind = chain.value && `Block ${count(chain.value.block)}, ${count(chain.value.head - chain.value.block)} behind the head so that a reorg undoes nothing shown.`;
  return html`<${Page} title="Explorer" about=${`Chain ${about.chain_id}, from the contracts' logs alone. ${behind ?? ""}`}>
    ${chain.value?.problem && html`<${Banner} title="The chain cannot be read">${chain.value.problem}<//>`}
    ${!chain.value ? html`<${Card}><${Waiting} error=${chain.error} reload=${chain.reload} what="The chain's logs" /><//>` : html`<${Body} about=${about} chain=${chain.value} tab=${tab} />`}
  <//>`;
}

function Body({ about, chain, tab }) {
  const token = about.token;
  const { totals } = chain;
  const stat = (name, base, note) => html`<${Stat} name=${name} value=${amount(base, token)} unit=${token.symbol} note=${note} />`;
  const go = (name) => (location.hash = `#/explorer/${name}`);
  return html`<${Card}>
      <dl class="stats">
        <${Stat} name="Session" value=${count(chain.session)} />
        <${Stat} name="Work settled" value=${short(totals.units)} unit="units" note=${`${count(totals.pots)} sessions settled`} />
        ${stat("Paid by applications", totals.taken)} ${stat("Paid to suppliers", totals.paid)} ${stat("In escrow", totals.escrow)} ${stat("Suppliers' bonds", totals.bonds)}
      </dl>
    <//>
    <div><${Segments} label="What to show" options=${TABS} value=${tab} onChange=${go} /></div>
    <${Card}>${TAB[tab]({ about, chain, token })}<//>`;
}

/** A list of the chain's in pages, with a search; `drawn(rows)` draws them. */
function Listed({ list, what, drawn, empty }) {
  const [find, setFind] = useState("");
  const [offset, setOffset] = useState(0);
  const found = useLoad(`/api/chain/${list}?find=${encodeURIComponent(find)}&offset=${offset}&limit=${PAGE}`, 8000);
  const search = (event) => {
    setFind(event.target.value.trim());
    setOffset(0);
  };
  const { value } = found;
  if (value && !value.count && !find) return empty;
  return html`<div class="find"><label><span class="hidden">Find ${what}</span><input type="search" placeholder=${`Find ${what} by address, service or number`} value=${find} onInput=${search} spellcheck="false" /></label></div>
    ${!value ? html`<${Waiting} error=${found.error} reload=${found.reload} what=${`The ${what}`} />` : value.count ? drawn(value.rows) : html`<${Empty} title=${`Nothing has ${find} in it`} />`}
    ${value && html`<${Pager} offset=${offset} size=${PAGE} shown=${value.rows.length} count=${value.count} go=${setOffset} />`}`;
}

const TAB = {
  sessions: ({ chain, token }) => html`<${Pots} token=${token} count=${chain.totals.pots} />`,
  suppliers: ({ token }) =>
    html`<${Listed} key="suppliers" list="suppliers" what="suppliers" drawn=${(rows) => suppliersTable(rows, token)} empty=${html`<${Empty} title="Nobody supplies anything yet" code="pocketnode supplier register --help">Register an offer:<//>`} />`,
  services: ({ chain, token }) => (chain.services.length ? servicesTable(chain.services, token) : html`<${Empty} title="No service yet" code="pocketnode service add --help">Add one:<//>`),
  applications: ({ token }) =>
    html`<${Listed} key="applications" list="applications" what="applications" drawn=${(rows) => applicationsTable(rows, token)} empty=${html`<${Empty} title="No application yet" code="pocketnode app deposit --help">Fill an escrow:<//>`} />`,
  gateways: ({ token }) =>
    html`<${Listed} key="gateways" list="gateways" what="gateways" drawn=${(rows) => gatewaysTable(rows, token)} empty=${html`<${Empty} title="No gateway yet">A gateway shows here once an application grants it, or it posts a bond.<//>`} />`,
  contracts: ({ about }) => html`<div style="padding-top:16px"><${Pairs}
    rows=${[
      ...Object.entries(about.contracts).map(([name, address]) => [name, html`<${Hash} value=${address} head=${42} />`]),
      ["session length", `${count(about.windows.length)} blocks`],
      ["statements, claims", `${count(about.windows.statement)}, then ${count(about.windows.claim)} blocks`],
      ["grace", `${count(about.windows.grace)} blocks`],
      ["thaw", `${count(about.windows.thaw)} blocks`],
    ]}
  /></div>`,
};

const quality = (one) => (one.quality === null ? "–" : (one.quality / 10_000).toFixed(4));

function suppliersTable(rows, token) {
  const columns = [
    { name: "Registration", cell: (one) => html`${one.registration} <${Chip} tone=${one.listed ? "good" : ""}>${one.listed ? "Listed" : "Left"}<//><span class="sub narrow-only">${one.service}</span>`, sort: (one) => one.registration },
    { name: "Service", narrow: false, cell: (one) => one.service },
    { name: "Operator", cell: (one) => html`<${Hash} value=${one.operator} />` },
    { name: "Price", num: true, narrow: false, cell: (one) => amount(one.price, token), sort: (one) => Number(one.price) },
    { name: "Quality", num: true, cell: quality, sort: (one) => one.quality },
    { name: "Sessions", num: true, narrow: false, cell: (one) => count(one.sessions), sort: (one) => one.sessions },
    { name: "Units", num: true, narrow: false, cell: (one) => short(one.units), sort: (one) => one.units },
    { name: "Amount", num: true, narrow: false, cell: (one) => amount(one.amount, token), sort: (one) => Number(one.amount) },
    { name: "Paid", num: true, cell: (one) => html`<span title=${exactAmount(one.paid, token)}>${amount(one.paid, token)}</span>`, sort: (one) => Number(one.paid) },
    { name: "Bond", num: true, narrow: false, cell: (one) => html`${amount(one.bond, token)}${Number(one.slashed) ? html`<span class="sub bad">slashed ${amount(one.slashed, token)}</span>` : ""}` },
  ];
  return html`<${Table} caption="Suppliers" rows=${rows} keyOf=${(one) => one.registration} columns=${columns} />`;
}

function servicesTable(rows, token) {
  const columns = [
    { name: "Service", cell: (one) => html`<strong>${one.id}</strong><span class="sub">${one.kind}</span>` },
    { name: "Suppliers", num: true, cell: (one) => count(one.registrations) },
    { name: "Highest price", num: true, narrow: false, cell: (one) => amount(one.max_price, token) },
    { name: "Owner's share of the fee", num: true, narrow: false, cell: (one) => `${one.owner_share / 100}%` },
    { name: "Units", num: true, cell: (one) => short(one.units) },
    { name: "Amount", num: true, narrow: false, cell: (one) => amount(one.amount, token) },
    { name: "Owner", narrow: false, cell: (one) => html`<${Hash} value=${one.owner} />` },
  ];
  return html`<${Table} caption="Services" rows=${rows} keyOf=${(one) => one.id} columns=${columns} />`;
}

function applicationsTable(rows, token) {
  const grant = (one) => html`<div>${one.service}: up to ${amount(one.cap, token)} a session <span class="faint narrow-hide">to <${Hash} value=${one.gateway} /></span></div>`;
  const columns = [
    { name: "Application", cell: (one) => html`<${Hash} value=${one.address} />` },
    { name: "Escrow", num: true, cell: (one) => html`<span title=${exactAmount(one.balance, token)}>${amount(one.balance, token)}</span>` },
    { name: "Thawing", num: true, narrow: false, cell: (one) => amount(one.thawing, token) },
    { name: "Spent", num: true, narrow: false, cell: (one) => html`<span title=${exactAmount(one.spent, token)}>${amount(one.spent, token)}</span>` },
    { name: "Deposited", num: true, narrow: false, cell: (one) => amount(one.deposited, token) },
    { name: "Grants", wrap: true, cell: (one) => (one.grants.length ? one.grants.map(grant) : html`<span class="faint">none</span>`) },
  ];
  return html`<${Table} caption="Applications" rows=${rows} keyOf=${(one) => one.address} columns=${columns} />`;
}

function gatewaysTable(rows, token) {
  const columns = [
    { name: "Gateway", cell: (one) => html`<${Hash} value=${one.address} />` },
    { name: "Statements", num: true, cell: (one) => count(one.statements) },
    { name: "Stated", num: true, cell: (one) => amount(one.amount, token) },
    { name: "Bond", num: true, cell: (one) => amount(one.bond, token) },
    { name: "Slashed", num: true, narrow: false, cell: (one) => amount(one.slashed, token) },
  ];
  return html`<${Table} caption="Gateways" rows=${rows} keyOf=${(one) => one.address} columns=${columns} />`;
}

function Pots({ token, count: all }) {
  const [offset, setOffset] = useState(0);
  const pots = useLoad(`/api/pots?limit=${PAGE}&offset=${offset}`, 4000);
  if (!pots.value) return html`<${Waiting} error=${pots.error} reload=${pots.reload} what="Sessions" />`;
  const found = pots.value.pots;
  if (!found.length && !offset) return html`<${Empty} title="No session is settled yet">The first statement shows here as soon as it is on chain.<//>`;
  return html`<${PotTable} caption="Sessions" pots=${found} token=${token} withGateway />
    <${Pager} offset=${offset} size=${PAGE} shown=${found.length} count=${all} go=${setOffset} />`;
}
