#!/bin/sh
# install.sh puts the packages of the lock file beside it into ~/.cache/devloop/npm-dashboard, unless they are there, and prints that folder.
# It fails with a sentence where npm is not there or cannot install them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/devloop/npm-dashboard
if ! cmp -s "$here/package-lock.json" "$cache/package-lock.json"; then
	command -v npm >/dev/null 2>&1 || { echo "npm is not installed" >&2; exit 1; }
	fresh=$cache.$$
	rm -rf "$fresh" && mkdir -p "$fresh" && cp "$here/package.json" "$here/package-lock.json" "$fresh"
	if ! npm --prefix "$fresh" ci --ignore-scripts --no-audit --no-fund --loglevel error >&2; then
		rm -rf "$fresh"
		echo "npm could not install the dashboard's packages" >&2
		exit 1
	fi
	rm -rf "$cache" && mv "$fresh" "$cache"
fi
echo "$cache"
