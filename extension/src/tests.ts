import * as vscode from "vscode";
import type { CheckResult, Event, Iteration } from "./daemon";
import type { Loop } from "./loop";
import { actual, evidence, headline } from "./report";
import type { CheckFile, Checks, Span } from "./state";

/** Tests are the checks of the workspace in the Test Explorer. */
export class Tests implements vscode.Disposable {
	private readonly controller = vscode.tests.createTestController("devloop", "devloop");
	private published = ""; // the iteration whose results are shown
	private running = 0;
	private readonly stale = new Map<string, boolean>(); // by item

	constructor(private readonly loop: Loop, private readonly checks: () => Promise<Checks | undefined>) {
		this.controller.createRunProfile("Run and Judge", vscode.TestRunProfileKind.Run, (request, token) => this.run(request, token), true);
		this.controller.refreshHandler = () => this.refresh();
	}

	/** refresh reads the list of checks anew, and shows the results of an iteration that somebody else ran. */
	async refresh(): Promise<void> {
		const all = await this.checks();
		if (all === undefined) {
			return;
		}
		const files = all.files.map((file) => this.file(file));
		if (all.builtin.length > 0) {
			files.push(this.builtin(all.builtin));
		}
		this.controller.items.replace(files);
		if (all.iteration !== undefined && all.iteration !== this.published && this.running === 0) {
			this.published = all.iteration;
			const results = [...all.files.flatMap((f) => f.checks.flatMap((c) => c.results)), ...all.builtin];
			const run = this.controller.createTestRun(new vscode.TestRunRequest(), `${all.iteration} of ${all.revision ?? ""}`, false);
			this.publish(run, results, all.iteration);
			run.end();
		}
		for (const file of all.files) {
			for (const check of file.checks) {
				this.invalidate(file, check.name, check.stale);
			}
		}
	}

	/** A check that was changed since its result is shown as such. */
	private invalidate(file: CheckFile, name: string, stale: boolean): void {
		const id = idOf(file.file, name);
		const item = this.controller.items.get(file.file)?.children.get(id);
		if (item && stale && !this.stale.get(id)) {
			this.controller.invalidateTestResults(item);
		}
		this.stale.set(id, stale);
	}

	private file(file: CheckFile): vscode.TestItem {
		const item = this.controller.items.get(file.file) ?? this.controller.createTestItem(file.file, file.file, vscode.Uri.parse(file.uri));
		item.error = file.error;
		item.children.replace(
			file.checks.map((check) => {
				const id = idOf(file.file, check.name);
				const child = item.children.get(id) ?? this.controller.createTestItem(id, check.name, vscode.Uri.parse(file.uri));
				child.range = rangeOf(check.range);
				expectations.set(child, rangeOf(check.expect));
				return child;
			}),
		);
		return item;
	}

	/** Built-in checks have no file; those are listed that had something to look at. */
	private builtin(results: CheckResult[]): vscode.TestItem {
		const item = this.controller.items.get(builtinID) ?? this.controller.createTestItem(builtinID, "built in");
		item.sortText = "~";
		item.children.replace([...new Set(results.map((r) => r.name))].map((name) => {
			const id = idOf("", name);
			return item.children.get(id) ?? this.controller.createTestItem(id, name);
		}));
		return item;
	}

	/** run runs an iteration that judges the checks that were asked for, and shows what it says of them. */
	async run(request: vscode.TestRunRequest, token: vscode.CancellationToken): Promise<void> {
		const items = this.leaves(request);
		const run = this.controller.createTestRun(request);
		items.forEach((item) => run.enqueued(item));
		const abort = new AbortController();
		const listener = token.onCancellationRequested(() => abort.abort());
		this.running++;
		try {
			const names = request.include === undefined && request.exclude === undefined ? [] : [...new Set(items.map((item) => item.label))];
			let phase = "";
			const it = await this.loop.run(names, (e: Event) => {
				if (e.output !== undefined || e.message !== undefined) {
					run.appendOutput(lines(e.output ?? `${e.message ?? ""}\n`));
				}
				if (e.iteration && e.iteration.phase !== phase) {
					phase = e.iteration.phase;
					run.appendOutput(`${e.iteration.id} ${phase}\r\n`);
					if (phase === "exercise") {
						items.forEach((item) => run.started(item));
					}
				}
			}, abort.signal);
			this.published = it.id;
			this.finish(run, items, it);
		} catch (e) {
			const said = e instanceof Error ? e.message : String(e);
			for (const item of items) {
				if (abort.signal.aborted) {
					run.skipped(item);
				} else {
					run.errored(item, new vscode.TestMessage(said));
				}
			}
			run.appendOutput(lines(`${said}\n`));
		} finally {
			this.running--;
			listener.dispose();
			run.end();
		}
	}

	private finish(run: vscode.TestRun, items: vscode.TestItem[], it: Iteration): void {
		const found = this.publish(run, it.checks ?? [], it.id);
		const failure = it.failure;
		const text = failure ? [`${failure.phase} failed: ${failure.what}`, failure.output ?? "", failure.hint === undefined ? "" : `next: ${failure.hint}`].filter((l) => l !== "").join("\n") : "";
		for (const item of items.filter((item) => !found.has(item.id))) {
			if (failure) {
				run.errored(item, new vscode.TestMessage(text));
			} else {
				run.skipped(item);
			}
		}
		if (text !== "") {
			run.appendOutput(lines(`${text}\n`));
		}
	}

	/** publish shows results, and returns the items that have one. A check that has results for several groups has its gravest. */
	private publish(run: vscode.TestRun, results: CheckResult[], iteration: string): Set<string> {
		const byItem = new Map<string, CheckResult[]>();
		for (const r of results) {
			const id = idOf(r.file ?? "", r.name);
			byItem.set(id, [...(byItem.get(id) ?? []), r]);
		}
		for (const [id, list] of byItem) {
			const first = list[0];
			const item = this.controller.items.get(first?.builtin ? builtinID : first?.file ?? "")?.children.get(id);
			if (item === undefined) {
				continue; // the file was renamed, or the check taken out, meanwhile
			}
			const bad = list.filter((r) => r.verdict !== "pass" && r.verdict !== "skipped");
			const messages = bad.map((r) => messageOf(item, r, iteration));
			if (bad.some((r) => r.verdict === "fail")) {
				run.failed(item, messages);
			} else if (bad.length > 0) {
				run.errored(item, messages); // unknown is never a pass
			} else if (list.every((r) => r.verdict === "skipped")) {
				run.skipped(item);
			} else {
				run.passed(item);
			}
			for (const r of list) {
				run.appendOutput(lines([`${item.label}: ${headline(r)}`, evidence(r), ""].filter((t, i) => t !== "" || i === 2).join("\n")), undefined, item);
			}
		}
		return new Set(byItem.keys());
	}

	/** leaves are the checks of a request. */
	private leaves(request: vscode.TestRunRequest): vscode.TestItem[] {
		const list: vscode.TestItem[] = [];
		const excluded = new Set(request.exclude?.map((item) => item.id));
		const add = (item: vscode.TestItem): void => {
			if (excluded.has(item.id)) {
				return;
			}
			if (item.parent) {
				list.push(item);
			}
			item.children.forEach(add);
		};
		if (request.include) {
			request.include.forEach(add);
		} else {
			this.controller.items.forEach(add);
		}
		return list;
	}

	/** runNamed runs one check, or all without a name, as a click in the Test Explorer would: what is judged are files as they are saved. */
	async runNamed(name?: string): Promise<void> {
		if (vscode.workspace.getConfiguration("testing").get<boolean>("saveBeforeTest", true)) {
			await vscode.workspace.saveAll(false);
		}
		const include: vscode.TestItem[] = [];
		this.controller.items.forEach((file) => file.children.forEach((item) => {
			if (item.label === name) {
				include.push(item);
			}
		}));
		const source = new vscode.CancellationTokenSource();
		await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: "devloop runs", cancellable: true }, (_, token) => {
			token.onCancellationRequested(() => source.cancel());
			return this.run(new vscode.TestRunRequest(include.length > 0 ? include : undefined), source.token);
		});
		source.dispose();
	}

	dispose(): void {
		this.controller.dispose();
	}
}

const builtinID = "builtin";
const expectations = new WeakMap<vscode.TestItem, vscode.Range>(); // where each item's expectation stands

function idOf(file: string, name: string): string {
	return JSON.stringify([file, name]);
}

function rangeOf(s: Span): vscode.Range {
	return new vscode.Range(s.start.line, s.start.character, s.end.line, s.end.character);
}

/** lines are what a test's output takes: a terminal's. */
function lines(text: string): string {
	return text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "").replaceAll("\n", "\r\n");
}

function messageOf(item: vscode.TestItem, r: CheckResult, iteration: string): vscode.TestMessage {
	const text = [`${headline(r)} (${iteration})`, r.loss ?? "", evidence(r)].filter((t) => t !== "").join("\n");
	const message = vscode.TestMessage.diff(text, r.expect.trim(), actual(r));
	const at = expectations.get(item);
	if (item.uri && at) {
		message.location = new vscode.Location(item.uri, at);
	}
	return message;
}
