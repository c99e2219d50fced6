#!/usr/bin/env bash
# setup.sh [--check]: what building and testing need beyond Go, on Debian and Ubuntu. As root it installs what is missing;
# otherwise, or with --check, it names it and the one command, and fails.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

missing=() optional=()
need() { # need PACKAGE PROGRAM-OR-FILE...: any of them will do
	local package=$1 it
	shift
	for it in "$@"; do
		if command -v "$it" >/dev/null 2>&1 || [ -e "$it" ]; then return; fi
	done
	missing+=("$package")
}

# The tests.
need tshark tshark
need tcpdump tcpdump
need redis-server redis-server
need postgresql postgres /usr/lib/postgresql/*/bin/postgres
need iproute2 ip
need nftables nft
need iptables iptables
need ethtool ethtool
need libcap2-bin setcap
need jq jq
need curl curl
need nodejs node # its WebSocket and fetch are clients in the tests
need npm npm
need openssl openssl
need python3 python3
need neovim nvim # an editor that the tests run
need chromium chromium google-chrome # that the tests drive: the VS Code workbench, and the dashboard
need ripgrep rg # which that workbench searches with
need build-essential g++ # for its native modules
need git git
need make make
# `make generate`: the compiler whose eBPF objects are committed. Newer releases lack it and do without.
need libbpf-dev /usr/include/bpf/bpf_helpers.h
command -v clang-14 >/dev/null 2>&1 || optional+=(clang-14)
command -v llvm-strip-14 >/dev/null 2>&1 || optional+=(llvm-14)

if ! command -v go >/dev/null 2>&1; then
	echo "error: Go is not installed; go.mod names the version: see https://go.dev/doc/install" >&2
	exit 3
fi

# Clients of MCP that the tests run, at the versions of the lock file: the inspector, Claude Code, the conformance suite, and
# the node that these want. The tests skip where they are not.
here=$(cd "$(dirname "$0")" && pwd)
clients=$HOME/.cache/devloop/npm
install_clients() {
	if ! command -v npm >/dev/null 2>&1 || cmp -s "$here/npm/package-lock.json" "$clients/package-lock.json"; then return; fi
	echo "setup: installing the tests' MCP clients into $clients" >&2
	rm -rf "$clients" && mkdir -p "$clients" && cp "$here/npm/package.json" "$here/npm/package-lock.json" "$clients"
	if ! npm --prefix "$clients" ci --ignore-scripts --no-audit --no-fund --loglevel error >&2; then
		rm -rf "$clients"
		echo "setup: they could not be installed: tests that need them are skipped" >&2
	fi
}
# A VS Code workbench in a browser, and what builds our extension for it. The tests skip where they are not.
install_editor() {
	if ! command -v npm >/dev/null 2>&1; then return; fi
	if ! "$here/workbench/install.sh" >&2; then echo "setup: the workbench could not be installed: tests that need it are skipped" >&2; fi
	local extension=$here/../extension
	if cmp -s "$extension/package-lock.json" "$extension/node_modules/installed"; then return; fi
	if npm --prefix "$extension" ci --ignore-scripts --no-audit --no-fund --loglevel error >&2; then
		cp "$extension/package-lock.json" "$extension/node_modules/installed"
	fi
}
# What the dashboard's page is made of, and what drives a browser through it.
install_dashboard() {
	if ! "$here/npm/dashboard/install.sh" >/dev/null; then echo "setup: the dashboard's packages are not there: its page stays as it is, and its tests are skipped" >&2; fi
}
install_npm() { install_clients; install_editor; install_dashboard; }
if [ "${1:-}" != --check ]; then trap install_npm EXIT; fi

if [ ${#missing[@]} -eq 0 ] && [ ${#optional[@]} -eq 0 ]; then exit 0; fi
if [ "${1:-}" = --check ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
	echo "error: missing: ${missing[*]}" >&2
	echo "hint: sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends ${missing[*]}'" >&2
	exit 3
fi

export DEBIAN_FRONTEND=noninteractive
if [ ${#missing[@]} -gt 0 ] || [ ! -e "$HOME/.cache/devloop/no-clang-14" ]; then apt-get update -q >&2; fi
for package in "${optional[@]}"; do
	if apt-cache show "$package" >/dev/null 2>&1; then missing+=("$package"); else
		mkdir -p "$HOME/.cache/devloop" && touch "$HOME/.cache/devloop/no-clang-14"
	fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
echo "setup: installing ${missing[*]}" >&2
# A server that its package starts would be in the way of the tests' own ones, so none is started.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"; install_npm' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi
apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
