import * as vscode from "vscode";
import type { Binary } from "./binary";

// What newer versions of VS Code have (1.101) and Cursor has; neither is in the oldest API that this extension takes.
interface Stdio {
	new (label: string, command: string, args: string[], env?: Record<string, string>, version?: string): unknown;
}
interface Newer {
	lm?: { registerMcpServerDefinitionProvider?(id: string, provider: { onDidChangeMcpServerDefinitions?: vscode.Event<void>; provideMcpServerDefinitions(): unknown[] }): vscode.Disposable };
	McpStdioServerDefinition?: Stdio;
	cursor?: { mcp?: { registerServer(config: { name: string; server: { command: string; args: string[]; env: Record<string, string> } }): void; unregisterServer(name: string): void } };
}

/**
 * offerServer makes devloop's MCP server for a workspace known to the editor's agents, where the editor has a way to say so. One that does not
 * take it loses nothing else: VS Code 1.100 has the call as a proposal, which only its own extensions may use.
 */
export function offerServer(binary: Binary, workspace: string, editor: Newer = vscode as unknown as Newer): vscode.Disposable {
	const args = ["mcp", "--workspace", workspace, "--toolsets", "loop,traffic,snapshots"];
	const Definition = editor.McpStdioServerDefinition;
	try {
		const cursor = editor.cursor?.mcp;
		if (cursor) { // cursor.com/docs/extension-api
			cursor.registerServer({ name: "devloop", server: { command: binary.path, args, env: {} } });
			return new vscode.Disposable(() => quietly(() => cursor.unregisterServer("devloop")));
		}
		if (editor.lm?.registerMcpServerDefinitionProvider && Definition) {
			return editor.lm.registerMcpServerDefinitionProvider("devloop.mcp", { provideMcpServerDefinitions: () => [new Definition("devloop", binary.path, args, {}, binary.version)] });
		}
	} catch {
		// as said above
	}
	return new vscode.Disposable(() => {});
}

function quietly(f: () => void): void {
	try {
		f();
	} catch {
		// the editor has forgotten it already
	}
}
