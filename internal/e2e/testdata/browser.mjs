// A browser that a test drives: one request a line on standard input, {"do": name, ...}, and one answer a line on standard output.
// Arguments: the folder of node_modules with playwright-core, and the browser's program.
import { createRequire } from "node:module";
import * as readline from "node:readline";

const [modules, program] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const asked = new Set(); // hosts
const pages = []; // windows, each of a context of its own, as of another person
let page;
await turn(0);

/** turn goes to a window, and opens it where there is none of that number. */
async function turn(n) {
	if (!pages[n]) {
		pages[n] = await (await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark" })).newPage();
		pages[n].setDefaultTimeout(20_000);
		pages[n].on("request", (r) => asked.add(new URL(r.url()).hostname));
	}
	page = pages[n];
}

const does = {
	turn: ({ window }) => turn(window).then(() => null),
	close: () => page.context().close().then(() => null),
	open: ({ url }) => page.goto(url, { waitUntil: "domcontentloaded", timeout: 60_000 }).then(() => null),
	wait: ({ selector, text }) => find(selector, text).waitFor().then(() => null),
	click: ({ selector, text, modifiers }) => find(selector, text).click({ modifiers }).then(() => null),
	hover: ({ selector, text }) => find(selector, text).hover().then(() => null),
	press: ({ text }) => page.keyboard.press(text).then(() => null),
	type: ({ text }) => page.keyboard.insertText(text).then(() => null),
	texts: ({ selector, attribute }) => page.locator(selector).evaluateAll((all, name) => all.map((e) => (name ? e.getAttribute(name) : e.innerText) ?? ""), attribute),
	// What the frames within the page show: webviews.
	frames: async () => (await Promise.all(page.frames().slice(1).map((f) => f.evaluate(() => document.body?.innerText ?? "").catch(() => "")))).filter((t) => t !== ""),
	hosts: async () => [...asked].sort(),
	shot: ({ file }) => page.screenshot({ path: file, animations: "disabled" }).then(() => null),
};

function find(selector, text) {
	return page.locator(selector, text ? { hasText: text } : undefined).first();
}

for await (const line of readline.createInterface({ input: process.stdin })) {
	const request = JSON.parse(line);
	let answer;
	try {
		answer = { answer: await does[request.do](request) };
	} catch (e) {
		answer = { error: String(e.message ?? e).split("\n").slice(0, 6).join("\n") };
	}
	process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
