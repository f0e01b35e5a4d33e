#!/usr/bin/env bash
# A fleet on this machine without containers: Redis, Postgres, a server of S3, and Logmill's processes.
#
#   scripts/stack.sh up       starts what does not run, and waits until all of it is ready
#   scripts/stack.sh down     stops all of it
#   scripts/stack.sh status   what runs, and where; fails when something does not
#   scripts/stack.sh logs [NAME]
#
#   BINARY     the program; built with PROFILE (release) when it is not given
#   DIR        all files (bench-out/stack); DIR/stack.env has what a client needs: REDIS_URL, DATABASE_URL, API_URLS, …
#   API, WORKER, QUERY   so many processes of each role (2, 2, 1)
#   PORT_BASE  the first of 30 ports (7300): +0 Redis, +1 Postgres, +2 S3, +10… api, +15… worker, +20… query;
#              free: any that are free, chosen at the first start
#   OBJECTS    moto (default): a server of S3 that has its objects in memory, so that `down` deletes all data;
#              folder: a folder in DIR, which stays; or s3://bucket/prefix, with LOGMILL_OBJECTS__* and AWS_* as the
#              caller has them
#
# Settings of Logmill are taken from the caller: LOGMILL_STORE__FLUSH_BYTES=… scripts/stack.sh up.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${DIR:-bench-out/stack}
# Seconds that a start, and a stop, may take.
patience=${PATIENCE:-60}

fail() { echo "scripts/stack.sh: $*" >&2; exit 1; }

# --- processes -------------------------------------------------------------------------------------------------------

# When a process began: with its number, which the system uses again, it says which process is meant.
began() { stat_of "$1" 20; }
# A field of /proc/PID/stat, counted from the state, for the name before it may hold anything.
stat_of() { sed -E 's/.*\) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f "$2"; }

# The process of this name, while it runs.
pid_of() {
  local pid when
  read -r pid when 2>/dev/null <"$dir/$1.pid" || return 1
  [ "$(began "$pid")" = "$when" ] && [ "$(stat_of "$pid" 1)" != Z ] && echo "$pid"
}

# Starts NAME in its folder, in a session of its own, so that it stays when this script ends.
start() {
  local name=$1 pid
  shift
  mkdir -p "$dir/$name"
  # shellcheck disable=SC2016
  (cd "$dir/$name" && exec setsid --fork bash -c 'echo $$ >../"$0".new && exec "$@"' "$name" "$@" \
    </dev/null >>"../$name.log" 2>&1 9>&-)
  until pid=$(cat "$dir/$name.new" 2>/dev/null) && [ -n "$pid" ]; do sleep 0.01; done
  echo "$pid $(began "$pid")" >"$dir/$name.pid"
  rm "$dir/$name.new"
}

# Waits until a command succeeds, while the process of this name runs.
wait_for() {
  local name=$1 until=$((SECONDS + patience))
  shift
  until "$@" >/dev/null 2>&1; do
    pid_of "$name" >/dev/null || { tail -n 20 "$dir/$name.log" >&2; fail "$name has ended; the end of $dir/$name.log is above"; }
    [ $SECONDS -lt $until ] || { tail -n 20 "$dir/$name.log" >&2; fail "$name is not ready after $patience s"; }
    sleep 0.05
  done
}

# Sends a signal and waits; kills what is still there after the patience.
stop() {
  local name=$1 signal=$2 pid until=$((SECONDS + patience))
  if pid=$(pid_of "$name"); then
    kill "-$signal" "$pid" 2>/dev/null || true
    # A paused process would never hear it.
    kill -CONT "$pid" 2>/dev/null || true
    while pid_of "$name" >/dev/null && [ $SECONDS -lt $until ]; do sleep 0.05; done
    if pid_of "$name" >/dev/null; then
      echo "scripts/stack.sh: $name did not stop within $patience s and is killed" >&2
      kill -KILL "$pid" 2>/dev/null || true
    fi
  fi
  rm -f "$dir/$name.pid"
}

# The status of an HTTP request, by bash alone.
http_status() {
  local method=$1 port=$2 path=$3 status
  { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 1
  printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$method" "$path" "$port" >&3
  read -r -t 5 _ status _ <&3 || status=none
  exec 3>&-
  echo "$status"
}
answers() { [ "$(http_status "$@")" = 200 ]; }

# --- what is where ---------------------------------------------------------------------------------------------------

names() {
  local role number
  for role in api worker query; do
    for number in $(seq "$(count "$role")"); do echo "$role-$number"; done
  done
}
count() {
  case $1 in
    api) echo "${API:-2}" ;;
    worker) echo "${WORKER:-2}" ;;
    query) echo "${QUERY:-1}" ;;
  esac
}

# The port of a name; the same at every start of this folder.
port() {
  local name=$1 file=$dir/ports number first
  sed -n "s/^$name //p" "$file" 2>/dev/null | grep . && return
  case $name in
    redis) first=0 ;;
    postgres) first=1 ;;
    s3) first=2 ;;
    api-*) first=10 ;;
    worker-*) first=15 ;;
    query-*) first=20 ;;
  esac
  number=${name##*-}
  [ "$number" = "$name" ] && number=1
  if [ "${PORT_BASE:-}" = free ]; then
    number=$(free_port)
  else
    number=$((${PORT_BASE:-7300} + first + number - 1))
  fi
  echo "$name $number" >>"$file"
  echo "$number"
}

# One that nothing listens on, and that no other name here has.
free_port() {
  local candidate
  while :; do
    candidate=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    grep -q " $candidate$" "$dir/ports" 2>/dev/null && continue
    (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || { echo "$candidate"; return; }
  done
}

objects() {
  case ${OBJECTS:-moto} in
    moto)
      cat <<END
LOGMILL_OBJECTS__URL=s3://logmill/fleet
LOGMILL_OBJECTS__ENDPOINT=http://127.0.0.1:$(port s3)
LOGMILL_OBJECTS__REGION=us-east-1
LOGMILL_OBJECTS__PATH_STYLE=true
LOGMILL_OBJECTS__ALLOW_HTTP=true
AWS_ACCESS_KEY_ID=stack
AWS_SECRET_ACCESS_KEY=stack
END
      ;;
    folder) echo "LOGMILL_OBJECTS__URL=file://$dir/objects" ;;
    s3://*) echo "LOGMILL_OBJECTS__URL=$OBJECTS" ;;
    *) fail "OBJECTS is $OBJECTS: moto, folder and s3://bucket/prefix are possible" ;;
  esac
}

urls() {
  local role=$1 number found=()
  for number in $(seq "$(count "$role")"); do found+=("http://127.0.0.1:$(port "$role-$number")"); done
  echo "${found[*]}"
}

# What processes and clients need to know. Several URLs of a role are separated by spaces.
write_environment() {
  {
    echo "REDIS_URL=redis://127.0.0.1:$(port redis)"
    echo "DATABASE_URL=postgres://postgres@127.0.0.1:$(port postgres)/logmill"
    objects
  } >"$dir/process.env"
  {
    cat "$dir/process.env"
    echo "API_URLS=\"$(urls api)\""
    echo "WORKER_URLS=\"$(urls worker)\""
    echo "QUERY_URLS=\"$(urls query)\""
    echo "STACK_API=$(count api) STACK_WORKER=$(count worker) STACK_QUERY=$(count query) STACK_OBJECTS=${OBJECTS:-moto}"
  } >"$dir/stack.env"
}

# A stack that was started goes on as it was.
recall() {
  [ -e "$dir/stack.env" ] || return 0
  local STACK_API STACK_WORKER STACK_QUERY STACK_OBJECTS
  eval "$(grep '^STACK_' "$dir/stack.env")"
  API=${API:-$STACK_API} WORKER=${WORKER:-$STACK_WORKER} QUERY=${QUERY:-$STACK_QUERY} OBJECTS=${OBJECTS:-$STACK_OBJECTS}
}

# --- the parts -------------------------------------------------------------------------------------------------------

# Durable as Logmill wants it: every write is on the disk before it is answered.
start_redis() {
  pid_of redis >/dev/null && return
  start redis redis-server --port "$(port redis)" --bind 127.0.0.1 --dir . --appendonly yes --appendfsync always --save '' \
    --maxmemory "${REDIS_MAXMEMORY:-512mb}" --maxmemory-policy noeviction
  wait_for redis redis_answers
}

# While it loads its file it says so instead.
redis_answers() { redis-cli -p "$(port redis)" ping | grep -q PONG; }

# Postgres refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; else "$@"; fi
}

# Whether any process has this as its folder.
works_in() { find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1" 2>/dev/null | grep -q .; }

postgres_program() {
  command -v "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" | sort -V | tail -n 1
}

start_postgres() {
  local data=$dir/postgres/data url run=()
  url="postgres://postgres@127.0.0.1:$(port postgres)"
  if ! pid_of postgres >/dev/null; then
    if [ ! -e "$data/PG_VERSION" ]; then
      mkdir -p "$data"
      [ "$(id -u)" != 0 ] || chown -R postgres: "$dir/postgres"
      as_postgres test -x "$dir" || fail "Postgres runs as the user postgres, who cannot enter $dir: choose another DIR"
      as_postgres "$(postgres_program initdb)" --auth=trust --encoding=UTF8 --locale=C --no-instructions --username postgres \
        --pgdata "$data" >"$dir/initdb.log" 2>&1 || fail "initdb failed; see $dir/initdb.log"
    fi
    # The file names the one before. Postgres would be held up by a number that somebody else has now, or that init has not
    # reaped; what must not be there is another of its processes, and they all work in this folder.
    until ! works_in "$data"; do sleep 0.05; done
    rm -f "$data/postmaster.pid"
    [ "$(id -u)" != 0 ] || run=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    start postgres "${run[@]}" "$(postgres_program postgres)" -D "$data" -c port="$(port postgres)" \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 -c shared_buffers=128MB
    wait_for postgres psql --no-psqlrc -c 'SELECT 1' "$url/postgres"
  fi
  [ "$(psql --no-psqlrc -Atc "SELECT count(*) FROM pg_database WHERE datname = 'logmill'" "$url/postgres")" = 1 ] ||
    psql --no-psqlrc -qc 'CREATE DATABASE logmill' "$url/postgres"
}

start_s3() {
  [ "${OBJECTS:-moto}" = moto ] || return 0
  pid_of s3 >/dev/null && return
  start s3 "$(scripts/python.sh)" -m moto.server -H 127.0.0.1 -p "$(port s3)"
  wait_for s3 answers GET "$(port s3)" /moto-api/
  answers PUT "$(port s3)" /logmill || fail "the bucket could not be made; see $dir/s3.log"
}

# Its own variables and settings of sections, not what else the caller has of LOGMILL_*: servers refuse what they do not know.
start_logmill() {
  local name=$1 role=${1%-*} variable
  pid_of "$name" >/dev/null && return
  (
    for variable in $(compgen -e LOGMILL_); do
      [[ $variable =~ ^LOGMILL_[A-Z]+__ ]] || unset "$variable"
    done
    set -a
    # shellcheck disable=SC1091
    . "$dir/process.env"
    LOGMILL_LOG__FORMAT=${LOGMILL_LOG__FORMAT:-json}
    start "$name" "$binary" serve --role "$role" --data-dir data --listen "127.0.0.1:$(port "$name")"
  )
}

# --- commands --------------------------------------------------------------------------------------------------------

up() {
  local name
  if [ -z "${BINARY:-}" ]; then
    cargo build --profile "${PROFILE:-release}" -p logmill
    BINARY=$(scripts/binary.sh "${PROFILE:-release}")
  fi
  binary=$(realpath "$BINARY")
  [ -x "$binary" ] || fail "there is no program $BINARY"
  scripts/services.sh
  mkdir -p "$dir"
  dir=$(realpath "$dir")
  exec 9>"$dir/lock"
  flock 9
  recall
  # Without its objects a catalog is worth nothing.
  if [ "${OBJECTS:-moto}" = moto ] && ! pid_of s3 >/dev/null; then
    stop_all
    rm -rf "$dir"/{redis,postgres,s3,api-*,worker-*,query-*}
  fi
  write_environment
  start_redis
  start_postgres
  start_s3
  for name in $(names); do start_logmill "$name"; done
  for name in $(names); do wait_for "$name" answers GET "$(port "$name")" /health/ready; done
  show
}

show() {
  local name outcome=0
  for name in redis postgres s3 $(names); do
    [ "$name" != s3 ] || [ "${OBJECTS:-moto}" = moto ] || continue
    if pid_of "$name" >/dev/null; then
      printf '%-10s 127.0.0.1:%s  process %s\n' "$name" "$(port "$name")" "$(pid_of "$name")"
    else
      printf '%-10s does not run\n' "$name"
      outcome=1
    fi
  done
  echo "for clients: $dir/stack.env"
  return $outcome
}

# Those that answer first, so that workers bring in what the others took; then what they all need.
stop_all() {
  local file name
  for name in query api worker; do
    for file in "$dir/$name"-*.pid; do
      [ -e "$file" ] && stop "$(basename "$file" .pid)" TERM &
    done
    wait
  done
  stop s3 TERM
  # Its fast way to stop: it waits for no connection.
  stop postgres INT
  stop redis TERM
}

action=${1:-}
case $action in
  up) up ;;
  down | status | logs)
    [ -d "$dir" ] || { echo "nothing was started in $dir"; [ "$action" = down ]; exit; }
    dir=$(realpath "$dir")
    recall
    ;;&
  down)
    exec 9>"$dir/lock"
    flock 9
    stop_all
    [ "${OBJECTS:-moto}" != moto ] || rm -rf "$dir"/{redis,postgres,s3,api-*,worker-*,query-*}/
    ;;
  status) show ;;
  logs)
    logs=("$dir"/*.log)
    [ $# -lt 2 ] || logs=("$dir/$2.log")
    tail -n 50 "${logs[@]}"
    ;;
  *)
    sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
    ;;
esac
