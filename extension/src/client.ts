import * as vscode from "vscode";
import { CloseAction, ErrorAction, LanguageClient, RevealOutputChannelOn, type ClientCapabilities, type StaticFeature } from "vscode-languageclient/node";
import type { State } from "./state";

/** The files that the language server reads: check files, devloop.yaml, and sources that may register routes or call services. */
const selector = [
	{ scheme: "file", pattern: "**/*.netcheck.{yaml,yml}" },
	{ scheme: "file", pattern: "**/devloop.{yaml,yml}" },
	...["go", "javascript", "typescript", "python", "java", "kotlin"].map((language) => ({ scheme: "file", language })),
];

/** After so many ends within ten minutes the language server is not started again by itself. */
const maxEnds = 5;

/** startServer starts `devloop lsp` on a folder. onState is called with each state that it tells, onEnd when it will not come back. */
export async function startServer(program: string, folder: vscode.Uri, log: vscode.LogOutputChannel, onState: (s: State) => void, onEnd: (why: string) => void): Promise<LanguageClient> {
	const ends: number[] = [];
	const client = new LanguageClient(
		"devloop",
		"devloop",
		{ command: program, args: ["lsp"], options: { cwd: folder.fsPath } },
		{
			documentSelector: selector,
			workspaceFolder: { uri: folder, name: vscode.workspace.asRelativePath(folder), index: 0 },
			outputChannel: log,
			revealOutputChannelOn: RevealOutputChannelOn.Never,
			synchronize: { fileEvents: vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(folder, "**/{devloop.yaml,devloop.yml,*.netcheck.yaml,*.netcheck.yml}")) },
			initializationFailedHandler: (error) => {
				onEnd(`The language server of devloop does not begin: ${error instanceof Error ? error.message : String(error)}`);
				return false;
			},
			errorHandler: {
				error: () => ({ action: ErrorAction.Continue }),
				closed: () => {
					const now = Date.now();
					ends.push(now);
					if (ends.filter((at) => now - at < 600_000).length < maxEnds) {
						return { action: CloseAction.Restart, handled: true };
					}
					onEnd(`The language server of devloop ended ${maxEnds} times within ten minutes; its output says why.`);
					return { action: CloseAction.DoNotRestart, handled: true };
				},
			},
		},
	);
	client.registerFeature(speaksDevloop);
	client.onNotification("devloop/state", onState);
	await client.start();
	return client;
}

/** speaksDevloop tells the server that this client has the commands, and takes devloop/state. */
const speaksDevloop: StaticFeature = {
	fillClientCapabilities(capabilities: ClientCapabilities) {
		capabilities.experimental = { ...(capabilities.experimental as object | undefined), devloop: true };
	},
	initialize() {},
	getState: () => ({ kind: "static" }),
	clear() {},
};
