#!/usr/bin/env bash
# pictures.sh: the terminal pictures of docs/images, made again from real runs of the example. As root, on Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
images=$PWD/docs/images top=$(mktemp -d)
trap '(cd "$top/examples/shop" && timeout -k 5 60 "$top/devloop" down >&2) || true; rm -rf "$top"' EXIT

# A copy of the example, with its own go.mod: nothing of the repository changes.
chmod 755 "$top"
mkdir "$top/examples"
cp go.mod go.sum "$top"
cp -r examples/shop "$top/examples/"
cp -r keylog "$top/" # the shop imports it
rm -rf "$top/examples/shop/.devloop"
CGO_ENABLED=0 go build -o "$top/devloop" ./cmd/devloop
cd "$top/examples/shop"

devloop() { timeout -k 5 200 "$top/devloop" -q "$@" || [ $? = 1 ]; }
type() { printf '$ %s\n' "$*"; }

# The first build of a machine takes long; what is shown is a second start.
devloop run --down >/dev/null

{
	echo "devloop run"
	type devloop run
	devloop run
} >"$images/run-pass.txt"

echo FAULTS=retry-storm >faults.env
{
	echo "devloop run, with a retry storm in cart"
	type "echo FAULTS=retry-storm > faults.env"
	type devloop run
	# Of the checks that pass, the first two are enough.
	devloop run | awk '/✓ pass/ { if (++n > 2) { if (!cut) print "  …"; cut = 1; next } } { cut = 0; print }'
	echo
	type devloop explain cart-does-not-storm-a-busy-catalogue
	devloop explain cart-does-not-storm-a-busy-catalogue | sed -n '1,/^$/p'
	devloop explain cart-does-not-storm-a-busy-catalogue | sed -n '/^evidence/,/^$/p'
	echo "…"
	devloop explain cart-does-not-storm-a-busy-catalogue | sed -n '/^again:/p' | sed "s|$top/||" | head -n 2
} >"$images/run-fail.txt"

cd - >/dev/null
go run ./scripts/termshot docs/images/run-pass.txt docs/images/run-fail.txt
