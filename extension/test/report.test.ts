import assert from "node:assert/strict";
import { test } from "node:test";
import type { CheckResult } from "../src/daemon";
import { allowed } from "../src/paths";
import { actual, evidence, headline } from "../src/report";

const result: CheckResult = {
	name: "stays fast", on: "http", expect: 'p95(latency) < duration("1s")', severity: "error", verdict: "fail", reason: "too slow", n: 9,
	terms: [{ text: "p95(latency)", value: "2 s", low: "1 s", high: "3 s", n: 9 }], evidence: [{ summary: "a → b GET / 200 in 2 s" }], evidence_total: 4,
};

test("a result as text", () => {
	assert.equal(headline({ ...result, group: "b" }), "fail (b): too slow");
	assert.equal(actual(result), "p95(latency) = 2 s [1 s, 3 s] (n = 9)");
	assert.equal(actual({ ...result, terms: [] }), "too slow");
	assert.equal(evidence(result), "evidence:\n  a → b GET / 200 in 2 s\n  and 3 more");
	assert.equal(evidence({ ...result, evidence: undefined }), "");
});

test("what the page may ask for", () => {
	assert.ok(allowed("/v1/list_api_calls", false));
	assert.ok(allowed("/v1/events", true));
	for (const path of ["/v1/down", "/v1/run/../down", "/dashboard/", "list_api_calls", "", undefined]) {
		assert.equal(allowed(path, false), false, path);
	}
	assert.equal(allowed("/v1/down", true), false);
});
