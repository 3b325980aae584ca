// Tables of what sessions came to; for the gateway's money, the operator's and the explorer.

import { column, count, exactAmount } from "./format.js";
import { html, useState } from "./html.js";
import { Chip, Hash, Table } from "./parts.js";

const STATES = {
  stated: ["accent", "Stated"],
  claimed: ["accent", "Claimed"],
  payable: ["warn", "Payable"],
  paid: ["good", "Paid"],
};

export function stateOf(pot) {
  const [tone, name] = STATES[pot.state] ?? ["", pot.state];
  return html`<${Chip} tone=${tone}>${name}<//>`;
}

/** Mean quality of a pot, weighed by amount; null where nothing was stated. */
export function qualityOf(pot) {
  const stated = pot.suppliers.filter((one) => one.quality !== null && Number(one.amount));
  const whole = stated.reduce((sum, one) => sum + Number(one.amount), 0);
  return whole ? stated.reduce((sum, one) => sum + one.quality * Number(one.amount), 0) / whole / 10_000 : null;
}

export function PotTable({ pots, token, caption, withGateway }) {
  const [open, setOpen] = useState(null);
  const columns = [
    {
      name: "Session",
      cell: (pot) => html`<button class="copy" aria-expanded=${open === pot.pot ? "true" : "false"} onClick=${() => setOpen(open === pot.pot ? null : pot.pot)}>${pot.session < 0 ? "unknown" : count(pot.session)} <span class="faint">${open === pot.pot ? "▾" : "▸"}</span></button><span class="sub narrow-only">${pot.service}</span>`,
    },
    { name: "Service", narrow: false, cell: (pot) => pot.service ?? html`<span class="faint">unknown</span>` },
    ...(withGateway ? [{ name: "Gateway", narrow: false, cell: (pot) => html`<${Hash} value=${pot.gateway} />` }] : []),
    { name: "State", cell: stateOf },
    { name: "Units", num: true, narrow: false, cell: (pot) => count(pot.units) },
    { name: "Quality", num: true, cell: (pot) => (qualityOf(pot) === null ? html`<span class="faint" title="no statement: paid as at equal quality">none</span>` : qualityOf(pot).toFixed(4)) },
    { name: "Debit", num: true, cell: (pot) => html`<span title=${exactAmount(pot.debit, token)}>${column(pot.debit, token)}</span>` },
    { name: "Pay", num: true, narrow: false, cell: (pot) => html`<span title=${exactAmount(pot.pay, token)}>${column(pot.pay, token)}</span>` },
    { name: "Fee", num: true, narrow: false, cell: (pot) => (pot.fee === null ? "–" : html`<span title=${exactAmount(pot.fee, token)}>${column(pot.fee, token)}</span>`) },
    { name: "Statement", narrow: false, cell: (pot) => html`<${Hash} value=${pot.transactions.statement} />` },
  ];
  const below = (pot) => pot.pot === open && html`<${Parts} pot=${pot} token=${token} />`;
  return html`<${Table} caption=${caption} columns=${columns} rows=${pots} keyOf=${(pot) => pot.pot} below=${below} />`;
}

export function Parts({ pot, token }) {
  const columns = [
    { name: "Supplier", cell: (one) => html`<${Hash} value=${one.operator} /><span class="sub">registration ${one.registration}</span>` },
    { name: "Units", num: true, cell: (one) => count(one.units) },
    { name: "Quality", num: true, cell: (one) => (one.quality === null ? "–" : (one.quality / 10_000).toFixed(4)) },
    { name: "Amount", num: true, narrow: false, cell: (one) => column(one.amount, token) },
    { name: "Multiplier", num: true, cell: (one) => (one.multiplier === null ? "–" : html`<span class=${one.multiplier >= 0.98 ? "good" : "warn"}>${one.multiplier.toFixed(4)}</span>`) },
    { name: "Pay", num: true, cell: (one) => (one.pay === null ? "–" : html`<span title=${exactAmount(one.pay, token)}>${column(one.pay, token)}</span>`) },
    { name: "Paid by", narrow: false, cell: (one) => (one.paid ? html`<${Hash} value=${one.paid_transaction} />` : html`<span class="faint">${one.claimed ? "claimed, " : ""}not yet</span>`) },
  ];
  const balanced = BigInt(pot.pay) + BigInt(pot.fee ?? 0) === BigInt(pot.debit);
  return html`<div class="card-pad">
      <p class="muted small">${pot.stated ? "By the gateway's statement" : "No statement: by the suppliers' own claims, as at equal quality"}. Pay and fee ${balanced ? "are exactly" : "do not yet sum to"} the application's debit of ${exactAmount(pot.debit, token)}. Relays' root <${Hash} value=${pot.relays_root} />.</p>
    </div>
    <${Table} caption=${`Suppliers of session ${pot.session}`} columns=${columns} rows=${pot.suppliers} keyOf=${(one) => one.rank} />`;
}
