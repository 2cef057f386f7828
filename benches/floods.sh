#!/usr/bin/env bash
# What a flood from two hundred addresses costs a signed-in visitor, and what it has us keep.
#
#   benches/floods.sh [--seconds N] [--store memory|redis] [--bin-dir DIR] [KIND…]
#
#   --seconds N    how long each flood lasts; default 60
#   --store STORE  where sessions and used states are kept; default redis, a server of its own
#   --bin-dir DIR  take bff and examples/bench_cast from there instead of building them
#   KIND           error-answers made-up-codes slow-codes cookies nominations logout-tokens
#                  idle-connections; default all
#
# A thousand requests a second on loopback. bff has core 1 to itself; the flood, the visitor, the
# upstream, the provider and the store share core 0. For each kind: the visitor's calls before and
# beside it, logins of others, resident memory of bff and bytes of the store.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60 store=redis bin_dir= kinds=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=$2; shift 2 ;;
    --store) store=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) echo "unknown option $1; see --help" >&2; exit 2 ;;
    *) kinds+=("$1"); shift ;;
  esac
done
[ ${#kinds[@]} -gt 0 ] ||
  kinds=(error-answers made-up-codes slow-codes cookies nominations logout-tokens idle-connections)

. benches/lib.sh
need curl:curl redis-server:redis-server
ulimit -n "$(ulimit -H -n)"
if [ -z "$bin_dir" ]; then
  # One after the other: together, the cast's test dependencies would be built into bff as well.
  cargo build --release --bin bff
  cargo build --release --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast

start upstream 0 "$cast" upstream
upstream=$(line upstream 1)
BFF_SESSION_KEY=$("$bff" keygen)
export BFF_SESSION_KEY

store_bytes() {
  [ "$store" = redis ] || { echo 0; return; }
  redis-cli -p "$redis_port" info memory | tr -d '\r' | awk -F: '$1 == "used_memory" { print $2 }'
}

for kind in "${kinds[@]}"; do
  url=
  if [ "$store" = redis ]; then
    redis_port=$("$cast" port)
    start "redis-$kind" 0 redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work"
    for _ in $(seq 100); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && break; sleep 0.1; done
    url="store_url = \"redis://127.0.0.1:$redis_port\""
  fi
  port=$("$cast" port)
  start "provider-$kind" 0 "$cast" provider "http://localhost:$port/"
  issuer=$(line "provider-$kind" 1)
  # Addresses count where it is known who is before us.
  cat >"$work/bff.toml" <<TOML
[server]
listen          = "127.0.0.1:$port"
public_url      = "http://localhost:$port"
workers         = 1
trusted_proxies = ["127.0.0.0/8"]

[provider]
issuer        = "$issuer"
client_id     = "$(line "provider-$kind" 2)"
client_secret = "env:BFF_CLIENT_SECRET"

# Others sign in as the visitor, oftener than one user may have sessions.
[session]
max_per_user = "none"
keys  = ["env:BFF_SESSION_KEY"]
store = "$store"
$url

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$upstream"

[log]
level = "warn"
TOML
  BFF_CLIENT_SECRET=$(line "provider-$kind" 3) start "bff-$kind" 1 "$bff" serve --config "$work/bff.toml"
  bff_pid=$pid
  rm -f "$work/jar"
  until_answers -L -c "$work/jar" -b "$work/jar" -H 'X-CSRF: 1' \
    "http://localhost:$port/bff/login?login_hint=alice&return_to=/api/small"
  cookie=$(awk '$6 ~ /^bff(-[0-9]+)?$/ { print $6 "=" $7 }' "$work/jar")
  [ -n "$cookie" ] || { echo "the login gave no session cookie" >&2; exit 1; }
  flood=$kind
  if [ "$kind" = slow-codes ]; then
    flood=made-up-codes
    curl -fsS -o /dev/null -H 'Content-Type: application/json' -H "Origin: $issuer" \
      -d '{"delay_ms": 1000}' "$issuer/control/state"
  fi
  rss_before=$(rss "$bff_pid") bytes_before=$(store_bytes)
  echo "== $kind, ${seconds}s, sessions in $store"
  taskset -c 0 "$cast" flood "$flood" "$port" "$seconds" "$cookie"
  echo "bff $((rss_before / 1024)) -> $(($(rss "$bff_pid") / 1024)) MiB, store $((bytes_before / 1024)) -> $(($(store_bytes) / 1024)) KiB"
  kill "$bff_pid"
done
