import * as http from "node:http";

/** What a failed request says, and the next command to type. */
export class DaemonError extends Error {
	constructor(message: string, readonly hint = "") {
		super(hint === "" ? message : `${message}. Next: ${hint}`);
	}
}

/** The longest line of an answer that is taken: a page of calls with bodies. */
const maxLine = 64 << 20;

/** post sends a request to the daemon's socket and calls onLine for each line of the answer. It resolves with the HTTP status. */
export function post(socket: string, path: string, body: string, onLine: (line: string) => void, signal?: AbortSignal): Promise<number> {
	return new Promise((resolve, reject) => {
		const request = http.request({ socketPath: socket, path, method: "POST", headers: { "Content-Type": "application/json", Host: "devloop" }, signal }, (answer) => {
			let rest = "";
			answer.setEncoding("utf8");
			answer.on("data", (chunk: string) => {
				rest += chunk;
				for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
					onLine(rest.slice(0, end));
					rest = rest.slice(end + 1);
				}
				if (rest.length > maxLine) {
					request.destroy(new DaemonError("the answer is larger than 64 MiB"));
				}
			});
			answer.on("end", () => {
				if (rest !== "") {
					onLine(rest);
				}
				resolve(answer.statusCode ?? 0);
			});
			answer.on("error", reject);
		});
		request.on("error", reject);
		request.end(body);
	});
}

/** reaches says whether this runtime can open the daemon's socket: on Windows it opens pipes of that system only. */
export function reaches(platform: NodeJS.Platform): boolean {
	return platform !== "win32";
}

/** unreachable is what an error of connecting means; undefined for what is none. */
export function unreachable(code: string | undefined, platform: NodeJS.Platform): DaemonError | undefined {
	if (!reaches(platform) && /^E(NOENT|CONNREFUSED|ACCES|PERM|INVAL|NOTSUP)$/.test(code ?? "")) {
		return new DaemonError("on Windows the editor cannot open the daemon's socket", "devloop dashboard, in a terminal");
	}
	return code === "ENOENT" || code === "ECONNREFUSED" ? new DaemonError("no daemon runs for this workspace", "devloop up") : undefined;
}

export interface Event {
	iteration?: Iteration;
	message?: string;
	output?: string;
	result?: unknown;
	failed?: { error: string; hint?: string };
}

/** ask asks one of the daemon's methods. onEvent is called as it goes. */
export async function ask<T>(socket: string, method: string, request: unknown, onEvent?: (e: Event) => void, signal?: AbortSignal): Promise<T> {
	let last: Event | undefined;
	let bad = "";
	try {
		await post(socket, `/v1/${method}`, JSON.stringify(request), (line) => {
			try {
				last = JSON.parse(line) as Event;
				if (last.result === undefined && last.failed === undefined) {
					onEvent?.(last);
				}
			} catch {
				bad = line;
			}
		}, signal);
	} catch (e) {
		throw unreachable((e as NodeJS.ErrnoException).code, process.platform) ?? e;
	}
	if (last?.failed) {
		throw new DaemonError(last.failed.error, last.failed.hint);
	}
	if (last === undefined || last.result === undefined) {
		throw new DaemonError(bad === "" ? `the daemon ended in the middle of ${method}` : `the daemon's answer to ${method} cannot be read: ${bad.slice(0, 200)}`, "devloop version, here and there: they may be of different builds");
	}
	return last.result as T;
}

// What the daemon tells, as far as it is used here (internal/control, traffic).

export type Verdict = "pass" | "fail" | "inconclusive" | "nodata" | "error" | "skipped";

export interface Term {
	text: string;
	value: string;
	low?: string;
	high?: string;
	n: number;
}

export interface Evidence {
	call?: string;
	summary: string;
}

export interface CheckResult {
	name: string;
	file?: string;
	line?: number;
	builtin?: boolean;
	group?: string;
	on: string;
	expect: string;
	severity: string;
	verdict: Verdict;
	reason: string;
	n: number;
	unit?: string;
	terms?: Term[];
	evidence?: Evidence[];
	evidence_total?: number;
	loss?: string;
	need_more?: number;
}

export interface Iteration {
	id: string;
	revision: string;
	trigger: string;
	phase: string;
	state: string;
	verdict?: Verdict;
	checks?: CheckResult[];
	failure?: { phase: string; what: string; output?: string; hint?: string };
	calls: number;
	ledger: { phase: string; ns: number }[];
	started_ns: number;
	ended_ns?: number;
	warnings?: string[];
}
