#!/usr/bin/env bash
# What bff holds in memory: idle, for a connection that idles, and for a million sessions.
#
#   benches/memory.sh [--sessions N] [--connections N] [--flood MIB] [--bin-dir DIR]
#
#   --flood MIB  instead: with so much session.memory, four times the logins that there is room for
#
# Fails where `bff serve` needs 20 MiB or more before anybody has called, or where a million
# sessions with 2 KiB of tokens each need 4 GiB or more. An idle connection is aimed at 12 KiB. A flood fails
# where it takes more than session.memory, and 16 MiB beside for the connections and the codes that it uses up.
set -euo pipefail
cd "$(dirname "$0")/.."

sessions=1000000 connections=2000 flood=0 bin_dir=
while [ $# -gt 0 ]; do
  case $1 in
    --sessions) sessions=$2; shift 2 ;;
    --connections) connections=$2; shift 2 ;;
    --flood) flood=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
if [ -z "$bin_dir" ]; then
  # One after the other: together, the cast's test dependencies would be built into bff as well.
  cargo build --release --bin bff
  cargo build --release --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast
ulimit -n $((connections + 256))

work=$(mktemp -d)
started=()
stop() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
# Standard input of the cast, some of which ends with it: open as long as this script runs.
mkfifo "$work/open"
exec 3<>"$work/open"

# start NAME COMMAND…: runs it; pid in $pid, its output in $work/NAME.
start() {
  local name=$1
  shift
  "$@" >"$work/$name" 2>"$work/$name.err" <&3 &
  pid=$!
  started+=("$pid")
}

# line NAME N SECONDS: waits for the Nth line that NAME says.
line() {
  for _ in $(seq $(($3 * 10))); do
    if [ "$(wc -l <"$work/$1")" -ge "$2" ]; then sed -n "$2p" "$work/$1"; return; fi
    sleep 0.1
  done
  echo "$1 says nothing:" >&2
  cat "$work/$1.err" >&2
  return 1
}

rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

more=
if [ "$flood" -gt 0 ]; then
  more=$(printf '[session]\nmemory = "%sMiB"\nmax_per_user = "none"' "$flood")
fi
port=$("$cast" port)
start provider "$cast" provider "http://localhost:$port/"
cat >"$work/bff.toml" <<TOML
[server]
listen     = "127.0.0.1:$port"
public_url = "http://localhost:$port"
workers    = 1

[provider]
issuer        = "$(line provider 1 10)"
client_id     = "$(line provider 2 10)"
client_secret = "env:BFF_CLIENT_SECRET"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:9"

$more

[log]
level = "warn"
TOML
BFF_CLIENT_SECRET=$(line provider 3 10) start bff "$bff" serve --config "$work/bff.toml"
bff_pid=$pid
for _ in $(seq 100); do
  if curl -fsS -o /dev/null -H 'X-CSRF: 1' "http://localhost:$port/bff/session" 2>/dev/null; then
    break
  fi
  sleep 0.1
done
idle=$(rss "$bff_pid")
echo "bff serve, idle: $((idle / 1024)) MiB ($idle KiB)"

if [ "$flood" -gt 0 ]; then
  # A session takes about 3.5 KiB here.
  room=$((flood * 1024 * 2 / 7))
  for fill in 1 2 3 4; do
    "$cast" logins "$port" "$room" >/dev/null
    full=$(($(rss "$bff_pid") - idle))
    echo "$((fill * room)) logins, $flood MiB for sessions: $((full / 1024)) MiB more than idle"
  done
  cat "$work/bff.err" >&2
  [ "$full" -lt $(((flood + 16) * 1024)) ] || { echo "flood: not within session.memory" >&2; exit 1; }
  exit 0
fi

start idle "$cast" idle "$port" "$connections"
[ "$(line idle 1 60)" = "$connections" ]
# One that idles for half a second is parked, and the allocator gives back what that frees.
sleep 3
open=$(rss "$bff_pid")
echo "an idle connection: $(awk -v k=$((open - idle)) -v n="$connections" \
  'BEGIN { printf "%.1f", k / n }') KiB ($connections of them, one request each)"

start sessions "$cast" sessions "$sessions" 2048
[ "$(line sessions 1 600)" = "$sessions" ]
full=$(rss "$pid")
echo "$sessions sessions with 2 KiB of tokens: $((full / 1024)) MiB ($((full * 1024 / sessions)) bytes each)"

failed=0
[ "$idle" -lt $((20 * 1024)) ] || { echo "idle: not below 20 MiB" >&2; failed=1; }
[ $((full * 1000000 / sessions)) -lt $((4 * 1024 * 1024)) ] ||
  { echo "a million sessions: not below 4 GiB" >&2; failed=1; }
exit $failed
