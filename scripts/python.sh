#!/usr/bin/env bash
# Prints the Python that tests and the stack use, with DuckDB, moto's server of S3 and psycopg; makes it in the user's cache where it
# is missing.
set -euo pipefail
venv=${LOGMILL_CACHE:-$HOME/.cache/logmill}/venv
packages=("duckdb==2.0.1" "moto[server]==5.2.5" "psycopg[binary]==3.3.9")

if ! "$venv/bin/python" -c 'import duckdb, moto.server, psycopg' 2>/dev/null; then
  mkdir -p "$(dirname "$venv")"
  if ! python3 -m venv --clear "$venv" >&2; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    $as_root apt-get update >&2
    $as_root apt-get install -y python3 python3-venv >&2
    python3 -m venv --clear "$venv" >&2
  fi
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
fi
echo "$venv/bin/python"
