// A deployment from its logs alone: services, suppliers, applications, gateways, sessions, totals.

import { amount, count, exactAmount, short } from "../format.js";
import { html, useState } from "../html.js";
import { useLoad } from "../load.js";
import { Banner, Card, Chip, Empty, Hash, Page, Pairs, Segments, Stat, Table, Waiting } from "../parts.js";
import { PotTable } from "../pots.js";

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
    <div class="scroll"><${Segments} label="What to show" options=${TABS} value=${tab} onChange=${go} /></div>
    <${Card}>${TAB[tab]({ about, chain, token })}<//>`;
}

const TAB = {
  sessions: ({ token }) => html`<${Pots} token=${token} />`,
  suppliers: ({ chain, token }) =>
    chain.suppliers.length
      ? html`<${Table}
          caption="Suppliers"
          rows=${chain.suppliers}
          keyOf=${(one) => one.registration}
          first=${{ name: "Paid", down: true }}
          columns=${[
            { name: "Registration", cell: (one) => html`${one.registration} <${Chip} tone=${one.listed ? "good" : ""}>${one.listed ? "Listed" : "Left"}<//>`, sort: (one) => one.registration },
            { name: "Service", cell: (one) => one.service },
            { name: "Operator", cell: (one) => html`<${Hash} value=${one.operator} />` },
            { name: "Price", num: true, narrow: false, cell: (one) => amount(one.price, token), sort: (one) => Number(one.price) },
            { name: "Quality", num: true, cell: (one) => (one.quality === null ? "–" : (one.quality / 10_000).toFixed(4)), sort: (one) => one.quality },
            { name: "Sessions", num: true, narrow: false, cell: (one) => count(one.sessions), sort: (one) => one.sessions },
            { name: "Units", num: true, narrow: false, cell: (one) => count(one.units), sort: (one) => one.units },
            { name: "Amount", num: true, narrow: false, cell: (one) => amount(one.amount, token), sort: (one) => Number(one.amount) },
            { name: "Paid", num: true, cell: (one) => html`<span title=${exactAmount(one.paid, token)}>${amount(one.paid, token)}</span>`, sort: (one) => Number(one.paid) },
            { name: "Bond", num: true, narrow: false, cell: (one) => html`${amount(one.bond, token)}${Number(one.slashed) ? html`<span class="sub bad">slashed ${amount(one.slashed, token)}</span>` : ""}` },
          ]}
        />`
      : html`<${Empty} title="Nobody supplies anything yet" code="pocketnode supplier register --help">Register an offer:<//>`,
  services: ({ chain, token }) =>
    chain.services.length
      ? html`<${Table}
          caption="Services"
          rows=${chain.services}
          keyOf=${(one) => one.id}
          columns=${[
            { name: "Service", cell: (one) => html`<strong>${one.id}</strong><span class="sub">${one.kind}</span>` },
            { name: "Suppliers", num: true, cell: (one) => count(one.registrations) },
            { name: "Highest price", num: true, cell: (one) => amount(one.max_price, token) },
            { name: "Owner's share of the fee", num: true, narrow: false, cell: (one) => `${one.owner_share / 100}%` },
            { name: "Units", num: true, cell: (one) => count(one.units) },
            { name: "Amount", num: true, narrow: false, cell: (one) => amount(one.amount, token) },
            { name: "Owner", narrow: false, cell: (one) => html`<${Hash} value=${one.owner} />` },
          ]}
        />`
      : html`<${Empty} title="No service yet" code="pocketnode service add --help">Add one:<//>`,
  applications: ({ chain, token }) =>
    chain.applications.length
      ? html`<${Table}
          caption="Applications"
          rows=${chain.applications}
          keyOf=${(one) => one.address}
          columns=${[
            { name: "Application", cell: (one) => html`<${Hash} value=${one.address} />` },
            { name: "Escrow", num: true, cell: (one) => html`<span title=${exactAmount(one.balance, token)}>${amount(one.balance, token)}</span>` },
            { name: "Thawing", num: true, narrow: false, cell: (one) => amount(one.thawing, token) },
            { name: "Spent", num: true, cell: (one) => html`<span title=${exactAmount(one.spent, token)}>${amount(one.spent, token)}</span>` },
            { name: "Deposited", num: true, narrow: false, cell: (one) => amount(one.deposited, token) },
            { name: "Grants", wrap: true, cell: (one) => (one.grants.length ? one.grants.map((grant) => html`<div>${grant.service}: up to ${amount(grant.cap, token)} a session <span class="faint narrow-hide">to <${Hash} value=${grant.gateway} /></span></div>`) : html`<span class="faint">none</span>`) },
          ]}
        />`
      : html`<${Empty} title="No application yet" code="pocketnode app deposit --help">Fill an escrow:<//>`,
  gateways: ({ chain, token }) =>
    chain.gateways.length
      ? html`<${Table}
          caption="Gateways"
          rows=${chain.gateways}
          keyOf=${(one) => one.address}
          columns=${[
            { name: "Gateway", cell: (one) => html`<${Hash} value=${one.address} />` },
            { name: "Statements", num: true, cell: (one) => count(one.statements) },
            { name: "Stated", num: true, cell: (one) => amount(one.amount, token) },
            { name: "Bond", num: true, cell: (one) => amount(one.bond, token) },
            { name: "Slashed", num: true, narrow: false, cell: (one) => amount(one.slashed, token) },
          ]}
        />`
      : html`<${Empty} title="No gateway yet">A gateway shows here once an application grants it, or it posts a bond.<//>`,
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

function Pots({ token }) {
  const [limit, setLimit] = useState(25);
  const pots = useLoad(`/api/pots?limit=${limit}`, 4000);
  if (!pots.value) return html`<${Waiting} error=${pots.error} reload=${pots.reload} what="Sessions" />`;
  if (!pots.value.pots.length) return html`<${Empty} title="No session is settled yet">The first statement shows here as soon as it is on chain.<//>`;
  return html`<${PotTable} caption="Sessions" pots=${pots.value.pots} token=${token} withGateway />
    ${pots.value.pots.length === limit && limit < 500 && html`<div class="card-pad"><button class="button is-small" onClick=${() => setLimit(Math.min(500, limit + 75))}>Show more</button></div>`}`;
}
