import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as http from "node:http";
import * as os from "node:os";
import * as path from "node:path";
import { after, test } from "node:test";
import { ask, DaemonError, reaches, unreachable, type Event } from "../src/daemon";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "devloop-socket-"));
after(() => fs.rmSync(folder, { recursive: true }));
let count = 0;

/** listening serves one answer on a socket of its own. */
async function listening(answer: (r: http.ServerResponse) => void): Promise<[string, http.Server]> {
	const socket = path.join(folder, `${count++}.sock`);
	const server = http.createServer((_, response) => answer(response));
	await new Promise<void>((resolve) => server.listen(socket, resolve));
	return [socket, server];
}

test("no daemon", async () => {
	await assert.rejects(ask(path.join(folder, "none.sock"), "status", {}), (e) => e instanceof DaemonError && /no daemon runs/.test(e.message) && e.hint === "devloop up");
});

test("on Windows the socket is said to be out of reach, not the daemon to be gone", () => {
	assert.equal(reaches("win32"), false);
	assert.ok(reaches("linux") && reaches("darwin"));
	for (const code of ["ENOENT", "EACCES", "ENOTSUP"]) {
		assert.match(unreachable(code, "win32")?.message ?? "", /Windows.*Next: devloop dashboard/);
	}
	assert.match(unreachable("ECONNREFUSED", "linux")?.message ?? "", /no daemon runs/);
	assert.equal(unreachable("EACCES", "linux"), undefined);
	for (const code of [undefined, "ABORT_ERR", "ECONNRESET"]) {
		assert.equal(unreachable(code, "win32"), undefined, "what was given up, or ended in the middle, is something else");
	}
});

test("events, then the result, in pieces that are no lines", async () => {
	const text = '{"iteration":{"id":"i1","phase":"build"}}\n{"message":"grün"}\n{"result":{"id":"i1"}}\n';
	const [socket, server] = await listening((r) => {
		const bytes = Buffer.from(text);
		for (let i = 0; i < bytes.length; i += 7) {
			r.write(bytes.subarray(i, i + 7));
		}
		r.end();
	});
	const events: Event[] = [];
	assert.deepEqual(await ask(socket, "run", {}, (e) => events.push(e)), { id: "i1" });
	assert.equal(events.length, 2);
	assert.equal(events[1]?.message, "grün");
	server.close();
});

test("what the daemon refuses is said with the next step", async () => {
	const [socket, server] = await listening((r) => r.end('{"failed":{"error":"there is no check \\"x\\"","hint":"devloop status","exit":2}}\n'));
	await assert.rejects(ask(socket, "run", {}), /there is no check "x"\. Next: devloop status/);
	server.close();
});

test("a daemon that ends in the middle, or answers nonsense", async () => {
	const [socket, server] = await listening((r) => {
		r.write('{"message":"a"}\n');
		setImmediate(() => r.destroy());
	});
	await assert.rejects(ask(socket, "run", {}));
	server.close();
	const [other, second] = await listening((r) => r.end("<html>"));
	await assert.rejects(ask(other, "run", {}), /cannot be read: <html>/);
	second.close();
});

test("a request is given up", async () => {
	const [socket, server] = await listening((r) => r.write('{"message":"a"}\n'));
	const abort = new AbortController();
	await assert.rejects(ask(socket, "run", {}, () => abort.abort(), abort.signal), /abort/i);
	server.closeAllConnections();
	server.close();
});
