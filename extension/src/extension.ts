import * as fs from "node:fs";
import * as path from "node:path";
import * as vscode from "vscode";
import type { LanguageClient } from "vscode-languageclient/node";
import { BinaryError, find } from "./binary";
import type { Iteration } from "./daemon";
import { Dashboard } from "./dashboard";
import { Loop } from "./loop";
import { offerServer } from "./mcp";
import { document } from "./report";
import type { Checks } from "./state";
import { StatusBar } from "./status";
import { Tests } from "./tests";
import { Calls, Iterations, Snapshots } from "./trees";

/** Where devloop's own documents come from: what a verdict rests on, and single calls. */
const scheme = "devloop";

/** activate registers everything and starts nothing: the program is looked for and started afterwards, and in a trusted workspace only. */
export function activate(context: vscode.ExtensionContext): void {
	const begun = performance.now();
	const log = vscode.window.createOutputChannel("devloop", { log: true });
	context.subscriptions.push(log);
	const folder = vscode.workspace.workspaceFolders?.find((f) => f.uri.scheme === "file")?.uri;
	if (folder === undefined) {
		log.info("no folder on a disk is open: nothing to do");
		return;
	}
	const extension = new Extension(context, log, folder);
	extension.register();
	void extension.start();
	context.subscriptions.push(vscode.workspace.onDidGrantWorkspaceTrust(() => void extension.start()));
	log.info(`activated in ${(performance.now() - begun).toFixed(1)} ms, ${where(vscode.env.remoteName, vscode.env.uiKind === vscode.UIKind.Web)}`);
}

/** where says which machine this runs on: with a remote window that is the remote one, where the services are. */
function where(remote: string | undefined, web: boolean): string {
	return `on ${remote === undefined ? "this machine" : `the remote machine ${remote}`}${web ? ", shown in a browser" : ""}`;
}

class Extension {
	private readonly loop: Loop;
	private readonly status = new StatusBar();
	private readonly tests: Tests;
	private readonly iterations: Iterations;
	private readonly calls: Calls;
	private readonly snapshots: Snapshots;
	private readonly dashboard: Dashboard;
	private client: LanguageClient | undefined;
	private server: vscode.Disposable | undefined; // the offer of the MCP server
	private starting: Promise<void> | undefined;
	private seen = ""; // what the trees show

	constructor(private readonly context: vscode.ExtensionContext, private readonly log: vscode.LogOutputChannel, private readonly folder: vscode.Uri) {
		this.loop = new Loop(folder);
		this.tests = new Tests(this.loop, async () => (this.client?.isRunning() ? this.client.sendRequest<Checks>("devloop/checks") : undefined));
		this.iterations = new Iterations(this.loop);
		this.calls = new Calls(this.loop);
		this.snapshots = new Snapshots(this.loop);
		this.dashboard = new Dashboard(this.loop, vscode.Uri.joinPath(context.extensionUri, "dist", "dashboard"));
	}

	register(): void {
		const on = (command: string, f: (...args: string[]) => unknown): vscode.Disposable => vscode.commands.registerCommand(`devloop.${command}`, f);
		const verb = (name: string): vscode.Disposable => on(name, async () => {
			await this.starting; // whoever asks right after the window opened waits for the program to be found
			await this.loop.terminal(name, [name]);
		});
		const checkFiles = vscode.workspace.createFileSystemWatcher("**/*.netcheck.{yaml,yml}");
		this.context.subscriptions.push(
			this.loop, this.status, this.tests, this.dashboard, { dispose: () => void this.stop() },
			vscode.window.registerTreeDataProvider("devloop.iterations", this.iterations),
			vscode.window.registerTreeDataProvider("devloop.calls", this.calls),
			vscode.window.registerTreeDataProvider("devloop.snapshots", this.snapshots),
			vscode.workspace.registerTextDocumentContentProvider(scheme, { provideTextDocumentContent: (uri) => this.text(uri) }),
			this.loop.onChange((state) => {
				this.status.show(state);
				const now = JSON.stringify([state.connected, state.iteration, state.current]);
				if (now !== this.seen) {
					this.seen = now;
					this.refresh();
				}
			}),
			vscode.workspace.onDidChangeTextDocument((e) => {
				if (/\.netcheck\.ya?ml$/.test(e.document.fileName)) {
					this.later();
				}
			}),
			checkFiles, checkFiles.onDidCreate(() => this.later()), checkFiles.onDidDelete(() => this.later()), checkFiles.onDidChange(() => this.later()),
			vscode.workspace.onDidChangeConfiguration((e) => {
				if (e.affectsConfiguration("devloop.path")) {
					void this.restart();
				}
			}),
			verb("up"), verb("down"), verb("doctor"), verb("init"),
			on("suggest", () => this.suggest()),
			on("accept", () => this.accept()),
			on("run", (name?: string) => this.run(name)),
			on("evidence", (iteration?: string, check?: string) => this.evidence(iteration, check)),
			on("call", (id: string, iteration: string) => this.show("call", iteration, id)),
			on("dashboard", (to?: string) => this.dashboard.open(typeof to === "string" ? to : this.newest())),
			on("filterCalls", () => this.filterCalls()),
			on("refresh", () => this.refresh()),
			on("restart", () => this.restart()),
			on("menu", () => this.menu()),
		);
		this.status.show(undefined);
	}

	/** start finds the program and starts the language server. In a workspace that is not trusted it does nothing. */
	start(): Promise<void> {
		this.starting ??= this.begin().finally(() => (this.starting = undefined));
		return this.starting;
	}

	private async begin(): Promise<void> {
		if (!vscode.workspace.isTrusted || this.client) {
			return;
		}
		try {
			this.trouble("");
			const setting = vscode.workspace.getConfiguration("devloop").get<string>("path", "").trim();
			this.loop.binary = await find({ setting, extension: this.context.extensionPath, path: process.env["PATH"] ?? "", platform: process.platform });
			this.log.info(`devloop ${this.loop.binary.version} at ${this.loop.binary.path}`);
			const { startServer } = await import("./client"); // most of what there is to load, so not while the window waits
			const workspace = await this.workspace();
			this.client = await startServer(this.loop.binary.path, workspace, this.log, (state) => this.loop.set(state), (why) => this.trouble(why, why));
			this.server = offerServer(this.loop.binary, workspace.fsPath);
			await this.tests.refresh();
		} catch (e) {
			const what = e instanceof Error ? e.message : String(e);
			this.client = undefined;
			this.trouble(what, e instanceof BinaryError ? `${what} ${e.next}` : what);
		}
	}

	/** workspace is the folder with devloop.yaml: the one that is open, or else the nearest within it. */
	private async workspace(): Promise<vscode.Uri> {
		if (["devloop.yaml", "devloop.yml"].some((name) => fs.existsSync(path.join(this.folder.fsPath, name)))) {
			return this.folder;
		}
		const found = await vscode.workspace.findFiles(new vscode.RelativePattern(this.folder, "**/devloop.{yaml,yml}"), "**/{node_modules,vendor,.git}/**", 100);
		found.sort((a, b) => a.path.split("/").length - b.path.split("/").length || a.path.localeCompare(b.path));
		return found[0] ? vscode.Uri.joinPath(found[0], "..") : this.folder;
	}

	/** trouble says why nothing works: in the status bar, and once as a message with the next step. */
	private trouble(why: string, message = ""): void {
		void vscode.commands.executeCommand("setContext", "devloop.trouble", why !== "");
		this.status.show(this.loop.state, why);
		if (message === "") {
			return;
		}
		this.log.error(message);
		const settings = "Open Settings";
		const again = "Try Again";
		void vscode.window.showErrorMessage(message, settings, again).then((chosen) => {
			if (chosen === settings) {
				void vscode.commands.executeCommand("workbench.action.openSettings", "devloop.path");
			} else if (chosen === again) {
				void this.restart();
			}
		});
	}

	private async stop(): Promise<void> {
		this.server?.dispose();
		this.server = undefined;
		const client = this.client;
		this.client = undefined;
		try {
			await client?.dispose(2000);
		} catch {
			// it has ended already
		}
	}

	private async restart(): Promise<void> {
		await this.starting;
		await this.stop();
		await this.start();
	}

	private refresh(): void {
		this.iterations.refresh();
		this.calls.refresh();
		this.snapshots.refresh();
		this.tests.refresh().catch((e: unknown) => this.log.warn(`the list of checks: ${String(e)}`));
	}

	private timer: NodeJS.Timeout | undefined;

	/** later reads the checks again once typing pauses. */
	private later(): void {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => void this.tests.refresh().catch(() => undefined), 300);
	}

	private async run(name: unknown): Promise<void> {
		if (!this.loop.state?.found) {
			void vscode.window.showInformationMessage("There is no devloop.yaml in this workspace yet.", "Write One").then((chosen) => chosen && vscode.commands.executeCommand("devloop.init"));
			return;
		}
		await this.tests.runNamed(typeof name === "string" ? name : undefined);
	}

	/** evidence shows what a verdict rests on. Without a check it asks for one of those that did not pass. */
	private async evidence(iteration?: string, check?: string): Promise<void> {
		iteration ??= this.loop.state?.iteration;
		if (iteration === undefined) {
			void vscode.window.showInformationMessage("No iteration was judged yet.");
			return;
		}
		if (check === undefined) {
			const it = await this.loop.ask<Iteration>("verdict", { iteration });
			const bad = (it.checks ?? []).filter((c) => c.verdict !== "pass" && c.verdict !== "skipped");
			check = (await vscode.window.showQuickPick(bad.map((c) => ({ label: c.name, description: c.verdict, detail: c.reason })), { placeHolder: `What did not pass in ${iteration}` }))?.label;
		}
		if (check !== undefined) {
			await this.show("check", iteration, check);
		}
	}

	private async show(kind: string, iteration: string, name: string): Promise<void> {
		const uri = vscode.Uri.from({ scheme, path: `/${iteration}/${name.replaceAll("/", "∕")}.${kind === "call" ? "json" : "txt"}`, query: JSON.stringify([kind, iteration, name]) });
		await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: true });
	}

	private async text(uri: vscode.Uri): Promise<string> {
		const [kind, iteration, name] = JSON.parse(uri.query) as [string, string, string];
		try {
			if (kind === "call") {
				return JSON.stringify(await this.loop.ask("get", { id: name, iteration }), undefined, 2);
			}
			const it = await this.loop.ask<Iteration>("verdict", { iteration });
			return document(it, (it.checks ?? []).filter((c) => c.name === name));
		} catch (e) {
			return e instanceof Error ? e.message : String(e);
		}
	}

	/** suggest drafts checks from what was seen, as a file that is not saved yet. */
	private async suggest(): Promise<void> {
		try {
			const drafted = await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: "devloop drafts checks" }, () => this.loop.ask<{ yaml: string }>("checks_suggest", {}));
			await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({ language: "yaml", content: drafted.yaml }));
		} catch (e) {
			void vscode.window.showWarningMessage(e instanceof Error ? e.message : String(e));
		}
	}

	/** newest is where the dashboard begins: at what was judged last. */
	private newest(): string | undefined {
		const id = this.loop.state?.iteration;
		return id === undefined ? undefined : `iteration?id=${encodeURIComponent(id)}`;
	}

	private async filterCalls(): Promise<void> {
		const filter = await vscode.window.showInputBox({ prompt: "Which calls, in KFL; empty for all", value: this.calls.filter, placeHolder: "http && status_code >= 500" });
		if (filter !== undefined) {
			this.calls.filter = filter;
			this.calls.refresh();
		}
	}

	private async accept(): Promise<void> {
		const reason = await vscode.window.showInputBox({ prompt: "Why the services may speak otherwise now; it is written into the baseline" });
		if (reason) {
			await this.loop.terminal("baseline", ["baseline", "accept", "--reason", reason]);
		}
	}

	private async menu(): Promise<void> {
		const connected = this.loop.state?.connected ?? false;
		const all: [string, string, boolean][] = [
			["Open Dashboard", "dashboard", connected], ["Start the Loop", "up", true], ["Run and Judge Once", "run", true], ["Show Evidence", "evidence", connected],
			["Suggest Checks from Traffic", "suggest", connected], ["End the Loop and Its Services", "down", connected], ["What Works on This Machine", "doctor", true], ["Restart Language Server", "restart", true],
		];
		if (!vscode.workspace.isTrusted) {
			await vscode.commands.executeCommand("workbench.trust.manage");
			return;
		}
		const chosen = await vscode.window.showQuickPick(all.filter(([, , now]) => now).map(([label, command]) => ({ label, command })), { placeHolder: "devloop" });
		if (chosen) {
			await vscode.commands.executeCommand(`devloop.${chosen.command}`);
		}
	}
}
