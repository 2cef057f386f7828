#!/usr/bin/env bash
# A rolling update of two nodes behind a balancer, while browsers go on calling: every call is answered.
#
#   tests/rolling.sh [haproxy | nginx] [--rounds N] [--bin-dir DIR]
#
# Both nodes are replaced N times (3), one after the other, as a deployment does it: the next one only
# once the last is ready. wrk reads (GET) and writes (POST) through the balancer with a signed-in
# user's cookie all the while. Fails where a call was not answered, or answered with anything but
# success.
set -euo pipefail
cd "$(dirname "$0")/.."

balancers=() rounds=3 bin_dir=
while [ $# -gt 0 ]; do
  case $1 in
    haproxy | nginx) balancers+=("$1"); shift ;;
    --rounds) rounds=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[ ${#balancers[@]} -gt 0 ] || balancers=(haproxy nginx)
if [ -z "$bin_dir" ]; then
  cargo build --locked --bin bff
  cargo build --locked --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/debug
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast

. benches/lib.sh
need haproxy:haproxy nginx:nginx-light wrk:wrk redis-server:redis-server curl:curl

# launch NAME COMMAND…: as start of lib.sh, on whichever core is free.
launch() {
  local name=$1
  shift
  "$@" >>"$work/$name" 2>>"$work/$name.err" <&3 &
  pid=$!
  started+=("$pid")
}

port() { "$cast" port; }
declare -A node_pid=() node_port=([a]=$(port) [b]=$(port)) admin_port=([a]=$(port) [b]=$(port))
balancer_port=$(port) redis_port=$(port)
public_url=http://localhost:$balancer_port

launch redis redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --dir "$work"
launch upstream "$cast" upstream
launch provider "$cast" provider "$public_url/"
upstream_port=$(line upstream 1)

cat >"$work/bff.toml" <<TOML
[server]
listen          = "127.0.0.1:1"       # BFF_SERVER__LISTEN
public_url      = "$public_url"
trusted_proxies = ["127.0.0.0/8"]
timeouts        = { drain_delay = "2s", drain = "10s" }

[provider]
issuer        = "$(line provider 1)"
client_id     = "$(line provider 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[session]
keys      = ["env:BFF_SESSION_KEY"]
store     = "redis"
store_url = "redis://127.0.0.1:$redis_port"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$upstream_port"

[log]
level = "warn"
TOML
export BFF_CLIENT_SECRET BFF_SESSION_KEY
BFF_CLIENT_SECRET=$(line provider 3)
BFF_SESSION_KEY=$("$bff" keygen)

ready() { curl -fsS -o /dev/null "http://127.0.0.1:${admin_port[$1]}/readyz" 2>/dev/null; }

# node NAME: starts it and waits until it is ready, as an orchestrator does.
node() {
  BFF_SERVER__LISTEN=127.0.0.1:${node_port[$1]} BFF_SERVER__ADMIN_LISTEN=127.0.0.1:${admin_port[$1]} \
    launch "node-$1" "$bff" serve --config "$work/bff.toml"
  node_pid[$1]=$pid
  for _ in $(seq 300); do
    ready "$1" && return
    sleep 0.1
  done
  echo "node $1 does not become ready:" >&2
  cat "$work/node-$1" "$work/node-$1.err" >&2
  return 1
}

# replace NAME: told to stop, gone, and the next one in its place.
replace() {
  kill -TERM "${node_pid[$1]}"
  wait "${node_pid[$1]}" || { echo "node $1 ended with $?" >&2; return 1; }
  node "$1"
  # The balancer has asked it too before the next one goes.
  sleep 1
}

# Asks /readyz itself, twice a second.
haproxy_config() {
  cat <<CFG
defaults
    mode http
    timeout connect 2s
    timeout client  75s
    timeout server  75s
    # A connection that does not come about is tried again, at the other node in the end.
    retries 3
    option redispatch

frontend public
    bind 127.0.0.1:$balancer_port
    default_backend bff

backend bff
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz hdr Host localhost
    http-check expect status 200
    default-server inter 500ms fall 1 rise 1
    server a 127.0.0.1:${node_port[a]} check port ${admin_port[a]}
    server b 127.0.0.1:${node_port[b]} check port ${admin_port[b]}
CFG
}

# Asks nothing: it learns from connections that are refused, and passes those calls on.
nginx_config() {
  cat <<CFG
daemon off;
master_process off;
pid $work/nginx.pid;
error_log $work/nginx-errors warn;
events {}
http {
    access_log off;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    upstream bff {
        server 127.0.0.1:${node_port[a]} max_fails=1 fail_timeout=2s;
        server 127.0.0.1:${node_port[b]} max_fails=1 fail_timeout=2s;
        keepalive 32;
    }
    server {
        listen 127.0.0.1:$balancer_port;
        location / {
            proxy_pass http://bff;
            proxy_http_version 1.1;
            proxy_connect_timeout 2s;
            proxy_set_header Host \$http_host;
            proxy_set_header X-Forwarded-For \$remote_addr;
            proxy_set_header Connection "";
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
            proxy_busy_buffers_size 32k;
        }
    }
}
CFG
}

# load NAME SECONDS: calls of one kind through the balancer; its figures in $work/load-NAME.
load() {
  wrk -t1 -c16 -d"$2s" --timeout 15s -s "$work/$1.lua" \
    -H "Host: localhost:$balancer_port" -H "Cookie: $cookie" -H 'X-CSRF: 1' \
    "http://127.0.0.1:$balancer_port/api/small" >"$work/load-$1" &
  loads+=("$!")
}
# A thousand and some calls a second each at most: the question is whether they are answered, not how fast.
cat >"$work/reads.lua" <<'LUA'
delay = function() return 8 end
done = function(s)
  local e = s.errors
  io.write(string.format("FIGURES %d %d %d\n", s.requests, e.status, e.connect + e.read + e.write + e.timeout))
end
LUA
sed '1i wrk.method = "POST"; wrk.body = string.rep("x", 1024)' "$work/reads.lua" >"$work/writes.lua"

# roll BALANCER
roll() {
  "$1_config" >"$work/$1.cfg"
  case $1 in
    haproxy) launch haproxy haproxy -db -f "$work/haproxy.cfg" ;;
    nginx) launch nginx nginx -c "$work/nginx.cfg" -e "$work/nginx-errors" ;;
  esac
  local balancer_pid=$pid loads=() began span
  until_answers -H 'X-CSRF: 1' "$public_url/bff/session"
  rm -f "$work/jar"
  curl -fsSL -o /dev/null -c "$work/jar" -b "$work/jar" -H 'X-CSRF: 1' \
    "$public_url/bff/login?login_hint=alice&return_to=/api/small"
  cookie=$(awk '$6 ~ /^bff(-[0-9]+)?$/ { print $6 "=" $7 }' "$work/jar")
  [ -n "$cookie" ] || { echo "the login gave no session cookie" >&2; return 1; }

  # A replacement takes some 5 s: 2 s of delay, the drain, the start, 1 s until the next.
  span=$((rounds * 2 * 8 + 4))
  load reads "$span"
  load writes "$span"
  began=$SECONDS
  for _ in $(seq "$rounds"); do replace a; replace b; done
  local took=$((SECONDS - began))
  for load in "${loads[@]}"; do wait "$load"; done
  [ "$took" -lt "$span" ] || { echo "the load ended before the last replacement" >&2; return 1; }
  kill "$balancer_pid"
  wait "$balancer_pid" 2>/dev/null || true

  local kind failed=0
  for kind in reads writes; do
    read -r _ calls refused lost < <(grep ^FIGURES "$work/load-$kind")
    echo "$1, $((rounds * 2)) replacements in $took s: $calls $kind, $lost without an answer, $refused not answered with success"
    [ "$calls" -gt 0 ] && [ "$lost" = 0 ] && [ "$refused" = 0 ] || failed=1
  done
  return $failed
}

node a
node b
failed=0
for balancer in "${balancers[@]}"; do roll "$balancer" || failed=1; done
exit $failed
