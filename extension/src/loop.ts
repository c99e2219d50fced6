import { spawn } from "node:child_process";
import * as vscode from "vscode";
import { ask, DaemonError, reaches, type Event, type Iteration } from "./daemon";
import type { Binary } from "./binary";
import type { State } from "./state";

/** Loop is the workspace's loop as the rest of the extension sees it: how it stands, and what can be asked of it. */
export class Loop implements vscode.Disposable {
	private readonly changes = new vscode.EventEmitter<State>();
	readonly onChange = this.changes.event;
	state: State | undefined;
	binary: Binary | undefined;

	constructor(readonly folder: vscode.Uri) {}

	set(state: State): void {
		this.state = state;
		for (const key of ["found", "connected"] as const) {
			void vscode.commands.executeCommand("setContext", `devloop.${key}`, state[key]);
		}
		this.changes.fire(state);
	}

	/** workspace is the folder of devloop.yaml. */
	get workspace(): string {
		return this.state?.workspace ?? this.folder.fsPath;
	}

	ask<T>(method: string, request: unknown, onEvent?: (e: Event) => void, signal?: AbortSignal): Promise<T> {
		const state = this.state;
		if (!state?.connected || state.socket === undefined) {
			return Promise.reject(new DaemonError("no daemon runs for this workspace", "start the loop"));
		}
		return ask<T>(state.socket, method, request, onEvent, signal);
	}

	/** run runs one iteration: through the daemon, or where none runs or can be reached through the command, which starts one. */
	run(checks: string[], onEvent: (e: Event) => void, signal: AbortSignal): Promise<Iteration> {
		return this.state?.connected && reaches(process.platform) ? this.ask<Iteration>("run", { checks }, onEvent, signal) : this.command(checks, onEvent, signal);
	}

	private command(checks: string[], onEvent: (e: Event) => void, signal: AbortSignal): Promise<Iteration> {
		const binary = this.binary;
		if (binary === undefined) {
			return Promise.reject(new DaemonError("devloop does not run", "devloop: Restart Language Server"));
		}
		const args = ["run", "-o", "json", ...checks.flatMap((name) => ["--check", `"${name.replaceAll('"', '""')}"`])];
		return new Promise((resolve, reject) => {
			const child = spawn(binary.path, args, { cwd: this.workspace, stdio: ["ignore", "pipe", "pipe"] });
			signal.addEventListener("abort", () => child.kill("SIGINT"), { once: true });
			let out = "";
			let said = "";
			child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
			child.stderr.setEncoding("utf8").on("data", (text: string) => {
				said = (said + text).slice(-10_000);
				onEvent({ output: text });
			});
			child.on("error", reject);
			child.on("close", () => {
				try {
					resolve(JSON.parse(out) as Iteration);
				} catch {
					reject(new DaemonError(signal.aborted ? "cancelled" : /^error: (.*)$/m.exec(said)?.[1] ?? said.trim(), /^hint: (.*)$/m.exec(said)?.[1]));
				}
			});
		});
	}

	/** terminal runs a verb of devloop where the user sees it. */
	async terminal(name: string, args: string[]): Promise<void> {
		if (this.binary === undefined) {
			void vscode.window.showWarningMessage("devloop does not run: its output says why.");
			return;
		}
		const task = new vscode.Task({ type: "devloop", args }, vscode.TaskScope.Workspace, name, "devloop", new vscode.ProcessExecution(this.binary.path, args, { cwd: this.workspace }));
		task.isBackground = true;
		task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, focus: false, panel: vscode.TaskPanelKind.Dedicated, showReuseMessage: false, clear: true };
		await vscode.tasks.executeTask(task);
	}

	dispose(): void {
		this.changes.dispose();
	}
}
