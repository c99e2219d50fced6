#!/bin/sh
# generate.sh checks the page's sources and makes dist/app.js and dist/app.css of them: the same bytes wherever it runs, because the lock file
# names every tool. Without node or its packages, dist stays as it is.
set -eu
app=$(cd "$(dirname "$0")" && pwd)
if ! command -v node >/dev/null 2>&1 || ! packages=$("$app/../../scripts/npm/dashboard/install.sh"); then
	echo "generate: without node and the packages of scripts/npm/dashboard the dashboard's page stays as it is" >&2
	exit 0
fi
ln -sfn "$packages/node_modules" "$app/node_modules"
cd "$app"
node node_modules/typescript/bin/tsc --noEmit -p .
node node_modules/esbuild/bin/esbuild src/main.tsx src/app.css --bundle --minify --target=chrome123,firefox120,safari17.5 --charset=utf8 \
	--legal-comments=none --log-level=warning --outdir=../dist --entry-names=app --jsx=automatic --jsx-import-source=preact
