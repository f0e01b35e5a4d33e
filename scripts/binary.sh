#!/usr/bin/env bash
# Prints the path of the binary that `make build` made with the profile given.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
folder=$profile
[ "$profile" = dev ] && folder=debug
target=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
echo "$target/$folder/logmill"
