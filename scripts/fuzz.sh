#!/usr/bin/env bash
# Runs one fuzz target for some seconds, from the seeds and from what earlier runs found. The stable toolchain will do:
# coverage needs a flag that it takes once it is told that it may.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${TARGET:?'TARGET names a target; see crates/fuzz/seeds'}
seconds=${SECONDS_:-60}
seeds=$PWD/crates/fuzz/seeds/$target
[ -d "$seeds" ] || { echo "there is no fuzz target $target; there are: $(ls crates/fuzz/seeds | xargs)" >&2; exit 2; }
command -v cargo-fuzz > /dev/null || cargo install cargo-fuzz --locked
mkdir -p "fuzz/corpus/$target"
# Logs are written and synced; in memory that takes no time.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
cd fuzz
RUSTC_BOOTSTRAP=1 cargo fuzz run -s none "$target" "corpus/$target" "$seeds" -- \
  -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -max_len=65536
