#!/usr/bin/env bash
# What a request through bff costs, beside nginx (plain proxy_pass) and a bare hyper proxy.
#
#   benches/compare.sh [--rounds N] [--seconds N] [--quick] [--bin-dir DIR]
#
#   --rounds N     rounds, each of them all scenarios through all proxies in turn; default 5
#   --seconds N    seconds of load a measurement; default 5
#   --quick        the same as --rounds 3 --seconds 2
#   --tls          TLS towards the browser, beside nginx: HTTP/1.1, HTTP/2, a handshake for each request
#   --bin-dir DIR  take bff and examples/bench_cast from there instead of building them
#
# Not a timed test: it asserts that every request was answered and prints what it saw. The proxy has
# core 1 to itself; load generator, upstream and provider share core 0. bff serves a signed-in
# session with one worker and the log level "warn", every rule switched on. CPU-us a request (user
# and system time of the proxy's processes over the requests answered) is the figure that holds
# still; rates and latencies depend on core 0 as well. Compare within one run only.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 seconds=5 bin_dir= tls=
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --quick) rounds=3 seconds=2; shift ;;
    --tls) tls=1; shift ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done

. benches/lib.sh
need nginx:nginx-light wrk:wrk curl:curl
if [ -n "$tls" ]; then need h2load:nghttp2-client openssl:openssl; fi
if [ -z "$bin_dir" ]; then
  # One after the other: together, the cast's test dependencies would be built into bff as well.
  cargo build --release --bin bff
  cargo build --release --example bench_cast
  bin_dir=${CARGO_TARGET_DIR:-target}/release
fi
bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast

start upstream 0 "$cast" upstream
upstream=$(line upstream 1)

scheme=http tls_keys= tls_listen=
if [ -n "$tls" ]; then
  scheme=https
  # What both do for a connection: the same certificate, the same key exchange.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
  tls_keys="tls = { cert = \"$work/cert.pem\", key = \"$work/key.pem\" }"
  tls_listen="ssl http2"
fi

bff_port=$("$cast" port)
start provider 0 "$cast" provider "$scheme://localhost:$bff_port/"
cat >"$work/bff.toml" <<TOML
[server]
listen     = "127.0.0.1:$bff_port"
public_url = "$scheme://localhost:$bff_port"
workers    = 1
$tls_keys

[provider]
issuer        = "$(line provider 1)"
client_id     = "$(line provider 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$upstream"

[log]
level = "warn"
TOML
BFF_CLIENT_SECRET=$(line provider 3) start bff 1 "$bff" serve --config "$work/bff.toml"
bff_pid=$pid

nginx_port=$("$cast" port)
mkdir -p "$work/nginx.d"
tls_nginx=
if [ -n "$tls" ]; then
  tls_nginx="ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; http2_max_requests 1000000000;"
fi
# As long a token as bff's own, so that the upstream reads as much.
token=$(head -c 900 /dev/zero | tr '\0' t)
cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $work/nginx.d/pid;
error_log $work/nginx.d/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path $work/nginx.d/body;
  proxy_temp_path $work/nginx.d/proxy;
  fastcgi_temp_path $work/nginx.d/fastcgi;
  uwsgi_temp_path $work/nginx.d/uwsgi;
  scgi_temp_path $work/nginx.d/scgi;
  upstream api {
    server 127.0.0.1:$upstream;
    keepalive 128;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:$nginx_port $tls_listen;
    $tls_nginx
    location / {
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer $token";
    }
  }
}
CONF
start nginx 1 nginx -c "$work/nginx.conf"
nginx_pid=$pid

start bare 1 "$cast" proxy "$upstream"
bare_pid=$pid
bare_port=$(line bare 1)

# A real login: the cookie is what the browser would hold.
until_answers -kL -c "$work/jar" -b "$work/jar" \
  "$scheme://localhost:$bff_port/bff/login?login_hint=alice&return_to=/api/small" -H 'X-CSRF: 1'
cookie=$(awk '$6 ~ /^(__Host-Http-)?bff(-[0-9]+)?$/ { print $6 "=" $7 }' "$work/jar")
[ -n "$cookie" ] || { echo "the login gave no session cookie" >&2; exit 1; }

declare -A port=([bff]=$bff_port [nginx]=$nginx_port [bare]=$bare_port)
declare -A root=([bff]=$bff_pid [nginx]=$nginx_pid [bare]=$bare_pid)
proxies=(nginx bare bff) scenarios=(small large post new)
# The bare proxy speaks no TLS.
if [ -n "$tls" ]; then proxies=(nginx bff) scenarios=(small large post h2 h2large new); fi
declare -A title=([small]="GET 200 B, 32 connections" [large]="GET 64 KiB, 32 connections"
  [post]="POST 1 KiB, 32 connections" [new]="GET 200 B, a new connection each"
  [h2]="HTTP/2, GET 200 B, 32 connections of 8 streams" [h2large]="HTTP/2, GET 64 KiB, 32 connections of 8 streams")

for proxy in "${proxies[@]}"; do
  until_answers -k "$scheme://127.0.0.1:${port[$proxy]}/api/small" \
    -H "Host: localhost:$bff_port" -H "Cookie: $cookie" -H 'X-CSRF: 1'
done
# Without its session the measured one must refuse, or something else is measured.
[ "$(curl -ks -o /dev/null -w '%{http_code}' "$scheme://localhost:$bff_port/api/small" -H 'X-CSRF: 1')" = 401 ]

# load PROXY SCENARIO SECONDS: a line "cpu-us rps p50 p99".
load() {
  local path=/api/small body=0 close=0
  case $2 in
    large) path=/api/large ;;
    post) body=1024 ;;
    new) close=1 ;;
    h2 | h2large)
      http2 "$@"
      return
      ;;
  esac
  local before after result
  before=$(ticks "${root[$1]}")
  BENCH_BODY=$body BENCH_CLOSE=$close taskset -c 0 wrk -t1 -c32 -d"$3s" --latency \
    -s benches/compare/load.lua -H "Host: localhost:$bff_port" -H "Cookie: $cookie" \
    -H 'X-CSRF: 1' -H 'Accept: application/json' \
    -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36' \
    "$scheme://127.0.0.1:${port[$1]}$path" >"$work/wrk"
  after=$(ticks "${root[$1]}")
  result=$(grep ^RESULT "$work/wrk")
  awk -v ticks=$((after - before)) -v hertz="$hertz" '{
    if ($7 > 0) { print "'"$1 $2"': " $7 " requests failed" > "/dev/stderr"; exit 1 }
    printf "%.2f %.0f %d %d\n", ticks * 1e6 / hertz / $2, $2 * 1e6 / $3, $4, $5
  }' <<<"$result"
}

# http2 PROXY SCENARIO SECONDS: the same line. h2load tells neither p50 nor p99: the mean stands for one.
http2() {
  local before after path=/api/small
  if [ "$2" = h2large ]; then path=/api/large; fi
  before=$(ticks "${root[$1]}")
  taskset -c 0 h2load -D "$3" -c 32 -m 8 -t 1 -H "Cookie: $cookie" -H 'X-CSRF: 1' -H 'Accept: application/json' \
    -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36' \
    --connect-to="127.0.0.1:${port[$1]}" "https://localhost:$bff_port$path" >"$work/h2load"
  after=$(ticks "${root[$1]}")
  awk -v ticks=$((after - before)) -v hertz="$hertz" '
    /^finished in/ { rate = $4 }
    /^status codes:/ { good = $3; bad = $5 + $7 + $9 }
    # min, max, mean
    /^time for request:/ { mean = $6; unit = mean; gsub(/[0-9.]/, "", unit); mean *= unit == "s" ? 1e6 : unit == "ms" ? 1e3 : 1 }
    END {
      if (bad > 0 || good == 0) { print "'"$1 $2"': " bad " requests failed" > "/dev/stderr"; exit 1 }
      printf "%.2f %.0f %d 0\n", ticks * 1e6 / hertz / good, rate, mean
    }' "$work/h2load"
}

declare -A idle
for proxy in "${proxies[@]}"; do idle[$proxy]=$(rss "${root[$proxy]}"); done
for proxy in "${proxies[@]}"; do
  for scenario in small large; do load "$proxy" "$scenario" 1 >/dev/null; done
done
for ((round = 1; round <= rounds; round++)); do
  for scenario in "${scenarios[@]}"; do
    for ((turn = 0; turn < ${#proxies[@]}; turn++)); do
      # Another one begins each round, so that none always follows the same.
      proxy=${proxies[$(((turn + round) % ${#proxies[@]}))]}
      load "$proxy" "$scenario" "$seconds" >>"$work/figures.$proxy.$scenario"
    done
  done
done

echo
echo "$(nginx -v 2>&1 | sed 's/.*: //'), $("$bff" --version); $rounds rounds of $seconds s, medians"
echo "bff: workers = 1, log level warn, a signed-in session"
for scenario in "${scenarios[@]}"; do
  echo
  echo "${title[$scenario]}"
  printf '  %-6s %12s %9s %10s %9s %9s\n' "" "CPU-us/req" "x nginx" "requests/s" "p50 us" "p99 us"
  for proxy in "${proxies[@]}"; do
    cpu=$(median "$work/figures.$proxy.$scenario" 1)
    printf '  %-6s %12.2f %9.2f %10.0f %9.0f %9.0f\n' "$proxy" "$cpu" \
      "$(awk -v a="$cpu" -v b="$(median "$work/figures.nginx.$scenario" 1)" 'BEGIN { print a / b }')" \
      "$(median "$work/figures.$proxy.$scenario" 2)" "$(median "$work/figures.$proxy.$scenario" 3)" \
      "$(median "$work/figures.$proxy.$scenario" 4)"
  done
done
echo
echo "Resident memory, MiB"
printf '  %-6s %9s %9s\n' "" idle after
for proxy in "${proxies[@]}"; do
  awk -v proxy="$proxy" -v idle="${idle[$proxy]}" -v after="$(rss "${root[$proxy]}")" \
    'BEGIN { printf "  %-6s %9.1f %9.1f\n", proxy, idle / 1024, after / 1024 }'
done
