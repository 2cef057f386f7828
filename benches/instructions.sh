#!/usr/bin/env bash
# User instructions that one authenticated request costs in bff, counted by valgrind's callgrind.
#
#   benches/instructions.sh [--requests N] [--bin-dir DIR] [--access-log] [--sites N] [--tenants N]
#
#   --requests N   requests of the longer of two runs, whose difference is what is told; default 4000
#   --bin-dir DIR  take bff and examples/bench_cast from there instead of building them
#   --sites N      beside so many other sites
#   --tenants N    at one of so many tenants of a site
#   --access-log   with the line that each request writes; without it the log level is "warn"
#
# Unlike time, the count is the same on a busy machine: within 1 % for the same binary. One worker, a
# signed-in session, eight kept connections of which each has one request under way.
set -euo pipefail
cd "$(dirname "$0")/.."

requests=4000 bin_dir= level=warn sites=0 tenants=0
while [ $# -gt 0 ]; do
  case $1 in
    --requests) requests=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    --access-log) level=info; shift ;;
    --sites) sites=$2; shift 2 ;;
    --tenants) tenants=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done

. benches/lib.sh
need valgrind:valgrind curl:curl
if [ -z "$bin_dir" ]; then
  # One after the other: together, the cast's test dependencies would be built into bff as well.
  cargo build --release --bin bff
  cargo build --release --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast
patience=60

start upstream 0 "$cast" upstream
upstream=$(line upstream 1)

# instructions SCENARIO COUNT: those of a whole run of bff that answers so many requests.
instructions() {
  local port cookie body=0 method=GET
  port=$("$cast" port)
  start "provider-$1-$2" 0 "$cast" provider "http://localhost:$port/"
  local provider=$pid told=provider-$1-$2
  local public_url="http://localhost:$port" more=
  rm -rf "$work/sites" && mkdir "$work/sites"
  for n in $(seq "$sites"); do
    echo "public_url = \"http://site-$n.localhost:$port\"" >"$work/sites/site-$n.toml"
  done
  if [ "$sites" -gt 0 ]; then more='sites = "sites"'; fi
  if [ "$tenants" -gt 0 ]; then
    # The one that is asked stands where the one site does, so that all else is the same.
    public_url="http://{tenant}.app.localhost:$port" more+=$'\ntenants_file = "tenants.toml"'
    { echo 'm = { host = "localhost" }'; seq -f 't%.0f = {}' $((tenants - 1)); } >"$work/tenants.toml"
  fi
  cat >"$work/bff.toml" <<TOML
[server]
listen     = "127.0.0.1:$port"
public_url = "$public_url"
workers    = 1
$more

[provider]
issuer        = "$(line "$told" 1)"
client_id     = "$(line "$told" 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$upstream"

[log]
level = "$level"
TOML
  BFF_CLIENT_SECRET=$(line "$told" 3) start "bff-$1-$2" 1 valgrind --tool=callgrind \
    --callgrind-out-file="$work/callgrind-$1-$2" "$bff" serve --config "$work/bff.toml"
  local bff_pid=$pid
  rm -f "$work/jar"
  for _ in $(seq $((patience * 5))); do
    if curl -fsSL -o /dev/null -c "$work/jar" -b "$work/jar" -H 'X-CSRF: 1' \
      "http://localhost:$port/bff/login?login_hint=alice&return_to=/api/small" 2>"$work/curl.err"; then break; fi
    sleep 0.2
  done
  # Its name has the port in it where the host is this machine.
  cookie=$(awk '$6 ~ /^bff(-[0-9]+)?$/ { print $6 "=" $7 }' "$work/jar")
  [ -n "$cookie" ] || { echo "the login gave no session cookie" >&2; cat "$work/curl.err" >&2; exit 1; }
  case $1 in post) method=POST body=1024 ;; esac
  "$cast" requests "$port" "$2" "$method" "$body" "$cookie" >/dev/null
  kill "$bff_pid" && wait "$bff_pid" 2>/dev/null || true
  kill "$provider" 2>/dev/null || true
  awk '/^(summary|totals):/ { print $2; exit }' "$work/callgrind-$1-$2"
}

for scenario in get post; do
  few=$(instructions "$scenario" $((requests / 4)))
  many=$(instructions "$scenario" "$requests")
  echo "$scenario $(((many - few) / (requests - requests / 4))) instructions a request"
done
