#!/bin/bash
# dockerd-for-tests.sh start [DIR] | stop [DIR]
# Gives tests a Docker engine where none answers: installs Debian's when there is none (root), and starts it with its
# data in DIR. It touches no firewall rule: published ports go through Docker's own proxy, and containers cannot reach
# beyond this machine. `start` does nothing where an engine answers already; `stop` ends only what `start` started.
set -euo pipefail
dir=${2:-/var/tmp/devloop-dockerd}

case ${1:-} in
start)
  if docker info >/dev/null 2>&1; then echo "a Docker engine answers already"; exit 0; fi
  mkdir -p "$dir"
  if ! command -v dockerd >/dev/null; then
    echo "installing docker.io"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends docker.io; } >"$dir/apt.log" 2>&1 ||
      { tail -n 20 "$dir/apt.log" >&2; exit 3; }
  fi
  setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/dockerd.pid" \
    --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false >"$dir/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 240); do
    docker info >/dev/null 2>&1 && { echo "Docker engine $(docker version -f '{{.Server.Version}}') started"; exit 0; }
    sleep 0.25
  done
  tail -n 20 "$dir/dockerd.log" >&2
  exit 3
  ;;
stop)
  [ -f "$dir/dockerd.pid" ] || { echo "nothing was started in $dir"; exit 0; }
  pid=$(cat "$dir/dockerd.pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 80); do [ -d "/proc/$pid" ] || break; sleep 0.25; done
  ip link delete docker0 2>/dev/null || true
  rm -rf "$dir"
  ;;
*)
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
  ;;
esac
