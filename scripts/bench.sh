#!/usr/bin/env bash
# Measures ingest, open-loop latency, restart and look-ups on one corpus, each with a fresh server; prints a
# table and writes bench-out/bench.json. What is measured, and how: docs/benchmarks.md; the work: bench.py.
#
#   FILE      NDJSON to send; without it the benchmark's corpus, which is made when it is not there
#   PARTS     which parts ("ingest open restart lookup")
#   RUNS      how often ingest is measured (3)
#   PROFILE   release (default) or dev;  BINARY  a binary instead of a build
#   WORK      where servers keep their data meanwhile (bench-out/work): a disk, not a memory file system
#   SAMPLE    yes: without a corpus, RECORDS (1000000) generated sample records
#
#   LOGMILL_CACHE        keeps the corpus (~/.cache/logmill)
#   LOGMILL_LOGHUB       folder of Loghub's samples  } what a corpus
#   LOGMILL_CORPUS_GEN   the generator, gen.py       } is made of
#   BENCH     bench.py (default); bench_query.py, whose parts are numbers of questions; bench_dashboards.py, whose parts are the
#             seconds between a dashboard's questions, and RUNS how many dashboards
#   PEER_CHDB_PYTHON     a Python that has chdb, to ask the same questions (bench_query.py)
#   PEER_VICTORIALOGS_URL, _PID, _DATA   a running VictoriaLogs, its process and its folder, to measure beside
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${LOGMILL_CACHE:-$HOME/.cache/logmill}
corpus=$cache/corpus-4m.ndjson

# Half a day of two million records for each seed; a part file is renamed when it is whole.
make_corpus() {
  local seed=11 start
  echo "bench: making $corpus (1 GB, some minutes)" >&2
  mkdir -p "$cache"
  trap 'rm -f "$corpus".part*' EXIT
  for start in 2026-11-20 2026-11-20T12:00:00; do
    python3 "$LOGMILL_CORPUS_GEN" "$LOGMILL_LOGHUB" "$corpus.part$seed" 2000000 "$seed" "$start" 43200
    seed=$((seed + 1))
  done
  cat "$corpus.part12" >>"$corpus.part11"
  mv "$corpus.part11" "$corpus"
  rm -f "$corpus".part*
  trap - EXIT
}

find_corpus() {
  if [ -n "${FILE:-}" ]; then
    [ -f "$FILE" ] || { echo "bench: there is no file $FILE" >&2; exit 2; }
    return
  elif [ -f "$corpus" ]; then
    :
  elif [ -d "${LOGMILL_LOGHUB:-}" ] && [ -f "${LOGMILL_CORPUS_GEN:-}" ]; then
    make_corpus
  elif [ "${SAMPLE:-}" = yes ]; then
    corpus= # needs the binary: see below
  else
    cat >&2 <<END
bench: nothing to measure with. Give one of
  make bench FILE=corpus.ndjson    your own records, one JSON object a line
  LOGMILL_LOGHUB=folder LOGMILL_CORPUS_GEN=gen.py make bench    makes the corpus, $corpus
  make bench SAMPLE=yes            generated sample records: no figures to compare with others
END
    exit 2
  fi
  FILE=$corpus
}

# The corpus first: nobody should wait for a build to read that there is nothing to send.
find_corpus
if [ -n "${BINARY:-}" ]; then
  logmill=$BINARY
else
  profile=${PROFILE:-release}
  cargo build --profile "$profile" -p logmill
  logmill=$(scripts/binary.sh "$profile")
fi
if [ -z "$FILE" ]; then
  FILE=$cache/sample-${RECORDS:-1000000}.ndjson
  mkdir -p "$cache"
  if [ ! -f "$FILE" ]; then
    "$logmill" seed --records "${RECORDS:-1000000}" --out "$FILE.part"
    mv "$FILE.part" "$FILE"
  fi
fi
case ${BENCH:=bench.py} in
bench.py) parts="ingest open restart lookup" ;;
*) parts= ;;
esac
exec python3 "scripts/$BENCH" --binary "$logmill" --file "$FILE" --runs "${RUNS:-3}" \
  --work "${WORK:-bench-out/work}" --out bench-out ${PARTS:-$parts}
