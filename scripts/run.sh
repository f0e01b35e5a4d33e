#!/usr/bin/env bash
# Builds, starts a server, loads sample data through the real ingest path, asks a first question.
#
#   PROFILE   release (default) or dev
#   DATA_DIR  where the data go (logmill-data)
#   LISTEN    where to listen (127.0.0.1:7280)
#   RECORDS   how many sample records (100000)
#   KEEP      yes: serve until Ctrl-C (the default on a terminal); no: stop after the answer
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${PROFILE:-release} data=${DATA_DIR:-logmill-data} listen=${LISTEN:-127.0.0.1:7280}
if [ -t 0 ]; then keep=${KEEP:-yes}; else keep=${KEEP:-no}; fi
url=http://$listen

cargo build --profile "$profile" -p logmill
logmill=$(scripts/binary.sh "$profile")

"$logmill" serve --data-dir "$data" --listen "$listen" &
server=$!
trap 'kill -TERM $server 2>/dev/null; wait $server' EXIT
for _ in $(seq 300); do
  "$logmill" sql --url "$url" 'SELECT 1' >/dev/null 2>&1 && break
  kill -0 $server 2>/dev/null || { echo "make run: the server did not start (see above)" >&2; exit 1; }
  sleep 0.1
done

"$logmill" seed --url "$url" --records "${RECORDS:-100000}"

echo
echo "\$ logmill query declined --level error --limit 10"
"$logmill" query --url "$url" --output table --from -48h --limit 10 --level error declined
echo
question="SELECT service, count(*) AS errors FROM logs WHERE level = 'error' GROUP BY service ORDER BY errors DESC"
echo "\$ logmill sql \"$question\""
"$logmill" sql --url "$url" --output table "$question"
cat <<END

Where to look next:
  $url/docs          the API, to try out in the browser
  $url/metrics       what the server does
  $logmill query --help
END
if [ "$keep" = yes ]; then
  echo "The server runs until you press Ctrl-C; its data are in $data."
  wait $server
fi
