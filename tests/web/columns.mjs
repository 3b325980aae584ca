// Laws of the charts' columns; fails where one does not hold.
import assert from "node:assert/strict";
import { appended, errorLines, evened, joined, ratio, summed, total } from "../../pocketnode/web/static/js/columns.js";

const TIMES = ["p50_ms", "p95_ms", "p99_ms", "first_p50_ms", "first_p95_ms"];
const NAMES = ["relays", "good", "kept", "refused", "units", "amount", ...TIMES];
const column = (values) => ({ ...Object.fromEntries(NAMES.map((name) => [name, [...values]])), errors: values.map((n) => (n ? { busy: n } : {})) });
const row = (n) => [...NAMES.map(() => n), { busy: n }];
const data = { step_s: 2, t: [100, 102, 106], from: 98, series: { eth: column([2, 4, 6]), llm: column([0, 0, 1]) } };

const one = joined(data, 4);
assert.deepEqual(one.t, [100, 104]);
assert.deepEqual(one.series.eth.relays, [6, 6]);
assert.equal(one.series.eth.p50_ms[0], (2 * 2 + 4 * 4) / 6, "latencies are weighed by good relays");
assert.equal(joined(data, 2), data, "nothing to join");

const filled = evened(data);
assert.deepEqual(filled.t, [100, 102, 104, 106]);
assert.deepEqual(filled.series.eth.relays, [2, 4, 0, 6]);
assert.equal(filled.series.eth.p50_ms[2], null, "a pause has no latency");

const more = appended(data, { t: 108, rows: { eth: row(1), new: row(3) } }, 6);
assert.deepEqual(more.t, [102, 106, 108]);
assert.deepEqual(more.series.eth.relays, [4, 6, 1]);
assert.deepEqual(more.series.llm.relays, [0, 1, 0]);
assert.deepEqual(more.series.new.relays, [0, 0, 3]);
assert.equal(appended(more, { t: 108, rows: {} }, 6), more, "an event is added once");
assert.deepEqual(data.t, [100, 102, 106], "what was given is not changed");

assert.deepEqual(total(data).relays, [2, 4, 7]);
assert.equal(total(data).p50_ms[0], null, "latencies of different services say nothing together");
assert.deepEqual(total(data).errors, [{ busy: 2 }, { busy: 4 }, { busy: 7 }]);
assert.deepEqual(summed(data.series.eth).errors, { busy: 12 });
assert.deepEqual(errorLines(data.series.llm, 3), [{ name: "busy", n: 1, values: [0, 0, 1] }]);
assert.deepEqual(more.series.eth.errors, [{ busy: 4 }, { busy: 6 }, { busy: 1 }]);
assert.equal(summed(data.series.eth).relays, 12);
assert.deepEqual(ratio([1, 0], [2, 0]), [0.5, null]);
console.log("ok");
