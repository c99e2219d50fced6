import * as vscode from "vscode";
import { shown, type State } from "./state";

/** StatusBar is the loop in a few words, at the bottom of the window. */
export class StatusBar implements vscode.Disposable {
	private readonly item = vscode.window.createStatusBarItem("devloop.status", vscode.StatusBarAlignment.Left, 5);

	constructor() {
		this.item.name = "devloop";
		this.item.command = "devloop.menu";
	}

	show(state: State | undefined, trouble = ""): void {
		const s = shown(state, vscode.workspace.isTrusted, trouble);
		this.item.text = s.text;
		this.item.tooltip = s.tooltip;
		this.item.backgroundColor = s.error ? new vscode.ThemeColor("statusBarItem.errorBackground") : s.warning ? new vscode.ThemeColor("statusBarItem.warningBackground") : undefined;
		this.item.show();
	}

	dispose(): void {
		this.item.dispose();
	}
}
