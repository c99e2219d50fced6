import * as vscode from "vscode";
import type { Loop } from "./loop";

// What newer versions of VS Code have (1.101) and Cursor has; neither is in the oldest API that this extension takes.
interface Stdio {
	new (label: string, command: string, args: string[], env?: Record<string, string>, version?: string): unknown;
}
interface Newer {
	lm?: { registerMcpServerDefinitionProvider?(id: string, provider: { onDidChangeMcpServerDefinitions?: vscode.Event<void>; provideMcpServerDefinitions(): unknown[] }): vscode.Disposable };
	McpStdioServerDefinition?: Stdio;
	cursor?: { mcp?: { registerServer(config: { name: string; server: { command: string; args: string[]; env: Record<string, string> } }): void; unregisterServer(name: string): void } };
}

/** offerServer makes devloop's MCP server known to the editor's agents, where the editor has a way to say so. */
export function offerServer(loop: Loop, editor: Newer = vscode as unknown as Newer): vscode.Disposable {
	const binary = loop.binary;
	const args = (): string[] => ["mcp", "--workspace", loop.workspace, "--toolsets", "loop,traffic,snapshots"];
	if (binary === undefined) {
		return new vscode.Disposable(() => {});
	}
	const cursor = editor.cursor?.mcp;
	if (cursor) {
		cursor.registerServer({ name: "devloop", server: { command: binary.path, args: args(), env: {} } });
		return new vscode.Disposable(() => cursor.unregisterServer("devloop"));
	}
	const Definition = editor.McpStdioServerDefinition;
	if (editor.lm?.registerMcpServerDefinitionProvider && Definition) {
		try {
			return editor.lm.registerMcpServerDefinitionProvider("devloop.mcp", { provideMcpServerDefinitions: () => [new Definition("devloop", binary.path, args(), {}, binary.version)] });
		} catch {
			// 1.100 has it as a proposal, which only its own extensions may use
		}
	}
	return new vscode.Disposable(() => {});
}
