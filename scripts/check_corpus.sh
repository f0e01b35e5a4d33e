#!/usr/bin/env bash
# A generated corpus of real systems' messages goes in by `logmill load-test --file` and is all there.
#   usage: check_corpus.sh FOLDER_WITH_LOGHUB_AND_CORPUS [RECORDS]
set -euo pipefail
cd "$(dirname "$0")/.."
shared=$1 records=${2:-100000}
logmill=$(scripts/binary.sh dev)
folder=$(mktemp -d)
url=http://127.0.0.1:7288
python3 "$shared/corpus/gen.py" "$shared/loghub" "$folder/corpus.ndjson" "$records" 11 2026-11-20 43200
"$logmill" serve --data-dir "$folder/data" --listen 127.0.0.1:7288 2>"$folder/log" &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server || true; rm -rf "$folder"' EXIT
for _ in $(seq 300); do "$logmill" sql --url "$url" 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.1; done
"$logmill" load-test --url "$url" --file "$folder/corpus.ndjson" --batch-bytes 1MB --connections 2 --flush
found=$("$logmill" sql --url "$url" --output csv 'SELECT count(*) FROM logs' | tail -n 1)
needles=$("$logmill" sql --url "$url" --output csv "SELECT count(*) FROM logs WHERE message LIKE '%needle-%'" | tail -n 1)
if [ "$found" != "$records" ] || [ "$needles" != $((records / 100000)) ]; then
  echo "check_corpus: $found of $records records, $needles needles" >&2
  cat "$folder/log" >&2
  exit 1
fi
echo "check_corpus: all $records records are there, and $needles needle(s)"
