#!/bin/bash
# Asks the server of this container whether it lives (or the path given, such as /health/ready) and succeeds when it says 200.
# By bash, which the image has anyway: curl and its libraries would be a quarter more image, and more to keep patched.
set -euo pipefail
path=${1:-/health}
listen=${LOGMILL_LISTEN:-127.0.0.1:7280}
exec 3<>"/dev/tcp/127.0.0.1/${listen##*:}"
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
