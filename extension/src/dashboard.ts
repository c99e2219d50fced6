import { randomBytes } from "node:crypto";
import * as path from "node:path";
import * as vscode from "vscode";
import { post, unreachable } from "./daemon";
import type { Loop } from "./loop";
import { allowed } from "./paths";

/** What the page says (dashboard/app/README.md). */
interface Message {
	type: string;
	id?: number;
	method?: string;
	path?: string;
	body?: string;
	file?: string;
	line?: number;
	name?: string;
	data?: string;
}

/** Dashboard shows the daemon's page in a panel. The page makes no request of its own: each goes through here to the daemon's socket. */
export class Dashboard implements vscode.Disposable {
	private panel: vscode.WebviewPanel | undefined;
	private readonly pending = new Map<number, AbortController>();
	private to: string | undefined; // where the page goes once it is ready

	constructor(private readonly loop: Loop, private readonly files: vscode.Uri) {}

	open(to?: string): void {
		this.to = to;
		if (this.panel) {
			this.panel.reveal();
			this.navigate();
			return;
		}
		const panel = vscode.window.createWebviewPanel("devloop.dashboard", "devloop", vscode.ViewColumn.Active, { enableScripts: true, localResourceRoots: [this.files] });
		this.panel = panel;
		panel.onDidDispose(() => {
			this.panel = undefined;
			this.endAll();
		});
		panel.webview.onDidReceiveMessage((m: Message) => this.receive(panel.webview, m));
		panel.webview.html = this.html(panel.webview);
	}

	private navigate(): void {
		if (this.to !== undefined) {
			void this.panel?.webview.postMessage({ type: "navigate", to: this.to });
			this.to = undefined;
		}
	}

	private html(webview: vscode.Webview): string {
		const nonce = randomBytes(16).toString("hex");
		const file = (name: string): string => webview.asWebviewUri(vscode.Uri.joinPath(this.files, name)).toString();
		return `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>devloop</title><link rel="stylesheet" href="${file("app.css")}"></head>
<body><div id="app"></div><script nonce="${nonce}" src="${file("app.js")}"></script></body></html>`;
	}

	private receive(webview: vscode.Webview, m: Message): void {
		switch (m.type) {
			case "ready":
				this.navigate();
				return;
			case "request":
				void this.request(webview, m, false);
				return;
			case "subscribe":
				void this.request(webview, m, true);
				return;
			case "cancel":
			case "unsubscribe":
				this.pending.get(m.id ?? -1)?.abort();
				return;
			case "open":
				void openFile(this.loop.workspace, m.file ?? "", m.line ?? 1);
				return;
			case "save":
				void save(this.loop.workspace, m.name ?? "", m.data ?? "");
		}
	}

	private async request(webview: vscode.Webview, m: Message, stream: boolean): Promise<void> {
		const { id = -1 } = m;
		const socket = this.loop.state?.socket;
		const abort = new AbortController();
		const lines: string[] = [];
		const answer = (status: number, body: string): void => void webview.postMessage(stream ? { type: "end", id, status } : { type: "response", id, status, body });
		if (!allowed(m.path, stream) || (m.method ?? "POST") !== "POST") {
			answer(403, JSON.stringify({ failed: { error: "the page may not ask for this", exit: 2 } }));
			return;
		}
		if (socket === undefined) {
			answer(0, "no daemon runs for this workspace");
			return;
		}
		this.pending.set(id, abort);
		try {
			const status = await post(socket, m.path ?? "", m.body || "{}", (line) => {
				if (stream) {
					void webview.postMessage({ type: "line", id, line });
				} else {
					lines.push(line);
				}
			}, abort.signal);
			answer(status, lines.join("\n"));
		} catch (e) {
			if (!abort.signal.aborted) {
				const why = unreachable((e as NodeJS.ErrnoException).code, process.platform) ?? e;
				answer(0, why instanceof Error ? why.message : String(why));
			}
		} finally {
			this.pending.delete(id);
		}
	}

	private endAll(): void {
		for (const abort of this.pending.values()) {
			abort.abort();
		}
		this.pending.clear();
	}

	dispose(): void {
		this.panel?.dispose();
		this.endAll();
	}
}

/** openFile shows a line of a file of the workspace; what lies outside of it is not opened for a page. */
async function openFile(workspace: string, file: string, line: number): Promise<void> {
	const whole = path.resolve(workspace, file);
	if (!whole.startsWith(workspace + path.sep)) {
		return;
	}
	const at = new vscode.Position(Math.max(0, line - 1), 0);
	await vscode.window.showTextDocument(vscode.Uri.file(whole), { selection: new vscode.Range(at, at) });
}

/** save asks where to, and writes what the page has. */
async function save(workspace: string, name: string, data: string): Promise<void> {
	const to = await vscode.window.showSaveDialog({ defaultUri: vscode.Uri.file(path.join(workspace, path.basename(name))) });
	if (to) {
		await vscode.workspace.fs.writeFile(to, Buffer.from(data, "base64"));
	}
}
