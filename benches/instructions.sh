#!/usr/bin/env bash
# User instructions that one authenticated request costs in bff, counted by valgrind's callgrind, beside
# the figures that are kept in benches/instructions.txt. Fails where one has grown by more than 3 %.
#
#   benches/instructions.sh [PATH…] [--accept] [--runs N] [--requests N] [--bin-dir DIR] [--access-log]
#                           [--sites N] [--tenants N] [--routes N] [--sessions N] [--connections N] [--workers N]
#
#   PATH           some alone, of
#                    get       200 octets
#                    post      1 KiB sent, 200 octets back
#                    large     64 KiB back
#                    log       as get, with the line that each request writes
#                    redis     as get, with the session in Redis and remembered by the process
#                    routes    as get, at the last of 1,000 routes
#                    sessions  as get, each for the next of 100,000 sessions that the process remembers
#   --accept       keeps the figures of this run instead of comparing with them; commit them with the reason
#   --runs N       counts each so often and tells the median and how far apart the figures are; default 1
#   --requests N   how many are counted; default 2000
#   --bin-dir DIR  take bff and examples/bench_cast from there instead of building them
#   --access-log   all paths with the line that each request writes
#   --sites N      all beside so many other sites
#   --tenants N    all at one of so many tenants of a site
#   --routes N     other than 1,000
#   --sessions N   other than 100,000
#   --connections N  all beside so many kept connections that idle
#   --workers N    all by so many workers instead of one
#
# Unlike time, the count is the same on a busy machine: within 1 % for the same binary. One worker, a
# signed-in session, eight kept connections of which each has one request under way. What the worker's
# thread does is counted, and what the thread does that writes the log; not what is done by the clock,
# as often however many requests there are.
#
# Another compiler, valgrind, libc or processor counts otherwise. Where one of them is not what the
# figures were kept with, the commit before is built and counted too, and compared with instead.
set -euo pipefail
cd "$(dirname "$0")/.."

kept=benches/instructions.txt
most_percent=3
all=(get post large log redis routes sessions)

paths=() accept= runs=1 requests=2000 bin_dir= level=warn sites=0 tenants=0 routes=1000 sessions=100000
connections=0 workers=1 special=
while [ $# -gt 0 ]; do
  case $1 in
    --accept) accept=1; shift ;;
    --runs) runs=$2; shift 2 ;;
    --requests) requests=$2; shift 2 ;;
    --bin-dir) bin_dir=$2; shift 2 ;;
    --access-log) level=info special=1; shift ;;
    --sites) sites=$2 special=1; shift 2 ;;
    --tenants) tenants=$2 special=1; shift 2 ;;
    --routes) routes=$2 special=1; shift 2 ;;
    --sessions) sessions=$2 special=1; shift 2 ;;
    --connections) connections=$2 special=1; shift 2 ;;
    --workers) workers=$2 special=1; shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    get | post | large | log | redis | routes | sessions) paths+=("$1"); shift ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
if [ -n "$accept" ] && [ -n "$special${paths[*]}" ]; then
  echo "--accept keeps the figures of all paths as they are; leave the other options out" >&2
  exit 2
fi
[ ${#paths[@]} -gt 0 ] || paths=("${all[@]}")

. benches/lib.sh
need valgrind:valgrind curl:curl redis-server:redis-server
target=${CARGO_TARGET_DIR:-target}
if [ -n "$bin_dir" ]; then
  bff=$bin_dir/bff cast=$bin_dir/examples/bench_cast
else
  # Each by itself, as a release is built. The cast may be slow: it is not what is counted.
  CARGO_INCREMENTAL=0 cargo build --locked --release --bin bff
  cargo build --locked --example bench_cast
  bff=$target/release/bff cast=$target/debug/examples/bench_cast
fi
# What is counted stays what it is, whatever is built meanwhile.
cp "$bff" "$work/bff" && bff=$work/bff
ulimit -n "$(ulimit -Hn)"
few=$((requests / 4)) many=$((requests + requests / 4))

start upstream 0 "$cast" upstream
upstream=$(line upstream 1)
key=$("$bff" keygen)

# redis: starts one, and says where.
redis() {
  redis_port=$("$cast" port)
  start redis 0 redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no
  for _ in $(seq 100); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && return; sleep 0.1; done
  echo "redis-server does not start" >&2
  return 1
}

# serve NAME BFF LEVEL [memory|redis [ROUTES]]: starts bff under callgrind and signs in. Leaves $port, $bff_pid and
# the cookie in $work/NAME.cookie.
serve() {
  local name=$1 binary=$2 level=$3 store=${4:-memory} count=${5:-1} more= session=
  port=$("$cast" port)
  start "$name.provider" 0 "$cast" provider "http://localhost:$port/"
  provider_pid=$pid
  local public_url="http://localhost:$port"
  mkdir -p "$work/$name.d"
  if [ "$sites" -gt 0 ]; then
    mkdir "$work/$name.d/sites"
    for n in $(seq "$sites"); do
      echo "public_url = \"http://site-$n.localhost:$port\"" >"$work/$name.d/sites/site-$n.toml"
    done
    more='sites = "sites"'
  fi
  if [ "$tenants" -gt 0 ]; then
    # The one that is asked stands where the one site does, so that all else is the same.
    public_url="http://{tenant}.app.localhost:$port" more+=$'\ntenants_file = "tenants.toml"'
    { echo 'm = { host = "localhost" }'; seq -f 't%.0f = {}' $((tenants - 1)); } >"$work/$name.d/tenants.toml"
  fi
  if [ "$store" = redis ]; then
    redis
    session="store_url = \"redis://127.0.0.1:$redis_port\""$'\n'"near_cache = $((sessions * 2))"
  fi
  if [ "$connections" -gt 0 ]; then
    # Beyond four fifths of what may be open, idle ones are closed, and after a while all.
    more+=$'\n'"limits.connections = $((connections * 5 / 4 + 100))"$'\ntimeouts.idle = "1h"'
  fi
  {
    cat <<TOML
[server]
listen     = "127.0.0.1:$port"
public_url = "$public_url"
workers    = $workers
$more

[provider]
issuer        = "$(line "$name.provider" 1)"
client_id     = "$(line "$name.provider" 2)"
client_secret = "env:BFF_CLIENT_SECRET"

[session]
keys         = ["env:BFF_SESSION_KEY"]
idle_timeout = "1h"
store        = "$store"
$session

[log]
level = "$level"

[[route]]
path     = "/api"
upstream = "http://127.0.0.1:$upstream"
TOML
    [ "$count" = 1 ] || seq -f "[[route]]
path     = \"/api/orders/%.0f\"
upstream = \"http://127.0.0.1:$upstream\"" $((count - 1))
  } >"$work/$name.d/bff.toml"
  BFF_SESSION_KEY=$key BFF_CLIENT_SECRET=$(line "$name.provider" 3) start "$name" 1 \
    valgrind --tool=callgrind --separate-threads=yes --callgrind-out-file="$work/$name.count" \
    --vgdb-prefix="$work/vgdb" --vgdb-poll=1000 "$binary" serve --config "$work/$name.d/bff.toml"
  bff_pid=$pid
  for _ in $(seq 600); do
    kill -0 "$bff_pid" || { cat "$work/$name.err" >&2; exit 1; }
    if curl -fsSL -o /dev/null -c "$work/$name.jar" -b "$work/$name.jar" -H 'X-CSRF: 1' \
      "http://localhost:$port/bff/login?login_hint=alice&return_to=/api/small" 2>"$work/curl.err"; then break; fi
    sleep 0.1
  done
  # Its name has the port in it where the host is this machine.
  awk '$6 ~ /^bff(-[0-9]+)?$/ { print $6 "=" $7 }' "$work/$name.jar" >"$work/$name.cookie"
  [ -s "$work/$name.cookie" ] || { echo "the login gave no session cookie" >&2; cat "$work/curl.err" >&2; exit 1; }
  if [ "$connections" -gt 0 ]; then
    start "$name.idle" 0 "$cast" idle "$port" "$connections"
    [ "$(line "$name.idle" 1 300)" = "$connections" ]
  fi
  part=0
  threads=$(counted_threads)
  [ -n "$threads" ] || { echo "no thread of $bff_pid is a worker's" >&2; exit 1; }
}

leave() {
  for pid in "$bff_pid" "$provider_pid"; do kill "$pid" && wait "$pid" 2>/dev/null || true; done
  if [ -n "${redis_port:-}" ]; then redis-cli -p "$redis_port" shutdown nosave 2>/dev/null || true; redis_port=; fi
}

# tell_callgrind COMMAND…: bff wakes several times a second and hears it then; nothing is traced, which
# containers forbid.
tell_callgrind() { vgdb --vgdb-prefix="$work/vgdb" --pid="$bff_pid" --max-invoke-ms=0 "$@" 2>&1; }

# The numbers that callgrind has for the workers' threads and for the one that writes the log.
counted_threads() {
  local number lwp
  tell_callgrind v.info scheduler |
    sed -n 's/^Thread \([0-9]*\): .*(lwpid \([0-9]*\)).*/\1 \2/p' |
    while read -r number lwp; do
      if grep -Eq '^(bff-[0-9]+|bff-log|tracing-appende)$' "/proc/$bff_pid/task/$lwp/comm"; then echo "$number"; fi
    done
}

# counted_since: instructions of these threads since the last time. Left in $counted.
counted_since() {
  local thread
  tell_callgrind dump >/dev/null
  part=$((part + 1)) counted=0
  for thread in $threads; do
    counted=$((counted + $(awk '/^(summary|totals):/ { print $2; exit }' \
      "$work/$name.count.$part-$(printf '%02d' "$thread")")))
  done
}

# count PATH: a figure into $work/figures.PATH for each run. The difference of a long and of a short turn,
# so that what a connection costs and what goes on beside them does not count.
count() {
  local method=GET target=/api/small body=0 cookies=$work/$name.cookie short taken=0
  case $1 in
    post) method=POST body=1024 ;;
    large) target=/api/large ;;
    routes) target=/api/orders/$((routes - 1)) ;;
    sessions) cookies=$work/$name.next ;;
  esac
  ask() {
    # Each turn goes on behind the last.
    if [ "$cookies" = "$work/$name.next" ]; then sed -n "$((taken + 1)),$((taken + $1))p" "$work/$name.cookies" >"$cookies"; fi
    taken=$(((taken + $1) % sessions))
    "$cast" requests "$port" "$1" "$method" "$target" "$body" "$cookies" >/dev/null
  }
  ask "$few"
  counted_since
  for _ in $(seq "$runs"); do
    ask "$few" && counted_since && short=$counted
    ask "$many" && counted_since
    echo $(((counted - short) / (many - few))) >>"$figures.$1"
  done
}

wanted() { [[ " ${paths[*]} " = *" $1 "* ]]; }

# remember_sessions: fills Redis, and has bff look at each once, which callgrind need not count.
remember_sessions() {
  tell_callgrind instrumentation off >/dev/null
  BFF_SESSION_KEY=$key "$cast" stored "$port" "redis://127.0.0.1:$redis_port" "$sessions" \
    "$(line "$name.provider" 1)" "$(line "$name.provider" 2)" >"$work/$name.cookies"
  "$cast" requests "$port" "$sessions" GET /api/small 0 "$work/$name.cookies" >/dev/null
  tell_callgrind instrumentation on >/dev/null
}

# figures_of NAME BFF: counts what is wanted; a figure a run in $work/NAME.PATH.
figures_of() {
  local binary=$2 path name
  figures=$work/$1
  if wanted get || wanted post || wanted large; then
    name=$1.plain
    serve "$name" "$binary" "$level"
    for path in get post large; do if wanted "$path"; then count "$path"; fi; done
    leave
  fi
  if wanted log; then
    name=$1.logging
    serve "$name" "$binary" info
    count log
    leave
  fi
  if wanted redis || wanted sessions; then
    name=$1.stored
    serve "$name" "$binary" "$level" redis
    if wanted redis; then count redis; fi
    if wanted sessions; then remember_sessions; count sessions; fi
    leave
  fi
  if wanted routes; then
    name=$1.routed
    serve "$name" "$binary" "$level" memory "$routes"
    count routes
    leave
  fi
}

# What the count depends on beside the product. Not on Cargo.lock: a crate that grows dearer is a reason
# to look.
toolchain() {
  rustc --version
  valgrind --version
  echo "libc $(dpkg-query -W -f '${Version}' libc6 2>/dev/null || getconf GNU_LIBC_VERSION)"
  # Functions of libc and of the ciphers are chosen by these.
  echo "$(uname -m)$(grep -ow -m1 -e avx2 /proc/cpuinfo | sed 's/^/ /')"
}

# base: the commit before, which is what a working tree with changes, a branch and main stand on.
base() {
  local on main
  if ! git diff --quiet HEAD; then on=HEAD; else on=HEAD~1; fi
  for main in origin/main main; do
    [ "$on" = HEAD~1 ] && git rev-parse -q --verify "$main" >/dev/null || continue
    [ "$(git merge-base "$main" HEAD)" = "$(git rev-parse HEAD)" ] || on=$(git merge-base "$main" HEAD)
    break
  done
  git rev-parse -q --verify "$on^{commit}"
}

median_of() { median "$1" 1; }

echo "user instructions a request"
figures_of now "$bff"
compare_with() { sed -n "s/^$1 \+\([0-9]\+\)$/\1/p" "$kept"; }
against=$kept
if [ -n "$accept" ] || [ -n "$special" ]; then
  against=
elif ! [ -e "$kept" ]; then
  echo "$kept is missing; benches/instructions.sh --accept writes it" >&2
  against=
elif ! sed -n '/^#/d;/^[a-z]\+ \+[0-9]\+$/d;/./p' "$kept" | diff - <(toolchain) >"$work/differs"; then
  echo "counted with other tools than $kept was:"
  sed -n 's/^[<>]/&/p' "$work/differs"
  if before=$(base); then
    echo "so the commit before is counted too: $(git log -1 --format='%h %s' "$before")"
    git worktree add -q --detach "$work/before" "$before"
    remove_worktree() { git worktree remove --force "$work/before"; }
    at_stop+=(remove_worktree)
    CARGO_INCREMENTAL=0 cargo build --locked --release --bin bff --manifest-path "$work/before/Cargo.toml" --target-dir "$target"
    cp "$target/release/bff" "$work/bff-before"
    figures_of before "$work/bff-before"
    compare_with() { median_of "$work/before.$1"; }
    against="the commit before"
  else
    # A clone without its history has nothing that could have grown.
    echo "and the commit before is not here to compare with: git fetch --deepen 1 brings it" >&2
    against=
  fi
fi

failed=0
for path in "${paths[@]}"; do
  figure=$(median_of "$work/now.$path")
  spread=$(sort -n "$work/now.$path" | awk 'NR == 1 { low = $1 } END { printf "%.2f", ($1 - low) * 100 / low }')
  printf '  %-9s %7.0f' "$path" "$figure"
  [ "$runs" = 1 ] || printf '   %s %% apart' "$spread"
  if [ -n "$against" ]; then
    before=$(compare_with "$path")
    if [ -z "$before" ]; then
      printf '   not in %s' "$against"
      failed=1
    else
      percent=$(awk -v a="$figure" -v b="$before" 'BEGIN { printf "%+.1f", (a / b - 1) * 100 }')
      printf '   %s %% of %s in %s' "$percent" "$before" "$against"
      if awk -v p="$percent" -v most=$most_percent 'BEGIN { exit !(p > most) }'; then
        printf ': GROWN'
        failed=1
      fi
    fi
  fi
  echo
done

if [ -n "$accept" ]; then
  {
    echo "# User instructions a request, counted by benches/instructions.sh with these tools."
    echo "# benches/instructions.sh --accept writes this file; say in the commit why a figure grows."
    toolchain
    for path in "${paths[@]}"; do printf '%-8s %7.0f\n' "$path" "$(median_of "$work/now.$path")"; done
  } >"$kept"
  echo "kept in $kept"
fi
if [ "$failed" = 1 ]; then
  echo "A request costs more than $most_percent % more than it did. If that is meant: benches/instructions.sh --accept" >&2
  echo "keeps the new figures; commit $kept with the reason." >&2
fi
exit "$failed"
