import assert from "node:assert/strict";
import { test } from "node:test";
import type { Loop } from "../src/loop";
import { offerServer } from "../src/mcp";

const loop = { binary: { path: "/bin/devloop", version: "dev" }, workspace: "/w" } as Loop;

test("an editor without a way to offer a server", () => offerServer(loop, {}).dispose());

test("Cursor", () => {
	const said: unknown[] = [];
	offerServer(loop, { cursor: { mcp: { registerServer: (c) => said.push(c), unregisterServer: (n) => said.push(n) } } }).dispose();
	assert.deepEqual(said, [{ name: "devloop", server: { command: "/bin/devloop", args: ["mcp", "--workspace", "/w", "--toolsets", "loop,traffic,snapshots"], env: {} } }, "devloop"]);
});

test("VS Code that has it as a proposal only", () => {
	offerServer(loop, { McpStdioServerDefinition: class {}, lm: { registerMcpServerDefinitionProvider: () => { throw new Error("proposed"); } } }).dispose();
});
