#!/usr/bin/env bash
# What each session store costs: a request, a login, a write, a look-up, a million sessions.
#
#   benches/stores.sh [--sessions N] [--rounds N] [--seconds N] [--logins N] [--bin-dir DIR] [STORE…]
#
#   STORE          memory, sqlite, redis, postgres; default all four
#   --sessions N   sessions that each store is filled with, 2 KiB of tokens each; default 1000000
#   --rounds N     rounds of requests, each through every store in turn; default 5
#   --seconds N    seconds of load a measurement; default 5
#   --logins N     logins, one after the other; default 300
#   --bin-dir DIR  take bff and examples/bench_cast from there instead of building them
#
# Not a timed test: it asserts that every step was answered and prints what it saw. Redis (appendonly)
# and PostgreSQL are Debian's, started here on free ports and stopped. bff has core 1 to itself, all
# else shares core 0. Compare within one run only.
set -euo pipefail
cd "$(dirname "$0")/.."

sessions=1000000 rounds=5 seconds=5 logins=300 bin_dir=
stores=()
while [ $# -gt 0 ]; do
  case $1 in
    --sessions) sessions=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --logins) logins=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    memory | sqlite | redis | postgres) stores+=("$1"); shift ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[ ${#stores[@]} -gt 0 ] || stores=(memory sqlite redis postgres)

. benches/lib.sh
need wrk:wrk curl:curl redis-server:redis-server
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || need no-such-tool:postgresql
if [ -z "$bin_dir" ]; then
  cargo build --release --bin bff
  cargo build --release --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast

# PostgreSQL refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}
pg_bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -1)")
stop_postgres() { as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -m immediate stop >/dev/null 2>&1; }

declare -A url
start_store() {
  case $1 in
    memory) url[memory]=none ;;
    sqlite) mkdir -p "$work/sqlite"; url[sqlite]=$work/sqlite/sessions.db ;;
    redis)
      redis_port=$("$cast" port)
      mkdir -p "$work/data.redis"
      start redis 0 redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work/data.redis" \
        --save '' --appendonly yes
      url[redis]=redis://127.0.0.1:$redis_port
      for _ in $(seq 100); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && return; sleep 0.1; done
      ;;
    postgres)
      pg_port=$("$cast" port)
      chmod 711 "$work"
      mkdir -p "$work/pg"
      [ "$(id -u)" != 0 ] || chown postgres "$work/pg"
      as_postgres "$pg_bin/initdb" -D "$work/pg" -A trust -U bff >/dev/null
      taskset -c 0 runuser -u postgres -- "$pg_bin/pg_ctl" -D "$work/pg" -w -l "$work/pg/log" \
        -o "-p $pg_port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$work/pg" start >/dev/null
      at_stop+=(stop_postgres)
      as_postgres "$pg_bin/createdb" -h 127.0.0.1 -p "$pg_port" -U bff bff
      as_postgres "$pg_bin/createdb" -h 127.0.0.1 -p "$pg_port" -U bff filled
      url[postgres]=postgres://bff@127.0.0.1:$pg_port/bff
      ;;
  esac
}

start upstream 0 "$cast" upstream
upstream=$(line upstream 1)
key=$("$bff" keygen)
declare -A port root cookie
for store in "${stores[@]}"; do
  start_store "$store"
  port[$store]=$("$cast" port)
  start "provider.$store" 0 "$cast" provider "http://localhost:${port[$store]}/"
  mkdir -p "$work/conf.$store"
  cat >"$work/conf.$store/bff.toml" <<TOML
[server]
listen     = "127.0.0.1:${port[$store]}"
public_url = "http://localhost:${port[$store]}"
workers    = 1

[provider]
issuer        = "$(line "provider.$store" 1)"
client_id     = "$(line "provider.$store" 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[session]
keys  = ["env:BFF_SESSION_KEY"]
store = "$store"
$([ "$store" = memory ] || echo "store_url = \"${url[$store]}\"")

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$upstream"

[log]
level = "warn"
TOML
  BFF_SESSION_KEY=$key BFF_CLIENT_SECRET=$(line "provider.$store" 3) \
    start "bff.$store" 1 "$bff" serve --config "$work/conf.$store/bff.toml"
  root[$store]=$pid
  until_answers -L -c "$work/jar.$store" -b "$work/jar.$store" -H 'X-CSRF: 1' \
    "http://localhost:${port[$store]}/bff/login?login_hint=alice&return_to=/api/small"
  cookie[$store]=$(awk '$6 ~ /^bff(-[0-9]+)?$/ { print $6 "=" $7 }' "$work/jar.$store")
  [ -n "${cookie[$store]}" ] || { echo "$store: the login gave no session cookie" >&2; exit 1; }
done

# load STORE SECONDS: CPU-us a request and requests a second.
load() {
  local before after
  before=$(ticks "${root[$1]}")
  BENCH_BODY=0 BENCH_CLOSE=0 taskset -c 0 wrk -t1 -c32 -d"$2s" --latency \
    -s benches/compare/load.lua -H "Host: localhost:${port[$1]}" -H "Cookie: ${cookie[$1]}" \
    -H 'X-CSRF: 1' -H 'Accept: application/json' \
    -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36' \
    "http://127.0.0.1:${port[$1]}/api/small" >"$work/wrk"
  after=$(ticks "${root[$1]}")
  grep ^RESULT "$work/wrk" | awk -v ticks=$((after - before)) -v hertz="$hertz" '{
    if ($7 > 0) { print $7 " requests failed" > "/dev/stderr"; exit 1 }
    printf "%.2f %.0f\n", ticks * 1e6 / hertz / $2, $2 * 1e6 / $3
  }'
}

for store in "${stores[@]}"; do load "$store" 1 >/dev/null; done
for ((round = 1; round <= rounds; round++)); do
  for ((turn = 0; turn < ${#stores[@]}; turn++)); do
    store=${stores[$(((turn + round) % ${#stores[@]}))]}
    load "$store" "$seconds" >>"$work/figures.$store"
  done
done

echo "$("$bff" --version); $rounds rounds of $seconds s, medians; workers = 1, a signed-in session"
echo
echo "GET 200 B, 32 connections; and $logins logins one after the other"
printf '  %-9s %11s %10s %11s %10s %13s\n' "" CPU-us/req "x ${stores[0]}" requests/s logins/s CPU-us/login
for store in "${stores[@]}"; do
  before=$(ticks "${root[$store]}")
  taskset -c 0 "$cast" logins "${port[$store]}" "$logins" >"$work/logins"
  after=$(ticks "${root[$store]}")
  cpu=$(median "$work/figures.$store" 1)
  printf '  %-9s %11.2f %10.2f %11.0f %10s %13.0f\n' "$store" "$cpu" \
    "$(awk -v a="$cpu" -v b="$(median "$work/figures.${stores[0]}" 1)" 'BEGIN { print a / b }')" \
    "$(median "$work/figures.$store" 2)" "$(cat "$work/logins")" \
    "$(awk -v t=$((after - before)) -v h="$hertz" -v n="$logins" 'BEGIN { print t * 1e6 / h / n }')"
done
for store in "${stores[@]}"; do kill "${root[$store]}"; done

# size STORE: what the filled store holds, in bytes.
size() {
  case $1 in
    memory) echo 0 ;;
    sqlite) cat "$work"/sqlite/filled.db* | wc -c ;;
    redis) redis-cli -p "$redis_port" info memory | tr -d '\r' | awk -F: '/^used_memory:/ { print $2 }' ;;
    postgres)
      as_postgres "$pg_bin/psql" -h 127.0.0.1 -p "$pg_port" -U bff -Atc \
        "select pg_database_size('filled')" filled
      ;;
  esac
}

echo
echo "$sessions sessions with 2 KiB of tokens each, 10 a user; 64 writes under way at once"
for store in "${stores[@]}"; do
  place=${url[$store]}
  case $store in
    sqlite) place=$work/sqlite/filled.db ;;
    redis) redis-cli -p "$redis_port" flushall >/dev/null ;;
    postgres) place=${place%/bff}/filled ;;
  esac
  "$cast" store "$store" "$place" "$sessions" >"$work/store.$store"
  echo
  if [ "$store" = memory ]; then
    echo "  memory (benches/memory.sh says how much of it)"
  else
    awk -v store="$store" -v bytes="$(size "$store")" -v n="$sessions" \
      'BEGIN { printf "  %s: %.2f GiB, %d bytes a session\n", store, bytes / 2^30, bytes / n }'
  fi
  awk -F'\t' '{ printf "    %-18s %10s %-3s %9s %9s\n", $1, $2 == "-" ? "" : $2, $2 == "-" ? "" : "/s",
    $3 == "-" ? "" : $3 " us", $4 == "-" ? "" : $4 " us" }' "$work/store.$store"
done
