#!/usr/bin/env bash
# Compares what devloop dissects with what tshark does and prints one report. The exit code is not 0 when a bar is missed.
set -uo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

DEVLOOP_REQUIRE=1 DEVLOOP_TRUTH=$dir DEVLOOP_TRUTH_ALTERED=${DEVLOOP_TRUTH_ALTERED:-1} go test -p 1 -count=1 -timeout 30m \
	-run '^(TestTruth|TestTruthTCP|TestTruthAltered|TestPostgreSQLMany|TestRedisMany|TestGRPCMany|.*Tshark.*)$' ./dissect/... ./store ./capture/pcapfile ./traffic/redact \
	>"$dir/log" 2>&1
code=$?

section() { # its title, its file
	[ -s "$dir/$2.txt" ] || return 0
	printf '\n%s\n' "$1"
	case $2 in
	*-tcp) printf '%-44s %6s %6s %8s %8s %8s\n' "scored streams" equal of "" right "" ;;
	*-kinds) printf '%-37s %-11s %-11s %-11s %-11s %-11s %-11s %s\n' "" requests statuses DNS PostgreSQL Redis SNI "TCP figures" ;;
	*-differences) ;;
	*) printf '%-44s %6s %6s %8s %7s\n' "" ours tshark agrees bar ;;
	esac
	sort -u "$dir/$2.txt"
}
section "Foreign captures ($(wc -l <"${DEVLOOP_PCAPS:?is the folder of captures with truth.jsonl}/truth.jsonl") files)" 1-calls
section "Generated traffic" 2-generated
section "TCP analysis, streams of the foreign captures" 3-tcp
section "Altered captures, by what was done to them" 5-altered-kinds
section "Altered captures, all" 6-altered-calls
section "TCP analysis, streams of the altered captures" 7-altered-tcp
section "What remains, and why" 4-differences
if [ $code != 0 ]; then
	printf '\nerror: tests failed:\n' >&2
	grep -E -A8 '^ *--- FAIL|^FAIL|^panic' "$dir/log" >&2 || tail -20 "$dir/log" >&2
fi
exit $code
