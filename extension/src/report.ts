import type { CheckResult, Iteration } from "./daemon";

// Results as text. What stands in them was captured from the network: it is shown as text and never as Markdown.

/** actual is what was measured, a line for each term of the expectation. */
export function actual(r: CheckResult): string {
	const lines = (r.terms ?? []).map((t) => `${t.text} = ${t.value}${t.low !== undefined && t.low !== t.high ? ` [${t.low}, ${t.high ?? ""}]` : ""} (n = ${t.n})`);
	return lines.length > 0 ? lines.join("\n") : r.reason;
}

/** evidence is what a verdict rests on, a call a line. */
export function evidence(r: CheckResult): string {
	const list = r.evidence ?? [];
	if (list.length === 0) {
		return "";
	}
	const more = (r.evidence_total ?? list.length) - list.length;
	return ["evidence:", ...list.map((e) => `  ${e.summary}`), ...(more > 0 ? [`  and ${more} more`] : [])].join("\n");
}

/** headline is a result in one line. */
export function headline(r: CheckResult): string {
	return `${r.verdict}${r.group === undefined || r.group === "" ? "" : ` (${r.group})`}: ${r.reason}`;
}

/** document is the proof of a check's verdict, to read. */
export function document(iteration: Iteration, results: CheckResult[]): string {
	const out = [`${results[0]?.name ?? ""}`, `${iteration.id} of ${iteration.revision}`, ""];
	for (const r of results) {
		out.push(headline(r), "", `on      ${r.on}`, `expect  ${r.expect.trim()}`, "", actual(r));
		for (const text of [r.loss ?? "", evidence(r)]) {
			if (text !== "") {
				out.push("", text);
			}
		}
		out.push("");
	}
	return out.join("\n");
}

/** ledger is where an iteration's time went. */
export function ledger(it: Iteration): string {
	return it.ledger.filter((p) => p.ns >= 1e6).map((p) => `${p.phase} ${Math.round(p.ns / 1e6)} ms`).join(" · ");
}
