#!/usr/bin/env bash
# Installs the programs of Postgres and Redis, and openssl for the certificates of tests, where they are missing
# (Debian's packages). Tests start servers of their own, so those of the packages are neither started now nor with
# the machine.
set -euo pipefail

have_postgres() { command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb'; }

missing=()
{ have_postgres && command -v psql; } >/dev/null || missing+=(postgresql)
command -v openssl >/dev/null || missing+=(openssl)
command -v redis-server >/dev/null || missing+=(redis-server)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=$([ "$(id -u)" = 0 ] || echo sudo)
echo "installing ${missing[*]}" >&2

# Maintainer scripts ask this program whether they may start a service; 101 is no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '$as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
  $as_root chmod +x "$policy"
fi
$as_root apt-get update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    [ "$package" = openssl ] || $as_root systemctl disable --now "$package"
  done
fi
