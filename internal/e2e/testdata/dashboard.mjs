// A browser walks through the dashboard of a daemon that runs. Each line that this prints is something that was looked at
// ({step, ok, detail}) or measured ({figure, value}). TestDashboard runs it in the shop's folder, whose iteration i1 is clean and i2 broken.
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

const { ADDRESS, TOKEN, CHROMIUM, PACKAGES, DEVLOOP, PICTURES, ONLY, PROFILE } = process.env;
const need = createRequire(join(PACKAGES, "/"));
const { chromium } = need("playwright-core");
const axe = readFileSync(need.resolve("axe-core/axe.min.js"), "utf8");
const run = promisify(execFile);

const tell = (line) => console.log(JSON.stringify(line));
const check = (step, ok, detail = "") => tell({ step, ok: Boolean(ok), detail: String(detail) });
const figure = (name, value) => tell({ figure: name, value });
if (PICTURES) mkdirSync(PICTURES, { recursive: true });

const context = await chromium.launchPersistentContext(PROFILE, {
  executablePath: CHROMIUM, headless: true, viewport: { width: 1280, height: 760 }, colorScheme: "dark", reducedMotion: "reduce", bypassCSP: false,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-precise-memory-info"],
});
context.setDefaultTimeout(40_000);
await context.addInitScript(() => {
  globalThis.violations = [];
  document.addEventListener("securitypolicyviolation", (e) => globalThis.violations.push(`${e.effectiveDirective} ${e.blockedURI}`));
});

const [code] = ADDRESS.split("#code=").slice(1);
const base = ADDRESS.split("#")[0];
const addresses = [], trouble = [];
let page = context.pages()[0] ?? (await context.newPage());
const watch = (p) => {
  p.on("request", (r) => addresses.push(r.url()));
  p.on("pageerror", (e) => trouble.push(e.message));
  p.on("console", (m) => { if (m.type() === "error" && !/Failed to load resource/.test(m.text())) trouble.push(m.text()); });
};
watch(page);

// Where one comes in.
await page.goto(ADDRESS);
await page.waitForSelector("nav");
check("the code is gone from the address", !page.url().includes(code), page.url());
const reuse = await fetch(base + "session", { method: "POST", body: JSON.stringify({ code }) });
check("the code opens once", reuse.status === 401, reuse.status);
const head = await fetch(base);
const policy = head.headers.get("content-security-policy") ?? "";
check("the policy is strict", policy.startsWith("default-src 'none'") && !policy.includes("unsafe") && policy.includes("require-trusted-types-for 'script'"), policy);
check("nothing is answered without a key", (await fetch(new URL("/v1/status", base), { method: "POST", body: "{}" })).status === 401);
const foreign = await fetch(base + "session", { method: "POST", body: JSON.stringify({ code: "x" }), headers: { Origin: "http://elsewhere.example", "Sec-Fetch-Site": "cross-site" } });
check("another site's page is refused", foreign.status === 403, foreign.status);

let size = 0;
for (const file of ["app.js", "app.css"]) size += gzipSync(await (await fetch(base + file)).text(), { level: 9 }).length;
figure("bundle bytes gzip", size);
const paints = [];
for (let n = 0; n < 7; n++) {
  await page.reload();
  await page.waitForSelector(".grid");
  paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 1e9));
}
figure("first paint ms", paints.sort((a, b) => a - b)[3]);
check("a reload keeps the key", await page.locator("nav").count() === 1);

const go = async (to) => {
  await page.evaluate((to) => { history.pushState(null, "", "#" + to); dispatchEvent(new PopStateEvent("popstate")); }, to);
  await page.waitForTimeout(60);
};
const settled = () => page.waitForFunction(() => !document.querySelector("[data-busy]") && document.getAnimations().length === 0).then(() => page.waitForTimeout(60));
const picture = async (name) => { if (PICTURES && (!ONLY || ONLY.split(",").includes(name))) await page.screenshot({ path: join(PICTURES, `dashboard-${name}.png`) }); };
const active = () => page.evaluate(() => { const a = document.activeElement; return `${a?.tagName} ${a?.id || a?.getAttribute("aria-label") || a?.textContent?.slice(0, 40)}`; });
const rows = () => page.locator(".grid .body .row");
const foot = () => page.locator(".foot").innerText();
const post = async (name, body) => {
  const text = await (await fetch(new URL("/v1/" + name, base), { method: "POST", body: JSON.stringify(body), headers: { Authorization: "Bearer " + TOKEN } })).text();
  return JSON.parse(text.trimEnd().split("\n").pop()).result;
};
const total = async (kfl) => (await post("list_api_calls", { snapshot_id: "i2", kfl, limit: 1 })).total;

// The broken shop: a filter by a click, and what the API says of the same filter.
await go("calls?db=i2");
await rows().first().waitFor();
await page.waitForFunction((n) => document.querySelector(".foot").textContent.replace(/[^\d]/g, "").startsWith(String(n)), await total(""));
check("all calls of the iteration are counted", true, await foot());
const cell = rows().nth(1).locator(".cell.dst");
const server = await cell.locator(".text").innerText();
await cell.hover();
await cell.locator(".pick").click();
await page.waitForFunction((s) => document.getElementById("kfl").value === `dst.name == ${JSON.stringify(s)}`, server);
const wanted = await total(`dst.name == ${JSON.stringify(server)}`);
await page.waitForFunction((n) => Number(document.querySelector(".foot > span").textContent.replace(/[^\d]/g, "")) === n, wanted);
check("a click filters", true, `${server}: ${wanted} calls`);
for (const [text, column] of [["http && status_cod >= 500", 9], ['dst.name == "orders" &&', 24]]) {
  await page.fill("#kfl", text);
  await page.locator("#kfl-error", { hasText: `column ${column}:` }).waitFor();
  const said = await page.locator("#kfl-error").innerText();
  check("a mistake is told with its place", said.includes(`column ${column}`), said.replaceAll("\n", " "));
}
await picture("filter");
await page.fill("#kfl", "grpc_status > 0 || status_code >= 500 || redis_error != \"\"");
await page.waitForFunction(() => document.querySelectorAll(".grid .row.failed").length > 3);
check("calls that failed are marked", true, await foot());

// Every condition that a click makes is one that the daemon takes.
for (const kfl of ['redis', 'grpc', 'postgresql', 'dns', 'http']) {
  await page.fill("#kfl", kfl);
  await page.keyboard.press("Enter");
  await page.waitForFunction((k) => [...document.querySelectorAll(".grid .body .row .proto .text")].some((c) => c.textContent === k), kfl);
  await rows().first().click();
  await page.locator(".detail [role=tablist]").waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".detail").waitFor({ state: "detached" });
  await page.locator(".grid").focus();
  await page.keyboard.press("f");
  await page.locator("dialog[open] .pair button").first().waitFor();
  const clauses = await page.locator("dialog[open] .pair button:first-child").allInnerTexts();
  for (const clause of clauses) {
    const answer = await post("list_api_calls", { snapshot_id: "i2", kfl: clause, limit: 1 });
    check(`the filter of a ${kfl} call finds it`, answer?.total > 0, clause);
  }
  await page.keyboard.press("Escape");
  await page.locator("dialog[open]").waitFor({ state: "detached" });
}

// The keys alone, from the top of the page to a call tree and back.
await go("calls?db=i2");
await rows().first().waitFor();
await page.evaluate(() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute("tabindex"); });
await page.keyboard.press("Tab");
check("the first stop leads past the navigation", (await active()).includes("to the content"), await active());
const stops = [];
for (let n = 0; n < 16; n++) {
  await page.keyboard.press("Tab");
  stops.push(await active());
}
check("Tab goes through navigation, traffic, filter and list in this order", ["Calls", "Map", "SELECT", "kfl", "calls"].every((w, i, all) => { const at = stops.findIndex((s) => s.includes(w)); return at >= 0 && (i === 0 || at > stops.findIndex((s) => s.includes(all[i - 1]))); }), stops.join(" | "));
await page.keyboard.press("/");
check("/ leads to the filter", (await active()).includes("kfl"), await active());
await page.keyboard.type("grpc");
await page.keyboard.press("Enter");
await page.waitForFunction(() => {
  const shown = [...document.querySelectorAll(".grid .body .row .proto .text")];
  return shown.length > 3 && shown.every((c) => c.textContent === "grpc");
});
await page.keyboard.press("ArrowDown");
await page.keyboard.press("ArrowDown");
await page.keyboard.press("ArrowDown");
const marked = await page.evaluate(() => document.getElementById(document.activeElement.getAttribute("aria-activedescendant"))?.getAttribute("aria-selected"));
check("arrows choose a row that the list names", marked === "true", marked);
await page.keyboard.press("Enter");
await page.locator(".detail [role=tablist]").waitFor();
await page.locator("#tab-overview").focus();
for (let n = 0; n < 3; n++) await page.keyboard.press("ArrowRight");
await page.locator(".waterfall").waitFor();
check("arrows lead to the call tree", (await page.locator(".waterfall [role=row]").count()) > 3, await active());
await page.keyboard.press("Escape");
await page.locator(".detail").waitFor({ state: "detached" });
check("Escape closes, and the list has the focus", (await page.locator(".detail").count()) === 0 && (await active()).includes("calls"), await active());
await page.keyboard.press("2");
await page.locator(".picture svg .edge").first().waitFor();
await page.locator(".picture svg .edge").first().focus();
await page.keyboard.press("Enter");
await page.locator(".side .facts").nth(1).waitFor();
check("an edge opens with Enter", true, await page.locator(".side h2").first().innerText());
await page.keyboard.press("?");
await page.locator("dialog[open]").waitFor();
check("? tells the keys", await page.locator("dialog[open]").count() === 1);
await page.keyboard.press("Escape");

// What the verdicts rest on, as the API says it.
const iteration = await post("verdict", { iteration: "i2" });
const slow = iteration.checks.find((c) => c.name === "the payment path stays fast");
await go("iterations?iteration=i2&name=" + encodeURIComponent(slow.name));
const drawn = await page.locator(".plot svg").first().getAttribute("aria-label");
check("a check is drawn with its interval and bound", /p95\(latency\) is .* between .* wanted < 400 ms/.test(drawn ?? ""), drawn);
check("the reason stands above it", (await page.locator(".reason").innerText()) === slow.reason, slow.reason);
await page.locator(".evidence .link").first().click();
await page.locator(".detail [role=tablist]").waitFor();
check("evidence leads to the call", page.url().includes("id="), page.url().split("#")[1]);
await go("iterations");
await page.locator("table.iterations tbody tr").nth(1).waitFor();
const verdicts = await page.locator("table.iterations tbody tr td:nth-child(2)").allInnerTexts();
check("the clean iteration passes, the broken one fails", /fail/.test(verdicts[0]) && /pass/.test(verdicts.at(-1)), verdicts.join(" | ")); // a save may have had one of its own

// Every view in dark and light, wide and narrow, by axe's rules.
const failed = (await post("list_api_calls", { snapshot_id: "i2", kfl: "grpc_status > 0", limit: 1 })).calls[0].id;
const call = (await post("list_api_calls", { snapshot_id: "i2", kfl: 'http && path == "/orders"', limit: 1 })).calls[0].id;
const views = {
  calls: "calls?db=i2", live: "calls", call: "calls?db=i2&id=" + encodeURIComponent(call), "call-request": `calls?db=i2&tab=request&id=${encodeURIComponent(call)}`,
  "call-response": `calls?db=i2&tab=response&id=${encodeURIComponent(call)}`, "call-tree": `calls?db=i2&kfl=grpc&tab=tree&id=${encodeURIComponent(failed)}`,
  "call-connection": `calls?db=i2&tab=connection&id=${encodeURIComponent(call)}`, "call-packets": `calls?db=i2&tab=packets&id=${encodeURIComponent(call)}`,
  map: "map?db=i2", edge: "map?db=i2&edge=" + encodeURIComponent("cart → cache"), trace: "trace?db=i2", iterations: "iterations", iteration: "iterations?iteration=i2",
  check: "iterations?iteration=i2&name=" + encodeURIComponent(slow.name), compare: "compare?a=i1&b=i2", snapshots: "snapshots", capture: "capture",
};
for (const [scheme, width] of [["dark", 1280], ["light", 1280], ["dark", 380]]) {
  await page.emulateMedia({ colorScheme: scheme });
  await page.setViewportSize({ width, height: 760 });
  for (const [name, to] of Object.entries(views)) {
    if (width < 500 && /^call-(re|co|pa)|live|trace/.test(name)) continue;
    await go(to);
    await settled();
    if (name === "call-tree") await page.locator(".waterfall").waitFor();
    await picture(`${name}-${scheme}${width < 500 ? "-narrow" : ""}`);
    const found = await page.evaluate(async (source) => {
      if (!globalThis.axe) globalThis.axe = new Function("module", "exports", "define", source + "; return axe")();
      const r = await globalThis.axe.run(document, { resultTypes: ["violations"] });
      return r.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 2).map((n) => n.html.slice(0, 120) + " " + (n.any[0]?.message ?? "")).join(" ; ")}`);
    }, axe).catch((e) => ["axe did not run: " + e.message.split("\n")[0]]);
    check(`axe: ${name}, ${scheme}, ${width} px`, found.length === 0, found.join(" || "));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(`nothing sticks out: ${name}, ${width} px`, wide <= 0, wide);
  }
}
await page.emulateMedia({ colorScheme: "dark" });
await page.setViewportSize({ width: 1280, height: 760 });

// Live calls come by themselves, and the verdict with them.
await go("calls");
await page.locator(".live").waitFor();
await rows().first().waitFor();
const newest = () => document.querySelector(".grid .body .row .time")?.textContent;
const before = await page.evaluate(newest);
await run(DEVLOOP, ["run", "-q"], { timeout: 120_000 }).catch(() => {}); // it fails, as it should
await page.waitForFunction((old) => document.querySelector(".grid .body .row .time")?.textContent > old, before);
check("live calls come by themselves", true, `newest at ${before}, then at ${await page.evaluate(newest)}`);
await page.locator(".chip", { hasText: "i3" }).waitFor();
check("so does the verdict", true, await page.locator(".chip").innerText());

// 100,000 calls in one list.
await go("calls?db=many");
await page.waitForFunction(() => document.querySelector(".foot > span").textContent.replace(/[^\d a-z]/g, "").trim() === "100000 calls", undefined, { timeout: 180_000 });
const frames = await page.evaluate(async () => {
  const grid = document.querySelector(".grid"), times = [];
  let most = 0, empty = 0, last = performance.now();
  for (let n = 0; n < 240; n++) {
    grid.scrollTop = n < 120 ? n * 90 : ((n - 120) / 119) * grid.scrollHeight; // as a wheel does, then through all of it
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
    const there = document.querySelectorAll(".grid .body .row");
    most = Math.max(most, there.length);
    if (there.length === 0) empty++;
  }
  times.sort((a, b) => a - b);
  return { median: times[120], p95: times[228], max: times[239], most, empty, heap: performance.memory?.usedJSHeapSize ?? 0 };
});
figure("frame median ms", frames.median);
figure("frame p95 ms", frames.p95);
figure("frame max ms", frames.max);
figure("rows in the page", frames.most);
figure("heap MB", frames.heap / 1e6);
check("no frame is without rows", frames.empty === 0, frames.empty);
await page.locator(".grid").focus();
await page.keyboard.press("End");
await page.locator('.grid .row.chosen[aria-rowindex="100001"]').waitFor();
check("End leads to the last of all", true);

// Text that would run.
await go("calls?db=many&kfl=" + encodeURIComponent('path.contains("onerror")') + "&id=" + encodeURIComponent("n/99/9"));
await page.locator(".detail header h2").waitFor();
for (const tab of ["overview", "request", "response", "tree", "packets"]) {
  await page.locator("#tab-" + tab).click();
  await settled();
  await picture("hostile-" + tab);
}
await page.locator("#tab-response").click();
await page.locator("pre.body").waitFor();
const body = await page.locator("pre.body").innerText();
await go("map?db=many&kfl=" + encodeURIComponent('path.contains("onerror")'));
await page.locator(".picture").waitFor();
const ran = await page.evaluate(() => ({ taken: globalThis.taken, made: document.querySelectorAll("img, iframe, object, script:not([src])").length }));
check("hostile text is text", body.includes("<img src=x onerror=") && ran.taken === undefined && ran.made === 0, JSON.stringify(ran));

check("nothing broke the policy", (await page.evaluate(() => globalThis.violations.length)) === 0, await page.evaluate(() => globalThis.violations.join()));
check("no secret in an address", !addresses.some((a) => a.includes(TOKEN) || (a.includes(code) && !a.startsWith(ADDRESS))), addresses.find((a) => a.includes(TOKEN)));
check("the browser asks this daemon alone", addresses.every((a) => a.startsWith(new URL(base).origin) || a.startsWith("data:") || a.startsWith("blob:")), addresses.find((a) => !a.startsWith(new URL(base).origin)));
check("no script failed", trouble.length === 0, trouble.join(" | "));

// The same bundle in a webview, whose host passes messages on to the daemon.
const webview = await context.newPage();
const html = `<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-N'; style-src http://webview.test">
<link rel="stylesheet" href="app.css"><body class="vscode-dark" ><div id="app"></div><script nonce="N" src="app.js"></script></body>`;
await webview.route("http://webview.test/**", async (route) => {
  const file = new URL(route.request().url()).pathname.slice(1);
  if (file === "") return route.fulfill({ contentType: "text/html", body: html });
  return route.fulfill({ contentType: file.endsWith(".css") ? "text/css" : "text/javascript", body: await (await fetch(base + file)).text() });
});
const sent = [];
await webview.exposeFunction("toHost", async (m) => {
  sent.push(m);
  if (m.type !== "request") return;
  const r = await fetch(new URL(m.path, base), { method: m.method, body: m.body, headers: { Authorization: "Bearer " + TOKEN } });
  const body = await r.text();
  await webview.evaluate((answer) => postMessage(answer, "*"), { type: "response", id: m.id, status: r.status, body });
});
await webview.addInitScript(() => {
  let state;
  globalThis.acquireVsCodeApi = () => ({ postMessage: (m) => globalThis.toHost(m), getState: () => state, setState: (s) => { state = s; } });
});
await webview.goto("http://webview.test/");
await webview.locator(".grid .body .row").first().waitFor();
await webview.evaluate(() => postMessage({ type: "navigate", to: "check?iteration=i2&name=" + encodeURIComponent("the payment path stays fast") }, "*"));
await webview.locator(".plot svg").first().waitFor();
await webview.locator(".detail .link.mono").first().click();
for (let n = 0; n < 200 && !sent.some((m) => m.type === "open"); n++) await webview.waitForTimeout(50); // messages take their time
check("the same page in a webview", sent.some((m) => m.type === "ready") && sent.some((m) => m.type === "subscribe" && m.path === "/v1/events") && sent.every((m) => m.type !== "request" || m.path.startsWith("/v1/")),
  [...new Set(sent.map((m) => m.type))].join());
check("its host is asked to open the check", sent.some((m) => m.type === "open" && m.file.endsWith("checkout.netcheck.yaml") && m.line === 8), JSON.stringify(sent.filter((m) => m.type === "open")));
check("nothing broke the webview's policy", (await webview.evaluate(() => globalThis.violations.length)) === 0, await webview.evaluate(() => globalThis.violations.join()));
await webview.close();

// The daemon goes: the page says so and keeps what it shows.
await go("iterations?iteration=i2");
await page.locator(".checks").first().waitFor();
await run(DEVLOOP, ["down", "-q"], { timeout: 180_000 });
await page.locator(".loop .bad").waitFor();
check("a daemon that is gone is told, and what was shown stays", (await page.locator(".checks").count()) > 0, await page.locator(".loop").innerText());
await context.close();
