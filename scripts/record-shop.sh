#!/usr/bin/env bash
# Records the runs of the shop that make eval resamples: 30 of the same code, then two of each fault with clean ones before, between and behind
# them. As root, on a machine that does nothing else: it waits until that is so, and the load of the recording stands in docs/statistics.md.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
[ "$(id -u)" = 0 ] || { echo "error: capturing the shop takes root" >&2; exit 1; }
dir=$(mktemp -d)
shop=$dir/examples/shop
trap '(cd "$shop" 2>/dev/null && "$root/bin/devloop" down -q) || true; rm -rf "$dir"' EXIT
make -s binary
mkdir -p "$dir/examples"
cp go.mod go.sum "$dir"
cp -r keylog "$dir"
cp -r examples/shop "$dir/examples"
rm -rf "$shop/.devloop"
chmod -R a+rX "$dir"
cd "$shop"

loads=$dir/loads
run() { # prints the iteration's id; that its checks fail is what faults are for
	cut -d' ' -f1 /proc/loadavg >>"$loads"
	{ GOFLAGS=-mod=mod timeout 120 "$root/bin/devloop" run -q -o json 2>"$dir/said" || true; } | sed -n 's/^  "id": "\(i[0-9]*\)",$/\1/p' | grep . || { cat "$dir/said" >&2; exit 1; }
}
plant() { # and one run to warm up
	echo "FAULTS=$1" >faults.env
	run >/dev/null
}
quiet() {
	for _ in $(seq 60); do
		awk -v cores="$(nproc)" '{ exit $1 > cores / 2 }' /proc/loadavg && return
		sleep 5
	done
	echo "error: the load stays at $(cut -d' ' -f1 /proc/loadavg): end what else runs" >&2
	exit 1
}

GOFLAGS=-mod=mod go build ./... # the first iteration then only links
[ -n "${DEVLOOP_LOUD:-}" ] || quiet
plant ""
for _ in $(seq 30); do run >/dev/null; done
"$root/bin/devloop" down -q
load=$(awk '{ sum += $1 } END { printf "%.1f", sum / NR }' "$loads")
(cd "$root" && go run ./assertions/baseline/eval -record "$shop/.devloop" -load "$load")

rm -rf .devloop
clean() {
	plant ""
	for _ in $(seq 8); do echo "clean $(run)" >>"$dir/runs.txt"; done
}
faults=$(sed -n 's/^  - fault: //p' faults.yaml)
half=$(($(wc -w <<<"$faults") / 2)) n=0
clean
for fault in $faults; do
	plant "$fault"
	for _ in 1 2; do echo "$fault $(run)" >>"$dir/runs.txt"; done
	n=$((n + 1))
	[ $n != $half ] || clean
done
clean
"$root/bin/devloop" down -q
cd "$root"
go run ./assertions/baseline/eval -record "$shop/.devloop" -faults "$dir/runs.txt"
make -s eval
git status --short assertions/baseline/eval/testdata docs
