#!/usr/bin/env bash
# The stack of docker/docker-compose.yml: scripts/docker.sh up|down|status|logs [arguments of docker compose].
# `down` keeps the volumes; `down --volumes` deletes all that was stored.
set -euo pipefail
cd "$(dirname "$0")/.."
secrets=docker/.env

if ! docker compose version >/dev/null 2>&1; then
  echo "scripts/docker.sh: this needs Docker with its compose plugin ('docker compose version' does not work here);" \
    "'make stack-up' starts the same processes without Docker" >&2
  exit 2
fi
if ! docker info >/dev/null 2>&1; then
  echo "scripts/docker.sh: the Docker engine does not answer ('docker info' says why);" \
    "'make stack-up' starts the same processes without Docker" >&2
  exit 2
fi

# 24 letters and digits.
secret() { od -An -N 12 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -e "$secrets" ]; then
  (umask 077 && while IFS= read -r line; do
    case $line in *=) line=$line$(secret) ;; esac
    printf '%s\n' "$line"
  done <docker/.env.example >"$secrets")
  echo "made $secrets with passwords of its own" >&2
fi

compose() { docker compose --file docker/docker-compose.yml --env-file "$secrets" "$@"; }
value() { sed -n "s/^$1=//p" "$secrets" | tail -n 1; }

action=${1:-}
[ $# -gt 0 ] && shift
case $action in
  up)
    compose up --detach --build --wait "$@"
    port=$(value STACK_PORT) prometheus=$(value PROMETHEUS_PORT) grafana=$(value GRAFANA_PORT)
    cat <<END
Logmill     http://127.0.0.1:${port:-7280}    (docs at /docs/)
Prometheus  http://127.0.0.1:${prometheus:-9090}
Grafana     http://127.0.0.1:${grafana:-3000}    admin, GRAFANA_PASSWORD of $secrets
END
    ;;
  down) compose down "$@" ;;
  status) compose ps "$@" ;;
  logs) compose logs "$@" ;;
  *)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
    ;;
esac
