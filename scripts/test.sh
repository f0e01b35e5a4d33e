#!/usr/bin/env bash
# Runs all tests. What they need beside Rust is installed here, so that nothing has to be prepared by hand: a Python
# with DuckDB, moto's server of S3 and psycopg in a folder of the user's cache, and the programs of Postgres and Redis.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/services.sh
LOGMILL_TEST_PYTHON=$(scripts/python.sh)
export LOGMILL_TEST_PYTHON
cargo test --workspace --locked "$@"

# Half a minute of the real binary under mixed load, with restarts; the binary is the one that the tests built.
python3 scripts/test_soak.py
cargo build --locked -p logmill
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
LOGMILL_BINARY=$(scripts/binary.sh dev) python3 scripts/test_full_disk.py
LOGMILL_BINARY=$(scripts/binary.sh dev) python3 scripts/test_stack.py
python3 scripts/soak.py --binary "$(scripts/binary.sh dev)" --out "$out" --work "$out/work" --seconds 20 --rate 0.5 \
  --restart-interval 5 --check-interval 6 --admin-interval 1.5
