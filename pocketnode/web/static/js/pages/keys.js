// API keys: make, limit, rotate, revoke; and what each used.

import { COLOURS, Chart } from "../chart.js";
import { amount, count, date, day, short } from "../format.js";
import { html, useState } from "../html.js";
import { send } from "../api.js";
import { useLoad } from "../load.js";
import { Card, Chip, Dialog, Empty, Page, Segments, Stat, Table, Waiting } from "../parts.js";

const LIMITS = [
  ["requests_per_minute", "Requests a minute"],
  ["requests_per_day", "Requests a day"],
  ["tokens_per_minute", "Tokens a minute"],
  ["tokens_per_day", "Tokens a day"],
  ["concurrency", "Requests at once"],
  ["budget_units", "Units in all"],
];
const LISTS = [
  ["services", "Services"],
  ["models", "Models"],
  ["methods", "JSON-RPC methods"],
  ["origins", "Web origins"],
  ["addresses", "IP addresses or networks"],
];
const BY = [
  ["key", "Key"],
  ["service", "Service"],
  ["what", "Model or method"],
  ["day", "Day"],
];

export function Keys({ about }) {
  const keys = useLoad("/keys", 10_000);
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const done = (secret) => {
    keys.reload();
    setOpen(secret ? { kind: "secret", secret } : null);
  };
  const tools = html`<button class="button is-first" onClick=${() => setOpen({ kind: "edit" })}>New key</button>`;
  return html`<${Page} title="Keys and usage" about="Who may use this gateway, for what, and what it came to." tools=${tools}>
    <${Card} title="Keys">
      ${!keys.value
        ? html`<${Waiting} error=${keys.error} reload=${keys.reload} what="The keys" />`
        : keys.value.length
          ? html`<${KeyTable} keys=${keys.value} onOpen=${setOpen} />`
          : html`<${Empty} title="No key yet">Users need one to be answered.<br /><button class="button is-first" style="margin-top:14px" onClick=${() => setOpen({ kind: "edit" })}>Make the first key</button><//>`}
    <//>
    <${Usage} about=${about} keys=${keys.value ?? []} />
    ${open?.kind === "edit" && html`<${Edit} about=${about} found=${open.found} onClose=${close} onDone=${done} />`}
    ${open?.kind === "secret" && html`<${Secret} secret=${open.secret} onClose=${close} />`}
    ${open?.kind === "confirm" && html`<${Confirm} ...${open} onClose=${close} onDone=${done} />`}
  <//>`;
}

function stateOf(key) {
  const now = Date.now() / 1000;
  if (key.revoked_s) return ["bad", "Revoked"];
  if (key.expires_s && key.expires_s <= now) return ["", "Expired"];
  if (key.expires_s) return ["warn", `Until ${date(key.expires_s)}`];
  return ["good", "Valid"];
}

function inWords(rules) {
  const lists = LISTS.filter(([name]) => rules[name]?.length).map(([name]) => rules[name].join(", "));
  const limits = LIMITS.filter(([name]) => rules[name] != null).map(([name, label]) => `${count(rules[name])} ${label.toLowerCase()}`);
  return [...lists, ...limits].join(" · ") || "everything, without limits";
}

function KeyTable({ keys, onOpen }) {
  const ended = (key) => stateOf(key)[1] === "Revoked" || stateOf(key)[1] === "Expired";
  const columns = [
    { name: "Name", wrap: true, cell: (key) => html`<strong>${key.name || "unnamed"}</strong><span class="sub mono">pn_${key.id}_…</span><span class="narrow-only"><${Chip} tone=${stateOf(key)[0]}>${stateOf(key)[1]}<//></span>` },
    { name: "State", narrow: false, cell: (key) => html`<${Chip} tone=${stateOf(key)[0]}>${stateOf(key)[1]}<//>` },
    { name: "May ask for", wrap: true, narrow: false, cell: (key) => html`<span class="muted">${inWords(key.rules)}</span>` },
    { name: "Made", narrow: false, cell: (key) => date(key.created_s) },
    {
      name: "Actions",
      cell: (key) =>
        ended(key)
          ? ""
          : html`<button class="button is-small is-quiet" onClick=${() => onOpen({ kind: "edit", found: key })} aria-label=${`Change ${key.name}`}>Change</button>
              <button class="button is-small is-quiet" onClick=${() => onOpen({ kind: "confirm", found: key, act: "rotate" })} aria-label=${`Rotate ${key.name}`}>Rotate</button>
              <button class="button is-small is-quiet is-bad" onClick=${() => onOpen({ kind: "confirm", found: key, act: "revoke" })} aria-label=${`Revoke ${key.name}`}>Revoke</button>`,
    },
  ];
  const rows = [...keys].sort((a, b) => Number(ended(a)) - Number(ended(b)) || b.created_s - a.created_s);
  return html`<${Table} caption="API keys" columns=${columns} rows=${rows} keyOf=${(key) => key.id} />`;
}

function rulesOf(form, old) {
  const rules = { ...old };
  for (const [name] of LISTS) {
    const words = form.get(name).split(/[\s,]+/).filter(Boolean);
    if (words.length) rules[name] = words;
    else delete rules[name];
  }
  for (const [name] of LIMITS) {
    if (form.get(name)) rules[name] = Number(form.get(name));
    else delete rules[name];
  }
  return rules;
}

function Edit({ about, found, onClose, onDone }) {
  const [problem, tell] = useState("");
  const save = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const rules = rulesOf(form, found?.rules ?? {});
    try {
      if (found) {
        await send("PUT", `/keys/${found.id}/rules`, rules);
        onDone();
        return;
      }
      const days = Number(form.get("days"));
      const expires_s = days ? Math.floor(Date.now() / 1000) + days * 86_400 : null;
      onDone((await send("POST", "/keys", { name: form.get("name"), expires_s, rules })).secret);
    } catch (error) {
      tell(error.message);
    }
  };
  const rules = found?.rules ?? {};
  return html`<${Dialog} label=${found ? "Change a key" : "New key"} onClose=${onClose}>
    <form onSubmit=${save}>
      <h2>${found ? `Change ${found.name || "this key"}` : "New key"}</h2>
      ${!found &&
      html`<div class="fields">
        <label>Name<input name="name" required maxlength="200" autofocus placeholder="shop" /></label>
        <label>Ends after<select name="days"><option value="">never</option><option value="1">a day</option><option value="30">30 days</option><option value="90">90 days</option><option value="365">a year</option></select></label>
      </div>`}
      <div class="fields">
        ${LISTS.slice(0, 2).map(([name, label]) => html`<label key=${name}>${label}<input name=${name} value=${(rules[name] ?? []).join(", ")} placeholder=${name === "services" ? `all: ${about.services.map((one) => one.id).join(", ")}` : "all"} /></label>`)}
        ${LIMITS.slice(0, 2).map(([name, label]) => html`<label key=${name}>${label}<input name=${name} type="number" min="1" value=${rules[name] ?? ""} placeholder="no limit" /></label>`)}
      </div>
      <details open=${Boolean(found)}>
        <summary>More scopes and limits</summary>
        <div class="fields" style="margin-top:12px">
          ${LISTS.slice(2).map(([name, label]) => html`<label key=${name}>${label}<input name=${name} value=${(rules[name] ?? []).join(", ")} placeholder="all" /></label>`)}
          ${LIMITS.slice(2).map(([name, label]) => html`<label key=${name}>${label}<input name=${name} type="number" min="0" value=${rules[name] ?? ""} placeholder="no limit" /></label>`)}
        </div>
      </details>
      <p class="bad small" role="alert">${problem}</p>
      <div class="ends"><button type="button" class="button" onClick=${onClose}>Cancel</button><button class="button is-first">${found ? "Save" : "Make the key"}</button></div>
    </form>
  <//>`;
}

function Secret({ secret, onClose }) {
  const [copied, tell] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(secret);
    tell(true);
  };
  return html`<${Dialog} label="The new key" onClose=${onClose}>
    <div class="inner">
      <h2>Copy the key now</h2>
      <p class="muted">It is shown this once. The gateway keeps only its hash.</p>
      <div class="secret"><code id="secret">${secret}</code><button class="button is-small" onClick=${copy}>${copied ? "Copied" : "Copy"}</button></div>
      <div class="ends"><button class="button is-first" onClick=${onClose}>I have it</button></div>
    </div>
  <//>`;
}

function Confirm({ found, act, onClose, onDone }) {
  const [problem, tell] = useState("");
  const words = act === "rotate" ? "A new key with the same scopes and limits is made. The old one works for another hour." : "Requests with this key are refused within two seconds. This cannot be undone.";
  const go = async () => {
    try {
      const made = act === "rotate" ? await send("POST", `/keys/${found.id}/rotate`) : await send("DELETE", `/keys/${found.id}`);
      onDone(made.secret);
    } catch (error) {
      tell(error.message);
    }
  };
  const name = found.name || "this key";
  return html`<${Dialog} label=${`${act} a key`} onClose=${onClose}>
    <div class="inner">
      <h2>${act === "rotate" ? `Rotate ${name}?` : `Revoke ${name}?`}</h2>
      <p class="muted">${words}</p>
      <p class="bad small" role="alert">${problem}</p>
      <div class="ends"><button class="button" onClick=${onClose}>Cancel</button><button class=${`button ${act === "revoke" ? "is-bad" : "is-first"}`} onClick=${go}>${act === "rotate" ? "Rotate" : "Revoke"}</button></div>
    </div>
  <//>`;
}

function Usage({ about, keys }) {
  const [days, setDays] = useState("30");
  const [by, setBy] = useState("key");
  const usage = useLoad(`/usage?days=${days}`, 10_000);
  const names = Object.fromEntries(keys.map((key) => [key.id, key.name || key.id]));
  const tools = html`<${Segments} label="Group by" options=${BY} value=${by} onChange=${setBy} />
    <${Segments} label="Days" options=${[["1", "2 days"], ["7", "7 days"], ["30", "30 days"]]} value=${days} onChange=${setDays} />
    <a class="button is-small" href=${`/usage?days=${days}&format=csv`} download="usage.csv">CSV</a>`;
  return html`${usage.value?.length > 0 && html`<${UsageCharts} about=${about} rows=${usage.value} by=${by} names=${names} days=${days} />`}
  <${Card} title="Usage" tools=${tools}>
    ${!usage.value ? html`<${Waiting} error=${usage.error} reload=${usage.reload} what="Usage" />` : usage.value.length ? html`<${UsageBody} about=${about} rows=${usage.value} by=${by} names=${names} />` : html`<${Empty} title="Nothing was used yet">Only answered requests are counted, and only they cost.<//>`}
  <//>`;
}

/** Cost (or requests, where no token is known) by day, for the groups that came to most. */
function UsageCharts({ about, rows, by, names, days }) {
  const today = Math.floor(Date.now() / 86_400_000);
  const t = Array.from({ length: Number(days) + 1 }, (_, place) => today - Number(days) + place);
  const dayOf = (row) => Math.floor(Date.parse(`${row.day}T00:00:00Z`) / 86_400_000);
  const group = by === "day" ? "service" : by;
  const most = grouped(rows, group).sort((a, b) => b.cost - a.cost || b.requests - a.requests).slice(0, COLOURS.length);
  const lines = (sum) =>
    most.map((one, place) => {
      const own = rows.filter((row) => row[group] === one.name);
      const values = t.map((day) => own.filter((row) => dayOf(row) === day).reduce((all, row) => all + row[sum], 0));
      return { name: group === "key" ? names[one.name] ?? one.name : one.name, colour: COLOURS[place], values, fill: most.length === 1 };
    });
  const shared = { t, spanS: Number(days), tick: day, height: 140, zeroIsNothing: true };
  return html`<section class="grid-2" aria-label="Usage by day">
    <${Chart} title=${`Requests a day, by ${BY.find(([key]) => key === group)[1].toLowerCase()}`} lines=${lines("requests")} format=${short} ...${shared} />
    <${Chart} title=${`Cost a day, by ${BY.find(([key]) => key === group)[1].toLowerCase()}`} headline="" unit=${about.token?.symbol} lines=${lines("cost")} format=${(v) => (about.token ? amount(v, about.token) : count(v))} ...${shared} />
  </section>`;
}

const SUMS = ["requests", "units", "prompt_tokens", "output_tokens", "cost"];

function grouped(rows, by) {
  const groups = new Map();
  for (const row of rows) {
    const group = groups.get(row[by]) ?? { name: row[by], ...Object.fromEntries(SUMS.map((sum) => [sum, 0])) };
    for (const sum of SUMS) group[sum] += row[sum];
    groups.set(row[by], group);
  }
  return [...groups.values()];
}

function UsageBody({ about, rows, by, names }) {
  const [all] = grouped(rows.map((row) => ({ ...row, all: "all" })), "all");
  const token = about.token;
  const shown = grouped(rows, by);
  const columns = [
    { name: BY.find(([key]) => key === by)[1], wrap: true, cell: (row) => (by === "key" ? html`<strong>${names[row.name] ?? row.name}</strong>` : html`<span class=${by === "what" ? "mono" : ""}>${row.name}</span>`), sort: (row) => row.name },
    { name: "Requests", num: true, cell: (row) => count(row.requests), sort: (row) => row.requests },
    { name: "Units", num: true, narrow: false, cell: (row) => count(row.units), sort: (row) => row.units },
    { name: "Prompt tokens", num: true, narrow: false, cell: (row) => count(row.prompt_tokens), sort: (row) => row.prompt_tokens },
    { name: "Output tokens", num: true, narrow: false, cell: (row) => count(row.output_tokens), sort: (row) => row.output_tokens },
    { name: "Cost", num: true, cell: (row) => (token ? `${amount(row.cost, token)} ${token.symbol}` : count(row.cost)), sort: (row) => row.cost },
  ];
  return html`<dl class="stats">
      <${Stat} name="Requests" value=${count(all.requests)} />
      <${Stat} name="Units" value=${count(all.units)} />
      <${Stat} name="Tokens" value=${count(all.prompt_tokens + all.output_tokens)} />
      <${Stat} name="Cost" value=${token ? amount(all.cost, token) : count(all.cost)} unit=${token?.symbol} />
    </dl>
    <${Table} caption="Usage" columns=${columns} rows=${shown} keyOf=${(row) => row.name} first=${{ name: by === "day" ? "Day" : "Requests", down: true }} />`;
}
