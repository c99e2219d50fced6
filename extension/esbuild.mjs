// Bundles the extension into dist/extension.js, with the daemon's page beside it. --test bundles the tests into dist/test instead.
import * as esbuild from "esbuild";
import * as fs from "node:fs";

// What the page may ask for is written where it asks.
const transport = fs.readFileSync("../dashboard/app/src/transport.ts", "utf8");
const paths = /\bpaths = \[([^\]]*)\]/.exec(transport)?.[1]?.match(/"(\w+)"/g)?.map((quoted) => quoted.slice(1, -1));
if (!paths) {
	throw new Error("dashboard/app/src/transport.ts does not list what the page asks for");
}

const common = { define: { PATHS: JSON.stringify(paths) }, bundle: true, platform: "node", format: "cjs", target: "node18", logLevel: "warning", legalComments: "none" };
if (process.argv.includes("--test")) {
	fs.rmSync("dist/test", { recursive: true, force: true });
	const entryPoints = fs.readdirSync("test").filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
	await esbuild.build({ ...common, entryPoints, outdir: "dist/test", alias: { vscode: "./test/vscode.ts" }, sourcemap: "inline" });
} else {
	const { metafile } = await esbuild.build({ ...common, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js", external: ["vscode"], minify: true, metafile: true });
	fs.writeFileSync("dist/THIRD_PARTY_NOTICES.txt", notices(Object.keys(metafile.inputs)));
	fs.mkdirSync("dist/dashboard", { recursive: true });
	for (const name of ["app.js", "app.css"]) {
		const from = `../dashboard/dist/${name}`;
		if (fs.existsSync(from)) {
			fs.copyFileSync(from, `dist/dashboard/${name}`);
		}
	}
}

/** notices are the licences of the packages that the bundle was made of. A package without one ends the build. */
function notices(inputs) {
	const folders = new Set(inputs.map((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]).filter((folder) => folder !== undefined));
	return [...folders].sort().map((folder) => {
		const { name, version, license } = JSON.parse(fs.readFileSync(`${folder}/package.json`, "utf8"));
		const file = fs.readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
		if (file === undefined || license === undefined) {
			throw new Error(`${name} ${version} has no licence text`);
		}
		return `${name} ${version} (${license})\n\n${fs.readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
	}).join(`\n${"-".repeat(80)}\n\n`);
}
