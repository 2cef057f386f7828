#!/usr/bin/env bash
# A fleet of nodes on one store: what a change costs each node that hears of it, and the store; and from
# that, how many changes a second a larger fleet carries, and what ends it.
#
#   benches/fleet.sh [--sessions N] [--nodes N] [--ears N] [--rate N] [--seconds N]
#                   [--rounds N] [--bin-dir DIR] [STORE…]
#
#   STORE          redis, cluster (Redis, three masters), postgres; default all three
#   --sessions N   sessions in the store, 2 KiB of tokens each; default 1000000
#   --nodes N      real nodes; default 8
#   --ears N       connections that hear and discard, in a run of their own; default 100
#   --rate N       changes a second, of twenty one login, nine slides, nine refreshes, one end; default 1000
#   --seconds N    a measurement; default 5
#   --rounds N     of all measurements in turn, whose means count; default 2
#   --bin-dir DIR  take bff and examples/bench_cast from there instead of building them
#
# Not a timed test: what counts is the CPU time of processes, which other work on the machine changes
# little. The model is made of short runs with none and with two nodes; the runs with all nodes and with
# all ears are foretold by it, and the error is printed. Everything listens on the loopback.
set -euo pipefail
cd "$(dirname "$0")/.."

sessions=1000000 nodes=8 ears=100 rate=1000 seconds=5 rounds=2 bin_dir=
stores=()
while [ $# -gt 0 ]; do
  case $1 in
    --sessions) sessions=$2; shift 2 ;;
    --nodes) nodes=$2; shift 2 ;;
    --ears) ears=$2; shift 2 ;;
    --rate) rate=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    redis | cluster | postgres) stores+=("$1"); shift ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[ ${#stores[@]} -gt 0 ] || stores=(redis cluster postgres)

. benches/lib.sh
need redis-server:redis-server redis-cli:redis-tools
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || need no-such-tool:postgresql
if [ -z "$bin_dir" ]; then
  cargo build --release --bin bff --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast
all_cores=0-$(($(nproc) - 1))

# PostgreSQL refuses to run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}
stop_postgres() { as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -m immediate stop >/dev/null 2>&1; }

# a_redis NAME PORT OPTION…
a_redis() {
  local name=$1 port=$2
  shift 2
  mkdir -p "$work/data.$name"
  start "$name" "$all_cores" redis-server --port "$port" --bind 127.0.0.1 --dir "$work/data.$name" \
    --save '' --appendonly no "$@"
  for _ in $(seq 100); do redis-cli -p "$port" ping >/dev/null 2>&1 && return; sleep 0.1; done
  return 1
}

# start_store STORE: its kind, URL and processes in $kind, $url and $store_pids.
start_store() {
  local port
  case $1 in
    redis)
      kind=redis
      port=$("$cast" port)
      a_redis redis "$port"
      url=redis://127.0.0.1:$port store_pids=$pid
      ;;
    cluster)
      kind=redis url=redis+cluster:// store_pids=
      local addresses=()
      for number in 1 2 3; do
        port=$("$cast" port)
        a_redis "cluster.$number" "$port" --cluster-enabled yes --cluster-port "$("$cast" port)"
        addresses+=("127.0.0.1:$port") store_pids="$store_pids $pid"
      done
      redis-cli --cluster create "${addresses[@]}" --cluster-replicas 0 --cluster-yes >/dev/null
      for address in "${addresses[@]}"; do
        until redis-cli -p "${address#*:}" cluster info | grep -q cluster_state:ok; do sleep 0.1; done
      done
      url=$url$(IFS=,; echo "${addresses[*]}")
      ;;
    postgres)
      kind=postgres
      port=$("$cast" port)
      pg_bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -1)")
      chmod 711 "$work"
      mkdir -p "$work/pg"
      [ "$(id -u)" != 0 ] || chown postgres "$work/pg"
      as_postgres "$pg_bin/initdb" -D "$work/pg" -A trust -U bff >/dev/null
      as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -w -l "$work/pg/log" -o "-p $port \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=$work/pg -c max_connections=400" start >/dev/null
      at_stop+=(stop_postgres)
      as_postgres "$pg_bin/createdb" -h 127.0.0.1 -p "$port" -U bff bff
      url=postgres://bff@127.0.0.1:$port/bff store_pids=$(head -1 "$work/pg/postmaster.pid")
      ;;
  esac
}

# sql STATEMENT…
sql() {
  local statement
  for statement in "$@"; do as_postgres "$pg_bin/psql" "$url" -qAtc "$statement" >/dev/null; done
}

# start_nodes STORE COUNT: as many as are missing; their processes in $node_pids.
start_nodes() {
  local number port
  for ((number = $(wc -w <<<"$node_pids"); number < $2; number++)); do
    port=$("$cast" port)
    mkdir -p "$work/node.$1.$number"
    cat >"$work/node.$1.$number/bff.toml" <<TOML
[server]
listen     = "127.0.0.1:$port"
public_url = "http://localhost:$public_port"
workers    = 1

[provider]
issuer        = "$(line provider 1)"
client_id     = "$(line provider 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[session]
keys      = ["env:BFF_SESSION_KEY"]
store     = "$kind"
store_url = "$url"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$public_port"

[log]
level = "warn"
TOML
    start "bff.$1.$number" "$all_cores" "$bff" serve --config "$work/node.$1.$number/bff.toml"
    until_answers "http://127.0.0.1:$port/bff/session" -H "Host: localhost:$public_port" -H 'X-CSRF: 1'
    node_pids="$node_pids $pid"
  done
}

public_port=$("$cast" port)
BFF_SESSION_KEY=$("$bff" keygen)
export BFF_SESSION_KEY
start provider "$all_cores" "$cast" provider "http://localhost:$public_port/"
BFF_CLIENT_SECRET=$(line provider 3)
export BFF_CLIENT_SECRET

# play NAME RATE EARS: a line of figures for the model.
play() {
  "$cast" fleet play "$kind" "$url" "$2" "$seconds" "$3" "$node_pids" "$store_pids" >"$work/figures"
  echo "$1 $(cat "$work/figures")" >>"$work/runs"
}
# say NAME OCTETS RATE EARS
say() {
  "$cast" fleet say "$kind" "$url" "$2" "$3" "$seconds" "$4" "" "$store_pids" >"$work/figures"
  echo "$1 $(cat "$work/figures")" >>"$work/runs"
}

echo "$("$bff" --version); $sessions sessions, $rate changes a second, $seconds s a measurement, $(nproc) cores"
for store in "${stores[@]}"; do
  start_store "$store"
  node_pids=
  # A million rows need not be safe one by one; and what a database does behind them is none of the fleet's.
  [ "$store" != postgres ] || sql 'ALTER SYSTEM SET synchronous_commit = off' 'SELECT pg_reload_conf()'
  "$cast" fleet fill "$kind" "$url" "$sessions" >/dev/null
  [ "$store" != postgres ] || sql 'ALTER SYSTEM RESET synchronous_commit' 'SELECT pg_reload_conf()' \
    'VACUUM ANALYZE' CHECKPOINT
  : >"$work/runs"
  for ((round = 0; round < rounds; round++)); do
    say one 150 500 1
    say small 150 500 "$ears"
    say large 6000 100 "$ears"
    play steps "$rate" 1
    play flat 1000000 1
    start_nodes "$store" 2
    play idle 1 1
    play two "$rate" 1
    start_nodes "$store" "$nodes"
    play nodes "$rate" 1
    for process in $node_pids; do kill "$process"; done
    node_pids=
    sleep 1
    play ears "$rate" "$ears"
  done
  echo
  echo "$store"
  awk -v store="$store" -v nodes="$nodes" -v ears="$ears" -f benches/compare/fleet.awk "$work/runs"
  for process in $store_pids; do kill "$process"; done
done
