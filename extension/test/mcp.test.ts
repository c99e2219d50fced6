import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as readline from "node:readline";
import { test } from "node:test";
import { offerServer } from "../src/mcp";

const binary = { path: "/bin/devloop", version: "dev" };
const args = ["mcp", "--workspace", "/w", "--toolsets", "loop,traffic,snapshots"];

/** A server as Cursor's API takes it. */
interface Config {
	name: string;
	server: { command: string; args: string[]; env: Record<string, string> };
}

/**
 * StandIn stands in for Cursor, which cannot run here: vscode.cursor.mcp as its documentation declares it (cursor.com/docs/extension-api).
 * It takes what that says and nothing else.
 */
class StandIn {
	readonly servers = new Map<string, Config["server"]>();

	registerServer = (config: Config): void => {
		assert.deepEqual(Object.keys(config).sort(), ["name", "server"]);
		assert.deepEqual(Object.keys(config.server).sort(), ["args", "command", "env"]);
		assert.ok([config.name, config.server.command, ...config.server.args, ...Object.values(config.server.env)].every((s) => typeof s === "string" && s !== ""));
		this.servers.set(config.name, config.server);
	};

	unregisterServer = (name: string): void => {
		assert.ok(this.servers.delete(name), `${name} was registered`);
	};
}

test("an editor without a way to offer a server", () => offerServer(binary, "/w", {}).dispose());

test("a stand-in for Cursor is offered the server, and it is taken back", () => {
	const mcp = new StandIn();
	const offer = offerServer(binary, "/w", { cursor: { mcp } });
	assert.deepEqual(mcp.servers.get("devloop"), { command: "/bin/devloop", args, env: {} });
	offer.dispose();
	assert.equal(mcp.servers.size, 0);
	offer.dispose(); // the stand-in refuses what it does not know, and the editor goes on
});

test("a Cursor that refuses leaves the rest standing", () => {
	const refuse = (): never => {
		throw new Error("not allowed here");
	};
	offerServer(binary, "/w", { cursor: { mcp: { registerServer: refuse, unregisterServer: refuse } } }).dispose();
});

test("VS Code from 1.101 on", () => {
	class Definition {
		readonly all: unknown[];
		constructor(...all: unknown[]) {
			this.all = all;
		}
	}
	let offered: unknown[] = [];
	offerServer(binary, "/w", {
		McpStdioServerDefinition: Definition,
		lm: {
			registerMcpServerDefinitionProvider: (id, provider) => {
				assert.equal(id, "devloop.mcp");
				offered = provider.provideMcpServerDefinitions();
				return { dispose() {} };
			},
		},
	}).dispose();
	assert.deepEqual(offered.map((d) => (d as Definition).all), [["devloop", "/bin/devloop", args, {}, "dev"]]);
});

test("VS Code that has it as a proposal only", () => {
	offerServer(binary, "/w", { McpStdioServerDefinition: class {}, lm: { registerMcpServerDefinitionProvider: () => { throw new Error("proposed"); } } }).dispose();
});

test("what is offered is a server that answers", { skip: process.env["DEVLOOP"] === undefined && "DEVLOOP names no program", timeout: 60_000 }, async () => {
	const workspace = fs.mkdtempSync(path.join(os.tmpdir(), "devloop-mcp-"));
	fs.writeFileSync(path.join(workspace, "devloop.yaml"), "version: 1\nservices: {a: {command: a}}\n");
	const mcp = new StandIn();
	const program = process.env["DEVLOOP"] ?? "";
	offerServer({ path: program, version: "dev" }, workspace, { cursor: { mcp } });
	const { command, args, env } = mcp.servers.get("devloop") ?? assert.fail("nothing was offered");
	const server = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "inherit"] });
	try {
		const answers = readline.createInterface({ input: server.stdout })[Symbol.asyncIterator]();
		const ask = async (request: object): Promise<{ result: { serverInfo?: { name: string }; tools?: { name: string }[] } }> => {
			server.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...request })}\n`);
			return JSON.parse((await answers.next()).value as string);
		};
		const hello = await ask({ id: 1, method: "initialize", params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo: { name: "stand-in", version: "1" } } });
		assert.equal(hello.result.serverInfo?.name, "devloop");
		server.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" })}\n`);
		const { result } = await ask({ id: 2, method: "tools/list", params: {} });
		assert.ok(result.tools?.some((tool) => tool.name === "loop_run"), JSON.stringify(result));
	} finally {
		server.kill();
		await new Promise((resolve) => spawn(program, ["down", "--workspace", workspace]).on("close", resolve));
		fs.rmSync(workspace, { recursive: true, force: true });
	}
});
