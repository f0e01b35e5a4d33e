#!/usr/bin/env bash
# Keeps a server under mixed load for a time, restarts it at random moments, and checks that nothing is lost or
# doubled and that nothing grows without bound. What is done, and how: soak.py; what comes out: docs/operations.md.
#
#   SECONDS_  how long (120); the Makefile passes SECONDS, which bash keeps for itself
#   RATE      MB/s of all connections together (4)
#   SEED      of what is random; each run prints its own
#   PROFILE   release (default) or dev;  BINARY  a binary instead of a build
#   WORK      where the server keeps its data meanwhile (bench-out/soak-work): a disk, not a memory file system
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${BINARY:-}" ]; then
  logmill=$BINARY
else
  profile=${PROFILE:-release}
  cargo build --profile "$profile" -p logmill
  logmill=$(scripts/binary.sh "$profile")
fi
exec python3 scripts/soak.py --binary "$logmill" --seconds "${SECONDS_:-120}" --rate "${RATE:-4}" \
  --work "${WORK:-bench-out/soak-work}" --out bench-out ${SEED:+--seed "$SEED"} "$@"
