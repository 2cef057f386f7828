#!/usr/bin/env bash
# What tenants cost: at a start, unused, and in use.
#
#   benches/tenants.sh [--tenants N] [--used N] [--settle SECONDS] [--bin-dir DIR]
#
#   --tenants N       how many there are; default 10000
#   --used N          at how many of them somebody signs in; default 1000
#   --settle SECONDS  how long after the start memory is looked at; default 60
#
# Fails where so many tenants take 1 s more to start than none, 40 MiB more unused, or 60 KiB each in use.
set -euo pipefail
cd "$(dirname "$0")/.."

tenants=10000 used=1000 settle=60 bin_dir=
while [ $# -gt 0 ]; do
  case $1 in
    --tenants) tenants=$2; shift 2 ;;
    --used) used=$2; shift 2 ;;
    --settle) settle=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done

. benches/lib.sh
need curl:curl
if [ -z "$bin_dir" ]; then
  # One after the other: together, the cast's test dependencies would be built into bff as well.
  cargo build --release --bin bff
  cargo build --release --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast

port=$("$cast" port)
start provider 0 "$cast" provider "http://localhost:$port/"

# begin NAME TENANTS: starts bff with so many of them; pid in $pid, milliseconds until it answers in $took.
begin() {
  mkdir -p "$work/$1.d"
  { echo 'm = { host = "localhost" }'; seq -f 't%.0f = {}' "$2"; } >"$work/$1.d/tenants.toml"
  cat >"$work/$1.d/bff.toml" <<TOML
[server]
listen       = "127.0.0.1:$port"
public_url   = "http://{tenant}.app.localhost:$port"
tenants_file = "tenants.toml"
workers      = 1

[provider]
issuer        = "$(line provider 1)"
client_id     = "$(line provider 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:9"

[log]
level = "warn"
TOML
  local before
  before=$(date +%s%N)
  BFF_CLIENT_SECRET=$(line provider 3) start "$1" 1 "$bff" serve --config "$work/$1.d/bff.toml"
  until curl -fsS -o /dev/null -H "X-CSRF: 1" "http://localhost:$port/bff/session" 2>/dev/null; do
    kill -0 "$pid" || { cat "$work/$1.err" >&2; exit 1; }
    sleep 0.01
  done
  took=$((($(date +%s%N) - before) / 1000000))
}

peak() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }

begin none 0
none_took=$took
sleep "$settle"
none_rss=$(rss "$pid") none_peak=$(peak "$pid")
kill "$pid" && wait "$pid" 2>/dev/null || true

begin many "$tenants"
sleep "$settle"
many_rss=$(rss "$pid") many_peak=$(peak "$pid")
echo "start: $none_took ms with none, $took ms with $tenants"
echo "resident after $settle s: $none_rss KiB with none, $many_rss KiB with $tenants: $((many_rss - none_rss)) KiB more"
echo "peak: $none_peak KiB with none, $many_peak KiB with $tenants"

# A login that begins has the tenant's site made, and its provider's metadata and keys fetched.
for n in $(seq "$used"); do
  echo "url = \"http://localhost:$port/bff/login\""
  echo "header = \"Host: t$n.app.localhost:$port\""
  echo 'output = "/dev/null"'
  echo 'next'
done | sed '$d' >"$work/logins"
curl -fsS --config "$work/logins"
sleep 5
in_use=$(rss "$pid")
each=$(((in_use - many_rss) / used))
echo "in use: $in_use KiB with $used of them: $each KiB each"

failed=0
fault() { echo "FAILED: $1" >&2; failed=1; }
[ $((took - none_took)) -le 1000 ] || fault "a start with $tenants takes more than 1 s longer"
[ $((many_rss - none_rss)) -le $((40 * 1024)) ] || fault "$tenants unused tenants take more than 40 MiB"
[ "$each" -le 60 ] || fault "a tenant in use takes more than 60 KiB"
exit "$failed"
