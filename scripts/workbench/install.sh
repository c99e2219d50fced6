#!/usr/bin/env bash
# install.sh: a VS Code workbench that runs in a browser (code-server), and what drives it, at the versions of the lock file, into
# ~/.cache/devloop/workbench. The tests of extension/ run in it. Their install scripts would download: each native module that is
# needed is built here instead.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$HOME/.cache/devloop/workbench
if cmp -s "$here/package-lock.json" "$into/installed"; then exit 0; fi
echo "setup: installing a VS Code workbench for the tests into $into" >&2
rm -rf "$into" && mkdir -p "$into" && cp "$here/package.json" "$here/package-lock.json" "$into"
quiet=(--no-audit --no-fund --loglevel error)
npm --prefix "$into" ci --ignore-scripts "${quiet[@]}"

cd "$into/node_modules/code-server/lib/vscode"
npm install --omit=dev --ignore-scripts "${quiet[@]}"
for module in @vscode/spdlog native-watchdog @parcel/watcher; do npm rebuild "$module" "${quiet[@]}"; done
npm rebuild node-pty "${quiet[@]}" >/dev/null 2>&1 || true # its last script fails without harm
test -e node_modules/node-pty/build/Release/pty.node
mkdir -p node_modules/@vscode/ripgrep/bin
ln -sf "$(command -v rg)" node_modules/@vscode/ripgrep/bin/rg
ln -sfn node_modules node_modules.asar
(cd extensions && npm install --omit=dev --ignore-scripts "${quiet[@]}")
cd "$into" && npm rebuild argon2 "${quiet[@]}"
cp "$here/package-lock.json" "$into/installed"
