// What the gateway owes and has paid, by session; and one relay, proven to be in its session's statement.

import { amount, brief, count, ms, percent } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { get } from "../api.js";
import { Icon } from "../icons.js";
import { useLive } from "../live.js";
import { useLoad } from "../load.js";
import { Card, Chip, Empty, Gauge, Hash, Page, Pager, Pairs, Table, Waiting } from "../parts.js";
import { PotTable } from "../pots.js";
import { check } from "../verify.js";

const PAGE = 12;

export function Money({ about, path }) {
  const [offset, setOffset] = useState(0);
  const pots = useLoad(`/api/pots?limit=${PAGE}&offset=${offset}&gateway=${about.address}`, 5000);
  if (path[0] === "relay") return html`<${Relay} digest=${path[1] ?? ""} />`;
  return html`<${Page} title="Sessions and money" about="One signed statement settles a session; each relay in it can be proven.">
    <${Running} about=${about} />
    <${Lookup} />
    <${Card} title="Settled sessions" about="As the chain's logs say. Open one for each supplier's part; hover an amount for all its digits.">
      ${!pots.value
        ? html`<${Waiting} error=${pots.error} reload=${pots.reload} what="The chain's logs" />`
        : pots.value.pots.length || offset
          ? html`<${PotTable} caption="Settled sessions" pots=${pots.value.pots} token=${about.token} />
              <${Pager} offset=${offset} size=${PAGE} shown=${pots.value.pots.length} go=${setOffset} />`
          : html`<${Empty} title="No session is settled yet">The first is stated ${about.windows.grace} blocks after its end, and paid ${about.windows.statement + about.windows.claim} blocks after that.<//>`}
    <//>
    <${Newest} />
  <//>`;
}

function Running({ about }) {
  const { state } = useLive();
  const sessions = state?.now.sessions ?? [];
  const token = about.token;
  return html`<section class="grid-2" aria-label="Sessions that run">
    ${sessions.map((one) => {
      const length = one.end - one.start + 1;
      const used = one.cap ? one.spent / one.cap : 0;
      return html`<article class="card card-pad" key=${one.session}>
        <header style="display:flex;justify-content:space-between;gap:8px"><h2>${one.service}</h2><${Chip} tone=${one.retiring ? "warn" : "accent"}>${one.retiring ? "Ending" : `Session ${count(one.number)}`}<//></header>
        <${Gauge} value=${(length - one.blocks_left) / length} label=${`${one.blocks_left} of ${length} blocks left`} />
        <div class="ends"><span>block ${count(one.start)}</span><span>${one.retiring ? "over: last answers come in" : `${count(one.blocks_left)} of ${length} blocks left`}</span></div>
        <dl class="stats is-tight">
          <div class="stat"><dt>Spent</dt><dd>${amount(one.spent, token)}<span class="unit">${token.symbol}</span><div class="note">${percent(used, used < 0.01 ? 3 : 1)} of the grant's cap</div></dd></div>
          <div class="stat"><dt>Relays</dt><dd>${count(one.suppliers.reduce((sum, s) => sum + s.relays, 0))}<div class="note">${count(one.suppliers.reduce((sum, s) => sum + s.units, 0))} units</div></dd></div>
          <div class="stat"><dt>Suppliers</dt><dd>${one.suppliers.filter((s) => s.lane === "open").length}<span class="unit">of ${one.suppliers.length}</span><div class="note">with an open lane</div></dd></div>
        </dl>
      </article>`;
    })}
  </section>`;
}

function Lookup() {
  const [problem, tell] = useState("");
  const look = (event) => {
    event.preventDefault();
    const digest = new FormData(event.target).get("digest").trim();
    if (!/^0x[0-9a-fA-F]{64}$/.test(digest)) {
      tell("A digest is 0x and 64 hex digits: the header x-pocketnode-relay of an answer.");
      return;
    }
    location.hash = `#/money/relay/${digest}`;
  };
  return html`<${Card} title="Look up a relay" about="Every answer names its relay in the header x-pocketnode-relay.">
    <form onSubmit=${look} style="display:flex;flex-wrap:wrap;gap:8px;padding:0 18px 16px">
      <label style="flex:1 1 320px"><span class="hidden">Digest of the relay</span><input name="digest" class="mono" placeholder="0x…" spellcheck="false" autocomplete="off" aria-describedby="digest-problem" /></label>
      <button class="button">Look up and verify</button>
      <p id="digest-problem" class="bad small" role="alert" style="flex-basis:100%">${problem}</p>
    </form>
  <//>`;
}

const TONES = { good: "good", cut: "", nobody: "", wrong: "bad", fault: "bad", timeout: "bad" };

function Newest() {
  const relays = useLoad("/api/relays?limit=12", 5000);
  const columns = [
    { name: "Relay", cell: (one) => html`<a class="mono" href=${`#/money/relay/${one.digest}`}>${brief(one.digest, 10, 6)}</a><span class="sub narrow-only">${one.service}</span>` },
    { name: "Service", narrow: false, cell: (one) => one.service },
    { name: "Session", num: true, narrow: false, cell: (one) => count(one.session) },
    { name: "Verdict", cell: (one) => html`<${Chip} tone=${TONES[one.verdict]}>${one.verdict}<//>` },
    { name: "First byte", num: true, cell: (one) => ms(one.first_byte_ms) },
    { name: "Done", num: true, narrow: false, cell: (one) => ms(one.done_ms) },
    { name: "Units", num: true, cell: (one) => count(one.units) },
  ];
  return html`<${Card} title="Newest relays">
    ${!relays.value
      ? html`<${Waiting} error=${relays.error} reload=${relays.reload} what="The records" />`
      : relays.value.relays.length
        ? html`<${Table} caption="Newest relays" columns=${columns} rows=${relays.value.relays} keyOf=${(one) => one.digest} />`
        : html`<${Empty} title="No relay yet">Send a request to the gateway, and it appears here within a second.<//>`}
  <//>`;
}

function Relay({ digest }) {
  const [found, setFound] = useState({});
  useEffect(() => {
    setFound({});
    get(`/api/relays/${digest}`).then(
      (value) => setFound({ value, steps: check(digest, value) }),
      (error) => setFound({ error }),
    );
  }, [digest]);
  const back = { href: "#/money", name: "Sessions and money" };
  const { value, steps, error } = found;
  return html`<${Page} title=${html`Relay <span class="mono">${brief(digest, 10, 6)}</span>`} about="Checked here, in your browser, from the record's bytes up." back=${back}>
    ${!value && html`<${Card}><${Waiting} error=${error} what="The relay" /><//>`}
    ${value &&
    html`<div class="grid-2">
      <${Card} title=${verdictOf(steps)}>
        <ul class="checks">
          ${steps.map((step) => html`<li key=${step.title}><${Icon} name=${step.ok ? "good" : step.ok === null ? "wait" : "bad"} tone=${step.ok ? "good" : step.ok === null ? "warn" : "bad"} /><div><strong>${step.title}</strong><div class="muted small">${step.detail}</div></div></li>`)}
        </ul>
      <//>
      <${Card} title="What the record says">
        <${Pairs} rows=${[
          ["Service", value.service],
          ["Session", count(value.session)],
          ["Verdict", html`<${Chip} tone=${TONES[value.verdict]}>${value.verdict}<//>`],
          ["Units", count(value.units)],
          ["First byte", ms(value.first_byte_ms)],
          ["Done", ms(value.done_ms)],
          ["Supplier's index", count(value.index)],
          ["Receipt", html`<${Hash} value=${value.digest} head=${14} tail=${10} />`],
          ["Response", html`<${Hash} value=${value.response} head=${14} tail=${10} />`],
          ["Pot", html`<${Hash} value=${value.pot} head=${14} tail=${10} />`],
        ]} />
      <//>
    </div>`}
  <//>`;
}

function verdictOf(steps) {
  if (steps.every((step) => step.ok)) return "Proven to be in the statement";
  return steps.some((step) => step.ok === false) ? "Not proven" : "In the records; not stated yet";
}
