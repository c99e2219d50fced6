import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, test } from "node:test";
import { BinaryError, find, oldest, tooOld, type Places } from "../src/binary";

const top = fs.mkdtempSync(path.join(os.tmpdir(), "devloop-binary-"));
after(() => fs.rmSync(top, { recursive: true }));

/** program writes a program that prints a text, into a folder of its own, and returns the folder. */
function program(text: string, mode = 0o755): string {
	const folder = fs.mkdtempSync(path.join(top, "program-"));
	fs.writeFileSync(path.join(folder, "devloop"), `#!/bin/sh\nprintf '%s\\n' '${text}'\n`, { mode });
	return folder;
}

const nowhere: Places = { setting: "", extension: "/nonexistent", path: "", platform: "linux" };

async function refused(places: Partial<Places>): Promise<BinaryError> {
	try {
		await find({ ...nowhere, ...places });
	} catch (e) {
		assert.ok(e instanceof BinaryError, String(e));
		assert.notEqual(e.next, "", "there is a next step");
		return e;
	}
	assert.fail("it was taken");
}

test("no program", async () => {
	assert.match((await refused({})).message, /was not found/);
	assert.match((await refused({ setting: "/nonexistent/devloop" })).message, /names \/nonexistent\/devloop/);
	assert.match((await refused({ path: "relative:." })).message, /was not found/);
});

test("a program that is another one, too old, or cannot run", async () => {
	assert.match((await refused({ path: program("git version 2.39") })).message, /is not devloop/);
	const old = await refused({ path: program("devloop v0.0.9 linux/amd64") });
	assert.match(old.message, new RegExp(`is devloop v0\\.0\\.9, and this extension needs ${oldest}`));
	assert.match(old.next, /[Uu]pdate/);
	assert.match((await refused({ setting: path.join(program("devloop dev", 0o644), "devloop") })).message, /could not be asked/);
});

test("the setting counts before the extension's own, and that before the PATH", async () => {
	const [own, onPath, set] = [program("devloop v0.2.0 x"), program("devloop v0.3.0 x"), program("devloop dev x")];
	const extension = fs.mkdtempSync(path.join(top, "extension-"));
	fs.cpSync(own, path.join(extension, "bin"), { recursive: true });
	assert.equal((await find({ ...nowhere, extension, path: `/nonexistent:${onPath}` })).version, "v0.2.0");
	assert.equal((await find({ ...nowhere, path: `/nonexistent:${onPath}` })).version, "v0.3.0");
	assert.equal((await find({ setting: path.join(set, "devloop"), extension, path: onPath, platform: "linux" })).version, "dev");
});

test("Windows", async () => {
	const folder = program("devloop v0.3.0 windows/amd64");
	const windows = { ...nowhere, platform: "win32" as const };
	assert.match((await refused({ platform: "win32", path: folder })).message, /was not found/, "without .exe it is another program");
	fs.renameSync(path.join(folder, "devloop"), path.join(folder, "devloop.exe"));
	for (const onPath of [`/nonexistent;${folder}`, `"${folder}";/nonexistent`, `;;${folder};`]) {
		assert.equal((await find({ ...windows, path: onPath })).path, path.join(folder, "devloop.exe"), onPath);
	}
	const extension = fs.mkdtempSync(path.join(top, "extension-"));
	fs.cpSync(folder, path.join(extension, "bin"), { recursive: true });
	assert.equal((await find({ ...windows, extension })).version, "v0.3.0");
	assert.match((await refused({ path: folder })).message, /was not found/, "elsewhere .exe is no program of ours");
});

test("versions", () => {
	for (const [version, old] of [["dev", false], ["0.1.0", false], ["v0.0.12", true], ["1.0.0-rc.1", false], ["v0.10.0", false]] as const) {
		assert.equal(tooOld(version), old, version);
	}
});
