#!/usr/bin/env bash
# Measures ingest and storage: starts a fresh server, sends FILE in batches of 1 MB over 2 connections, flushes,
# stops; prints a table and writes bench-out/ingest.json. See docs/benchmarks.md.
#
#   usage: bench.sh FILE.ndjson      PROFILE=release RUNS=3
set -euo pipefail
cd "$(dirname "$0")/.."
file=${1:?usage: make bench FILE=corpus.ndjson}
logmill=$(scripts/binary.sh "${PROFILE:-release}")
url=http://127.0.0.1:7287
mkdir -p bench-out
for run in $(seq "${RUNS:-3}"); do
  data=$(mktemp -d)
  "$logmill" serve --data-dir "$data" --listen 127.0.0.1:7287 2>bench-out/server.log &
  server=$!
  trap 'kill -TERM $server 2>/dev/null; wait $server || true; rm -rf "$data"' EXIT
  for _ in $(seq 300); do "$logmill" sql --url "$url" 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.1; done
  echo "run $run:"
  "$logmill" load-test --url "$url" --file "$file" --batch-bytes 1MB --connections 2 --flush \
    --report "bench-out/ingest-$run.json"
  kill -TERM $server && wait $server || true
  trap - EXIT
  echo "disk: $(du -sb "$data/objects" | cut -f1) bytes of segments, $(du -sb "$data" | cut -f1) in all"
  rm -rf "$data"
done
