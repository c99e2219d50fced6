import assert from "node:assert/strict";
import { test } from "node:test";
import { shown, type State } from "../src/state";

const idle: State = { workspace: "/w", found: true, connected: true, running: true, revision: "r3", phase: "idle", iteration: "i5", judged: "r3", verdict: "pass", stale: false };

test("the status bar in each state", () => {
	const cases: [string, State | undefined, string, boolean][] = [
		["before the language server", undefined, "$(loading~spin) devloop", false],
		["without devloop.yaml", { ...idle, found: false }, "$(circle-slash) devloop", false],
		["without a daemon", { ...idle, connected: false, verdict: undefined, iteration: undefined }, "$(circle-slash) devloop", false],
		["a daemon that has gone", { ...idle, connected: false, stale: true }, "$(circle-slash) devloop · pass (stale)", false],
		["a phase", { ...idle, phase: "exercise", current: "i6" }, "$(sync~spin) devloop r3 · exercise", false],
		["the first build", { ...idle, revision: "", phase: "build" }, "$(sync~spin) devloop · build", false],
		["a pass", idle, "$(pass) devloop r3 · pass", false],
		["a failure", { ...idle, verdict: "fail" }, "$(error) devloop r3 · fail", true],
		["a failure of what was", { ...idle, verdict: "fail", stale: true }, "$(error) devloop r3 · fail (stale)", false],
		["what does not build", { ...idle, failure: { phase: "build", what: "does not build" } }, "$(error) devloop r3 · build failed", true],
		["no verdict yet", { ...idle, verdict: undefined }, "$(circle-outline) devloop r3", false],
	];
	for (const [what, state, text, error] of cases) {
		const got = shown(state, true, "");
		assert.equal(got.text, text, what);
		assert.equal(got.error, error, what);
		assert.notEqual(got.tooltip, "", what);
	}
	assert.ok(shown({ ...idle, verdict: "inconclusive" }, true, "").warning, "unknown is no pass");
	assert.match(shown(idle, false, "").text, /shield/);
	assert.match(shown(idle, true, "no program").tooltip, /no program/);
});
