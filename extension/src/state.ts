import type { CheckResult, Verdict } from "./daemon";

/** How things stand, as `devloop lsp` tells it (lsp/state.go). */
export interface State {
	workspace: string;
	found: boolean;
	socket?: string;
	connected: boolean;
	running: boolean;
	revision?: string;
	phase: string;
	current?: string;
	iteration?: string;
	judged?: string;
	verdict?: Verdict;
	failure?: { phase: string; what: string; hint?: string };
	stale: boolean;
}

interface Place {
	line: number;
	character: number;
}

export interface Span {
	start: Place;
	end: Place;
}

export interface CheckItem {
	name: string;
	range: Span;
	expect: Span;
	stale: boolean;
	results: CheckResult[];
}

export interface CheckFile {
	uri: string;
	file: string;
	error?: string;
	checks: CheckItem[];
}

export interface Checks {
	iteration?: string;
	revision?: string;
	files: CheckFile[];
	builtin: CheckResult[];
}

/** What the status bar shows. */
export interface Shown {
	text: string;
	tooltip: string;
	error: boolean;
	warning: boolean;
}

const icons: Record<Verdict, string> = { pass: "$(pass)", fail: "$(error)", inconclusive: "$(question)", nodata: "$(question)", error: "$(warning)", skipped: "$(circle-slash)" };

/** shown is a state in the few words of a status bar: revision, phase, verdict. */
export function shown(s: State | undefined, trusted: boolean, trouble: string): Shown {
	const calm = (text: string, tooltip: string): Shown => ({ text, tooltip, error: false, warning: false });
	if (!trusted) {
		return calm("$(shield) devloop", "The workspace is not trusted: devloop starts nothing.");
	}
	if (trouble !== "") {
		return { text: "$(warning) devloop", tooltip: trouble, error: false, warning: true };
	}
	if (s === undefined) {
		return calm("$(loading~spin) devloop", "The language server starts.");
	}
	const verdict = s.verdict === undefined ? "" : ` · ${s.verdict}${s.stale ? " (stale)" : ""}`;
	if (!s.found) {
		return calm("$(circle-slash) devloop", "There is no devloop.yaml in this workspace.");
	}
	if (!s.connected) {
		const last = s.verdict === undefined ? "" : ` The last verdict was ${s.verdict} (${s.iteration ?? ""}).`;
		return calm(`$(circle-slash) devloop${verdict}`, `Nothing runs: start the loop.${last}`);
	}
	const name = s.revision ? `devloop ${s.revision}` : "devloop";
	if (s.phase !== "idle" && s.phase !== "done") {
		return calm(`$(sync~spin) ${name} · ${s.phase}`, `${s.current ?? "An iteration"} is in phase ${s.phase}.`);
	}
	if (s.failure) {
		return { text: `$(error) ${name} · ${s.failure.phase} failed`, tooltip: s.failure.what, error: true, warning: false };
	}
	if (s.verdict === undefined) {
		return calm(`$(circle-outline) ${name}`, "No iteration was judged yet.");
	}
	return {
		text: `${icons[s.verdict]} devloop ${s.judged ?? ""}${verdict}`,
		tooltip: `${s.iteration ?? ""} of ${s.judged ?? ""}: ${s.verdict}${s.stale ? ". Files or services have changed since." : ""}`,
		error: !s.stale && (s.verdict === "fail" || s.verdict === "error"),
		warning: !s.stale && (s.verdict === "inconclusive" || s.verdict === "nodata"),
	};
}
