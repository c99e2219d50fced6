#!/usr/bin/env bash
# test.sh [PACKAGE...]: all tests, with what they need. As root nothing is skipped: a test that lacks something fails. In
# user mode the tests that need root skip, and say so.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ]; then
	scripts/setup.sh
	export DEVLOOP_REQUIRE=1
else
	scripts/setup.sh --check || echo "test: going on without; tests that need these will skip" >&2
	echo "test: not root: tests that capture or make network namespaces will skip. All of them: sudo make test" >&2
	if [ -n "${CI:-}" ]; then export DEVLOOP_REQUIRE=1; fi
fi

# Large captures and cluster images lie outside of the repository, where there are any.
for pair in DEVLOOP_PCAPS=../shared/pcaps DEVLOOP_KIND=../shared/kind; do
	name=${pair%%=*} dir=${pair#*=}
	if [ -z "${!name:-}" ] && [ -d "$dir" ]; then export "$name=$(cd "$dir" && pwd)"; fi
done

# Packages with real time, ports and cgroups disturb each other less when few run at once.
exec go test -timeout 15m -p 2 "${@:-./...}"
