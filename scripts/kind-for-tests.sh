#!/bin/bash
# kind-for-tests.sh start | stop
# Gives tests a Docker engine and a kind node image with the scripts of the folder DEVLOOP_KIND: minutes the first time,
# seconds afterwards. An engine that answers already is used and left alone. `stop` deletes the tests' clusters, and ends the
# engine only if `start` started it.
set -euo pipefail
work=${XDG_CACHE_HOME:-$HOME/.cache}/devloop/kind
ours=$work/started-by-tests

case ${1:-} in
start)
  mkdir -p "$work"
  rm -f "$ours"
  answers=$(docker info >/dev/null 2>&1 && echo yes || echo no)
  "${DEVLOOP_KIND:?must name the folder whose up.sh makes a node image}/up.sh" "$work"
  if [ "$answers" = no ]; then cp "$work/dockerd.pid" "$ours"; fi
  ;;
stop)
  docker info >/dev/null 2>&1 || { rm -f "$ours"; exit 0; }
  for cluster in $(docker ps -a --filter label=io.x-k8s.kind.cluster --format '{{.Label "io.x-k8s.kind.cluster"}}' | grep '^devloop-test' | sort -u); do
    docker ps -aq --filter "label=io.x-k8s.kind.cluster=$cluster" | xargs -r docker rm --force --volumes >/dev/null
    rm -rf "${XDG_CACHE_HOME:-$HOME/.cache}/devloop/clusters/$cluster"
  done
  [ -f "$ours" ] || exit 0
  docker network rm kind >/dev/null 2>&1 || true
  pid=$(cat "$ours")
  if [ "$(cat "$work/dockerd.pid" 2>/dev/null)" = "$pid" ]; then kill "$pid" 2>/dev/null || true; fi
  for _ in $(seq 80); do [ -d "/proc/$pid" ] || break; sleep 0.25; done
  ip link delete docker0 2>/dev/null || true
  rm -f "$ours"
  ;;
*)
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
  ;;
esac
