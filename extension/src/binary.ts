import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** A devloop program that can be started. */
export interface Binary {
	path: string;
	version: string; // "dev" for a build of one's own
}

/** BinaryError says why there is none, and what to do about it. */
export class BinaryError extends Error {
	constructor(message: string, readonly next: string) {
		super(message);
	}
}

/** The oldest devloop that this extension understands. */
export const oldest = "0.1.0";

export interface Places {
	setting: string; // devloop.path
	extension: string; // the folder of the extension
	path: string; // $PATH
	platform: NodeJS.Platform;
}

/** find looks for the program: in the setting, within the extension, on the PATH. It starts it once, to ask its version. */
export async function find(places: Places): Promise<Binary> {
	if (places.setting !== "") {
		if (!isFile(places.setting)) {
			throw new BinaryError(`The setting devloop.path names ${places.setting}, and there is no such file.`, "Correct the setting, or empty it to use the program that is found by itself.");
		}
		return ask(places.setting);
	}
	const windows = places.platform === "win32";
	const name = windows ? "devloop.exe" : "devloop";
	const onPath = windows ? places.path.split(";").map((folder) => folder.replace(/^"(.*)"$/, "$1")) : places.path.split(":"); // some are quoted there
	for (const folder of [path.join(places.extension, "bin"), ...onPath]) {
		const file = path.join(folder, name);
		if (path.isAbsolute(file) && isFile(file)) {
			return ask(file);
		}
	}
	throw new BinaryError("The devloop program was not found: this extension brings none along for this platform, and there is none on the PATH.", "Install devloop, or name the program in the setting devloop.path.");
}

function isFile(file: string): boolean {
	try {
		return fs.statSync(file).isFile();
	} catch {
		return false;
	}
}

async function ask(file: string): Promise<Binary> {
	const said = await new Promise<string>((resolve, reject) => {
		execFile(file, ["version"], { timeout: 10_000, maxBuffer: 1 << 16 }, (error, stdout) => {
			if (error) {
				reject(new BinaryError(`${file} could not be asked for its version: ${firstLine(error.message)}`, "Check that it is devloop and may be executed, or name another one in the setting devloop.path."));
			} else {
				resolve(stdout);
			}
		});
	});
	const version = /^devloop (\S+)/.exec(said)?.[1];
	if (version === undefined) {
		throw new BinaryError(`${file} is not devloop: asked for its version it said ${JSON.stringify(firstLine(said))}.`, "Name devloop in the setting devloop.path.");
	}
	if (tooOld(version)) {
		throw new BinaryError(`${file} is devloop ${version}, and this extension needs ${oldest} or newer.`, "Update devloop, or name a newer one in the setting devloop.path.");
	}
	return { path: file, version };
}

function firstLine(text: string): string {
	return (text.split("\n", 1)[0] ?? "").slice(0, 200);
}

/** tooOld compares a version with the oldest that is understood. A build of one's own has no number and is taken. */
export function tooOld(version: string): boolean {
	const have = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version);
	if (!have) {
		return false;
	}
	const want = oldest.split(".").map(Number);
	for (let i = 0; i < 3; i++) {
		const difference = Number(have[i + 1]) - (want[i] ?? 0);
		if (difference !== 0) {
			return difference < 0;
		}
	}
	return false;
}
