import * as vscode from "vscode";
import type { CheckResult, Iteration, Verdict } from "./daemon";
import type { Loop } from "./loop";
import { ledger } from "./report";

/** A row of one of the trees. */
interface Row {
	label: string;
	description?: string;
	tooltip?: string;
	icon?: vscode.ThemeIcon;
	command?: vscode.Command;
	rows?: Row[] | (() => Promise<Row[]>);
	id?: string;
}

function warning(e: unknown): Row {
	return { label: e instanceof Error ? e.message : String(e), icon: new vscode.ThemeIcon("warning") };
}

abstract class Tree implements vscode.TreeDataProvider<Row> {
	private readonly changes = new vscode.EventEmitter<undefined>();
	readonly onDidChangeTreeData = this.changes.event;

	constructor(protected readonly loop: Loop) {}

	refresh(): void {
		this.changes.fire(undefined);
	}

	getTreeItem(row: Row): vscode.TreeItem {
		const item = new vscode.TreeItem(row.label, row.rows ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None);
		Object.assign(item, { description: row.description, tooltip: row.tooltip, iconPath: row.icon, command: row.command, id: row.id });
		return item;
	}

	async getChildren(row?: Row): Promise<Row[]> {
		if (row) {
			return typeof row.rows === "function" ? row.rows().catch((e: unknown) => [warning(e)]) : row.rows ?? [];
		}
		if (!this.loop.state?.connected) {
			return [];
		}
		try {
			return await this.top();
		} catch (e) {
			return [warning(e)];
		}
	}

	protected abstract top(): Promise<Row[]>;
}

interface Snapshot {
	id: string;
	status: string;
	size_bytes: number;
	created_at: number;
	duration: string;
	packet_count: number;
	iteration?: string;
	revision?: string;
	source?: string;
	error?: string;
}

/** An iteration in short (internal/control, IterationInfo). */
interface Info {
	id: string;
	revision: string;
	trigger: string;
	phase: string;
	state: string;
	verdict?: Verdict;
	failing?: string[];
	failure?: string;
	calls: number;
	started_ns: number;
}

const shownIterations = 50;

/** Iterations are the turns of the loop, newest first, with what was not passed in each. */
export class Iterations extends Tree {
	protected async top(): Promise<Row[]> {
		const { iterations } = await this.loop.ask<{ iterations: Info[] }>("iterations", { limit: shownIterations });
		return iterations.map((it) => ({
			id: it.id, label: `${it.id} ${it.verdict ?? (it.failure ? `${it.phase} failed` : it.state === "running" ? it.phase : it.state)}`,
			description: [it.revision, `${it.calls} calls`, timeOf(it.started_ns / 1e6)].filter((t) => t !== "").join(" · "), tooltip: it.failure ?? it.failing?.join("\n"),
			icon: it.verdict ? iconOf(it.verdict) : new vscode.ThemeIcon(it.failure ? "error" : it.state === "running" ? "sync~spin" : "circle-slash"),
			rows: it.state === "running" ? undefined : () => this.inside(it.id),
		}));
	}

	private async inside(id: string): Promise<Row[]> {
		const it = await this.loop.ask<Iteration>("verdict", { iteration: id });
		const checks = (it.checks ?? []).filter((c) => !(c.builtin && c.verdict === "skipped"));
		const rows: Row[] = checks.filter((c) => c.verdict !== "pass" && c.verdict !== "skipped").map((c) => checkRow(it, c));
		if (it.failure) {
			rows.push({ label: `${it.failure.phase} failed`, description: it.failure.what, tooltip: it.failure.output, icon: new vscode.ThemeIcon("error") });
		}
		const passed = checks.filter((c) => c.verdict === "pass");
		if (passed.length > 0) {
			rows.push({ label: `${passed.length} passed`, icon: iconOf("pass"), rows: passed.map((c) => checkRow(it, c)) });
		}
		return [...rows, { label: "ledger", description: ledger(it), tooltip: ledger(it).replaceAll(" · ", "\n"), icon: new vscode.ThemeIcon("clock") }];
	}
}

function checkRow(it: Iteration, c: CheckResult): Row {
	return {
		label: c.group ? `${c.name} (${c.group})` : c.name, description: c.verdict === "pass" ? `n = ${c.n}` : c.reason, tooltip: c.reason, icon: iconOf(c.verdict),
		command: { title: "Show Evidence", command: "devloop.evidence", arguments: [it.id, c.name] },
	};
}

interface End {
	ip: string;
	port: number;
	svc?: string;
	pod?: string;
}

interface Call {
	id: string;
	ts: number;
	src: End;
	dst: End;
	proto: string;
	method: string;
	path: string;
	status: number;
	latency_ms: number;
	error?: string;
	state?: string;
}

const shownCalls = 200;

/** Calls are those of the newest iteration, newest first, narrowed by a filter. */
export class Calls extends Tree {
	filter = "";

	protected async top(): Promise<Row[]> {
		const iteration = this.loop.state?.iteration;
		if (iteration === undefined) {
			return [];
		}
		const answer = await this.loop.ask<{ calls: Call[]; total: number; why?: string }>("list_api_calls", { snapshot_id: iteration, kfl: this.filter, limit: shownCalls });
		const rows = answer.calls.map((c): Row => ({
			id: c.id, label: `${name(c.src)} → ${name(c.dst)} ${c.method} ${c.path}`, description: `${c.status || c.state || c.proto} · ${c.latency_ms.toFixed(1)} ms`,
			tooltip: `${c.id}\n${new Date(c.ts).toISOString()}${c.error ? `\n${c.error}` : ""}`,
			icon: c.error || c.status >= 500 ? new vscode.ThemeIcon("error", new vscode.ThemeColor("testing.iconFailed")) : new vscode.ThemeIcon("arrow-swap"),
			command: { title: "Show Call", command: "devloop.call", arguments: [c.id, iteration] },
		}));
		if (answer.total > rows.length) {
			rows.push({ label: `${rows.length} of ${answer.total}: filter them, or open the dashboard`, icon: new vscode.ThemeIcon("ellipsis") });
		}
		return rows.length > 0 ? rows : [{ label: answer.why ?? "no calls", icon: new vscode.ThemeIcon("info") }];
	}
}

function name(e: End): string {
	return e.svc || e.pod || `${e.ip}:${e.port}`;
}

/** Snapshots are sealed spans of packets. */
export class Snapshots extends Tree {
	protected async top(): Promise<Row[]> {
		const { snapshots } = await this.loop.ask<{ snapshots: Snapshot[] }>("list_snapshots", {});
		return snapshots.map((s) => ({
			id: s.id, label: s.id, description: s.error ?? `${s.packet_count} packets · ${(s.size_bytes / 1e6).toFixed(1)} MB · ${s.duration} · ${timeOf(s.created_at)}`,
			tooltip: [s.iteration && `of iteration ${s.iteration}`, s.revision, s.source].filter((t) => t).join(", "), icon: new vscode.ThemeIcon("archive"),
		}));
	}
}

function iconOf(v: Verdict): vscode.ThemeIcon {
	const of = { pass: ["pass", "testing.iconPassed"], fail: ["error", "testing.iconFailed"], error: ["warning", "testing.iconErrored"], inconclusive: ["question", "testing.iconQueued"], nodata: ["question", "testing.iconQueued"], skipped: ["circle-slash", "testing.iconSkipped"] }[v];
	return new vscode.ThemeIcon(of[0] as string, new vscode.ThemeColor(of[1] as string));
}

function timeOf(ms: number): string {
	return new Date(ms).toLocaleTimeString();
}
