// Works on chart columns as the daemon sends them: {step_s, t, series: {name: {relays, good, .., p50_ms, .., errors}}}.

const COUNTS = ["relays", "good", "kept", "refused", "units", "amount"];
const TIMES = ["p50_ms", "p95_ms", "p99_ms", "first_p50_ms", "first_p95_ms"];
const SHORT_S = 60;
const NAMES = [...COUNTS, ...TIMES, "errors"]; // in the order of a row of the daemon's

/** Add one event's rows to columns over `spanS` seconds; returns new columns, so that charts see the change. */
export function appended(data, tick, spanS) {
  const last = data.t[data.t.length - 1];
  if (last !== undefined && tick.t <= last) return data;
  const from = tick.t - spanS;
  const drop = data.t.findIndex((t) => t >= from);
  const cut = drop < 0 ? data.t.length : drop;
  const t = [...data.t.slice(cut), tick.t];
  const series = {};
  for (const name of new Set([...Object.keys(data.series), ...Object.keys(tick.rows)])) {
    const old = data.series[name] ?? blank(data.t.length);
    const row = tick.rows[name];
    series[name] = Object.fromEntries(
      NAMES.map((column, place) => [column, [...old[column].slice(cut), row ? row[place] : empty(column)]]),
    );
  }
  return { ...data, t, series, from };
}

/** Join steps to `stepS` seconds each: counts add up, latencies are weighed by the good relays. */
export function joined(data, stepS) {
  if (stepS <= data.step_s || !data.t.length) return data;
  const places = data.t.map((t) => Math.floor(t / stepS) * stepS);
  const whole = data.t[data.t.length - 1] + data.step_s;
  // A short step that is not over yet would look like a fall; of a long one what there is says more than nothing.
  while (stepS <= SHORT_S && places.length > 1 && places[0] !== places[places.length - 1] && places[places.length - 1] + stepS > whole) places.pop();
  const t = [...new Set(places)];
  const at = new Map(t.map((start, place) => [start, place]));
  const series = {};
  for (const [name, columns] of Object.entries(data.series)) {
    const out = blank(t.length);
    places.forEach((start, place) => join(out, at.get(start), columns, place));
    series[name] = out;
  }
  return { ...data, step_s: stepS, t, series };
}

function join(out, to, columns, from) {
  const good = columns.good[from];
  for (const column of TIMES) {
    const value = columns[column][from];
    if (value === null || value === undefined) continue;
    const before = out[column][to];
    out[column][to] = before === null ? value : (before * out.good[to] + value * good) / (out.good[to] + good || 1);
  }
  for (const column of COUNTS) out[column][to] += columns[column][from];
  out.errors[to] = merged(out.errors[to], columns.errors[from]);
}

function merged(one, other) {
  const sum = { ...one };
  for (const [name, n] of Object.entries(other)) sum[name] = (sum[name] ?? 0) + n;
  return sum;
}

/** All services as one. Latencies of different services say nothing together, so they are left out. */
export function total(data) {
  const out = blank(data.t.length);
  for (const columns of Object.values(data.series)) {
    for (const column of COUNTS) columns[column].forEach((value, place) => (out[column][place] += value));
    columns.errors.forEach((errors, place) => (out.errors[place] = merged(out.errors[place], errors)));
  }
  return out;
}

/** Sums and weighed latencies over all steps. */
export function summed(columns) {
  const out = blank(1);
  columns.good.forEach((_, place) => join(out, 0, columns, place));
  return Object.fromEntries(NAMES.map((column) => [column, out[column][0]]));
}

export function ratio(above, below) {
  return above.map((value, place) => (below[place] ? value / below[place] : null));
}

/** The `most` classes of errors that happened most, and how often each did at every step. */
export function errorLines(columns, most) {
  const sums = Object.entries(summed(columns).errors).sort((a, b) => b[1] - a[1]);
  return sums.slice(0, most).map(([name, n]) => ({ name, n, values: columns.errors.map((errors) => errors[name] ?? 0) }));
}

export function perSecond(values, stepS) {
  return values.map((value) => value / stepS);
}

/** Fill the steps in which nothing was stored, so that a pause is drawn as one. */
export function evened(data) {
  if (data.t.length < 2) return data;
  const from = data.t[0];
  const size = Math.round((data.t[data.t.length - 1] - from) / data.step_s) + 1;
  if (size === data.t.length || size > 5000) return data;
  const t = Array.from({ length: size }, (_, place) => from + place * data.step_s);
  const series = {};
  for (const [name, columns] of Object.entries(data.series)) {
    const out = blank(size);
    data.t.forEach((start, place) => join(out, Math.round((start - from) / data.step_s), columns, place));
    series[name] = out;
  }
  return { ...data, t, series };
}

function empty(column) {
  if (column === "errors") return {};
  return column.endsWith("_ms") ? null : 0;
}

function blank(size) {
  return Object.fromEntries(NAMES.map((column) => [column, Array(size).fill(empty(column))]));
}
