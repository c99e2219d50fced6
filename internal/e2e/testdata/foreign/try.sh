#!/usr/bin/env bash
# What suggested checks alone, and a baseline alone, find in a system that devloop was not made with: of each fault of devloop.yaml's
# x-faults, and in clean runs. As root, with python3, node, npm, redis-server and PostgreSQL:
#
#   try.sh travel|search [RUNS [CLEAN]]     compare RUNS new runs (2) with the baseline; CLEAN clean ones (20)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
devloop=${DEVLOOP:-$(cd "$here/../../../.." && pwd)/bin/devloop}
runs=${2:-2} clean=${3:-20} dir=$(mktemp -d)
trap '"$devloop" down -q || true; cd /; rm -rf "$dir"' EXIT
cp -r "$here/$1/." "$dir"
cd "$dir"
chmod 755 .
mkdir checks
echo "FAULTS=" >faults.env
[ ! -e package.json ] || npm install --silent --no-audit --no-fund
for _ in 1 2 3 4 5; do "$devloop" run -q >run.log || true; done
"$devloop" suggest -q --write checks/observed.netcheck.yaml 2>&1
"$devloop" baseline record -q

verdict() { # of the checks that are no built-in ones
	node -e 'let t = ""; process.stdin.on("data", d => t += d).on("end", () => {
		const bad = JSON.parse(t).checks.filter(c => !c.builtin && c.severity !== "warning" && c.verdict !== "pass").map(c => c.verdict)
		console.log(bad.includes("fail") ? "fail" : bad[0] || "pass") })'
}
try() {
	suggested=$("$devloop" run -q -o json | verdict) || true
	"$devloop" baseline compare -q --runs "$runs" >/dev/null 2>&1 && recorded=pass || recorded=$([ $? = 1 ] && echo fail || echo inconclusive)
	printf '%-16s suggested: %-13s baseline: %s\n' "$1" "$suggested" "$recorded"
}
for fault in $(sed -n 's/^x-faults: \[\(.*\)\]$/\1/p' devloop.yaml | tr -d ,); do
	echo "FAULTS=$fault" >faults.env
	try "$fault"
done
for i in $(seq "$clean"); do
	printf 'FAULTS=\n# %d\n' $((i / 5)) >faults.env # every fifth on services that start anew
	try "clean $i"
done
