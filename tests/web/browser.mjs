// Drives the dashboard in a real browser, as a user would; prints one JSON line, or fails with what was seen.
//
// argv: JSON of {chromium, gatewayAdmin, supplierAdmin, gateway, token, profile, shots}

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const given = JSON.parse(process.argv[2]);
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WIDE = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
const AXE = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];
const LOOKS = [["light", WIDE], ...(given.shots ? [["dark", WIDE]] : []), ["dark", PHONE]];
const said = [];
const NAME = `browser ${Date.now() % 100_000}`;

const browser = await chromium.launchPersistentContext(given.profile, {
  executablePath: given.chromium,
  headless: true,
  args: [...FLAGS, ...QUIET],
  viewport: WIDE,
});
try {
  const result = await run(await watched());
  assert.deepEqual(said, [], "the console has errors");
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
}

async function watched() {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => message.type() === "error" && said.push(message.text()));
  page.on("pageerror", (error) => said.push(error.message));
  page.on("request", (request) => {
    const host = new URL(request.url()).hostname;
    if (host !== "127.0.0.1") said.push(`asked ${request.url()}: a dashboard is offline`);
  });
  return page;
}

async function run(page) {
  await enter(page, given.gatewayAdmin);
  const key = await makeKey(page);
  const relay = await use(key);
  const rate = await chartMoves(page, key);
  await seesUsage(page);
  await endKey(page, key);
  await scopedKey(page);
  await eachPage(page, given.gatewayAdmin, ["overview", "suppliers", "money", "keys", "explorer"]);
  await oneSupplier(page);
  for (const tab of ["suppliers", "services", "applications", "gateways", "contracts"]) await explorerTab(page, tab);
  await finds(page);
  await loses(page);
  const proof = await proven(page, relay);
  await keyboard(page);
  await enter(page, given.supplierAdmin);
  await eachPage(page, given.supplierAdmin, ["operator", "explorer"]);
  return { rate, proof, relay };
}

async function enter(page, url) {
  await page.goto(`${url}/`);
  await page.fill('input[name="token"]', given.token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("h1:visible");
  await page.waitForSelector(".live .is-good");
}

async function open(page, base, path) {
  await page.goto(`${base}/#/${path}`);
  await page.waitForSelector('main h1[tabindex="-1"]');
}

// ---- keys

async function makeKey(page) {
  await open(page, given.gatewayAdmin, "keys");
  await page.getByRole("button", { name: "New key" }).click();
  await page.getByLabel("Name").fill(NAME);
  await page.getByLabel("Requests a minute").fill("6000");
  await page.getByRole("button", { name: "Make the key" }).click();
  const secret = await taken(page);
  await page.getByRole("row", { name: new RegExp(NAME) }).first().waitFor();
  return secret;
}

/** A key for one service is refused at another; rotated, it has a new secret and the old scope. */
async function scopedKey(page) {
  const name = `scoped ${Date.now() % 100_000}`;
  await open(page, given.gatewayAdmin, "keys");
  await page.getByRole("button", { name: "New key" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Services").fill("smollm2");
  await accessible(page, "a dialog");
  await page.getByRole("button", { name: "Make the key" }).click();
  const first = await taken(page);
  assert.equal(await statusOf(first), 403);
  await page.getByRole("button", { name: `Rotate ${name}` }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
  const second = await taken(page);
  assert.notEqual(second, first);
  assert.equal(await statusOf(second), 403);
  assert.equal(await page.getByRole("row", { name: new RegExp(name) }).count(), 2);
}

/** The secret that is shown once. */
async function taken(page) {
  const secret = await page.locator("#secret").textContent();
  assert.match(secret, /^pn_[0-9a-f]{12}_/);
  await page.getByRole("button", { name: "I have it" }).click();
  return secret;
}

async function statusOf(key) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return (await fetch(`${given.gateway}/rpc/eth`, { method: "POST", headers, body })).status;
}

async function use(key) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_getBlockByNumber", params: ["latest", false] });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const answer = await fetch(`${given.gateway}/rpc/eth`, { method: "POST", headers, body });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.headers.get("x-pocketnode-relay");
}

async function seesUsage(page) {
  await open(page, given.gatewayAdmin, "keys");
  await page.getByRole("region", { name: "Usage", exact: true }).getByText(NAME).waitFor();
  const csv = await page.evaluate(() => fetch("/usage?days=1&format=csv").then((answer) => answer.text()));
  assert.match(csv, /^day,key,service,what,requests,/);
}

async function endKey(page, key) {
  await open(page, given.gatewayAdmin, "keys");
  await page.getByRole("button", { name: `Revoke ${NAME}` }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("row", { name: new RegExp(`${NAME}.*Revoked`) }).waitFor();
  await page.waitForTimeout(2500); // the gateway sees it within two seconds
  const answer = await fetch(`${given.gateway}/rpc/eth`, { method: "POST", headers: { authorization: `Bearer ${key}` }, body: "{}" });
  assert.equal(answer.status, 401);
}

// ---- charts

async function chartMoves(page, key) {
  await open(page, given.gatewayAdmin, "overview");
  await page.getByRole("button", { name: "5 min" }).click();
  const plot = page.getByRole("img", { name: /^Requests a second/ });
  await plot.waitFor();
  const drawn = () => plot.locator("canvas").evaluate((canvas) => canvas.toDataURL());
  const before = await drawn();
  const until = Date.now() + 12_000;
  let rate = 0;
  while (rate < 5 && Date.now() < until) {
    await Promise.all(Array.from({ length: 10 }, () => use(key)));
    await page.waitForTimeout(50); // 200 a second at most: far below the key's limit
    rate = Number(/eth ([\d.]+)/.exec(await plot.getAttribute("aria-label"))?.[1] ?? 0);
  }
  assert.ok(rate >= 5, `the chart shows ${rate} requests a second under load`);
  assert.notEqual(await drawn(), before, "the chart was not drawn again");
  return rate;
}

// ---- pages

async function eachPage(page, base, names) {
  for (const name of names) {
    await open(page, base, name);
    await settled(page);
    await sound(page, name);
    for (const [theme, size] of LOOKS) {
      await page.evaluate((wanted) => document.documentElement.dataset.theme !== wanted && window.toggleTheme(), theme);
      await page.setViewportSize(size);
      await page.waitForTimeout(150);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px wider than a screen of ${size.width}`);
      await accessible(page, `${name}, ${theme}, ${size.width}`);
      if (size === PHONE) await fits(page, name);
      await shoot(page, `${name}-${theme}${size === PHONE ? "-phone" : ""}`);
    }
    await page.evaluate(() => document.documentElement.dataset.theme !== "light" && window.toggleTheme());
    await page.setViewportSize(WIDE);
  }
}

async function settled(page) {
  await page.waitForFunction(() => !/Reading .+…/.test(document.querySelector("main").textContent));
  assert.equal(await page.getByText("could not be read").count(), 0, await page.locator("main").textContent());
}

async function sound(page, name) {
  const found = await page.evaluate(() => ({
    headings: document.querySelectorAll("main h1").length,
    nameless: [...document.querySelectorAll("button, a, input, select")].filter(
      (one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length),
    ).length,
    untitled: [...document.querySelectorAll("table")].filter((one) => !one.caption).length,
    unsaid: [...document.querySelectorAll("canvas")].filter((one) => !one.closest("[role=img][aria-label]")).length,
    current: document.querySelectorAll('nav [aria-current="page"]').length,
  }));
  assert.deepEqual(found, { headings: 1, nameless: 0, untitled: 0, unsaid: 0, current: 1 }, name);
}

/** Nothing that axe-core knows to keep people out: roles, names, contrast, landmarks. */
async function accessible(page, where) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules }), RULES);
  const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" ")}`);
  assert.deepEqual(found, [], where);
}

/** No table has to be pushed sideways on a phone. */
async function fits(page, name) {
  const wide = await page.evaluate(() =>
    [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.getAttribute("aria-label")),
  );
  assert.deepEqual(wide, [], `${name}: tables wider than a phone`);
}

async function oneSupplier(page) {
  await open(page, given.gatewayAdmin, "suppliers");
  await page.locator('a[href^="#/suppliers/0x"]').first().click();
  await page.getByRole("heading", { name: /^Supplier 0x/ }).waitFor();
  await page.getByText("Attempts by verdict").first().waitFor();
  await page.getByText(/^(Errors by class|No errors in this span\.)$/).first().waitFor();
  const quality = page.getByRole("img", { name: /^Quality, by session/ }).first();
  await quality.waitFor({ timeout: 5000 }).catch(() => {});
  for (let tries = 0; tries < 20 && !(await quality.isVisible()); tries++) {
    await page.waitForTimeout(5000); // a young network has settled no session yet
    await page.reload();
    await page.getByText("Attempts by verdict").first().waitFor();
    await quality.waitFor({ timeout: 2000 }).catch(() => {});
  }
  await quality.waitFor();
  await accessible(page, "a supplier's page");
}

/** A list of the explorer's is searched; what is not there is said so. */
async function finds(page) {
  await open(page, given.gatewayAdmin, "explorer/suppliers");
  const find = page.getByPlaceholder(/^Find suppliers/);
  await find.fill("smollm2");
  await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].every((row) => row.textContent.includes("smollm2")));
  await find.fill("nobody at all");
  await page.getByText("Nothing has nobody at all in it").waitFor();
}

/** A gateway that does not answer is told, and it comes back by itself. */
async function loses(page) {
  await open(page, given.gatewayAdmin, "overview");
  const before = said.length;
  await page.route("**/api/events", (route) => route.abort());
  await page.reload();
  await page.getByText("The daemon does not answer").waitFor();
  await accessible(page, "the gateway is gone");
  await shoot(page, "gone-light");
  await page.unroute("**/api/events");
  await page.waitForSelector(".live .is-good");
  said.splice(before); // the browser tells each request that failed meanwhile
}

async function explorerTab(page, tab) {
  await open(page, given.gatewayAdmin, `explorer/${tab}`);
  await settled(page);
  const rows = tab === "contracts" ? page.locator("dl.pairs dd") : page.locator("tbody tr");
  await rows.first().waitFor();
}

// ---- one relay, proven in the page

async function proven(page, relay) {
  await open(page, given.gatewayAdmin, "money");
  await page.getByLabel("Digest of the relay").fill(relay);
  await page.getByRole("button", { name: "Look up and verify" }).click();
  await page.getByText("The record is of this relay").waitFor();
  const until = Date.now() + 90_000;
  while (!(await page.getByText("Proven to be in the statement").count())) {
    assert.ok(Date.now() < until, await page.locator("main").textContent());
    assert.equal(await page.getByText("Not proven").count(), 0, await page.locator("main").textContent());
    await page.waitForTimeout(1000);
    await page.reload();
    await page.getByText("The record is of this relay").waitFor();
  }
  await shoot(page, "relay-light");
  return page.locator(".checks").innerText();
}

async function keyboard(page) {
  await open(page, given.gatewayAdmin, "overview");
  await page.reload();
  await page.waitForSelector(".skip", { state: "attached" });
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
}

async function shoot(page, name) {
  if (!given.shots) return;
  fs.mkdirSync(given.shots, { recursive: true });
  await page.screenshot({ path: `${given.shots}/${name}.png` });
}
