// Reads proofs made by Python, one JSON a line, and prints the root that the page's own code finds.
import readline from "node:readline";
import { bytesOf, check, rootOf } from "../../pocketnode/web/static/js/verify.js";

for await (const line of readline.createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  if (given.digest) console.log(JSON.stringify(check(given.digest, given).map((step) => step.ok)));
  else console.log(rootOf(bytesOf(given.record), given.place, given.size, given.path.map(bytesOf)));
}
