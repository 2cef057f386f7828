# What the scripts that measure share: processes that start and stop, and what they cost. Sourced,
# with $cast set where the cast is used.

work=$(mktemp -d)
started=()
# What else is to be done at the end: names of functions.
at_stop=()
stop() {
  local step pid
  for step in "${at_stop[@]}"; do "$step" || true; done
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
# Standard input of the cast, some of which ends with it: open as long as the script runs.
mkfifo "$work/open"
exec 3<>"$work/open"

# need TOOL:PACKAGE…: installs Debian's packages of the tools that are missing.
need() {
  local tool missing=()
  for tool in "$@"; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# start NAME CORE COMMAND…: runs it; pid in $pid, its output in $work/NAME.
start() {
  local name=$1 core=$2
  shift 2
  taskset -c "$core" "$@" >"$work/$name" 2>"$work/$name.err" <&3 &
  pid=$!
  started+=("$pid")
}

# line NAME N [SECONDS]: waits for the Nth line that NAME says.
line() {
  for _ in $(seq $((${3:-10} * 10))); do
    if [ "$(wc -l <"$work/$1")" -ge "$2" ]; then sed -n "$2p" "$work/$1"; return; fi
    sleep 0.1
  done
  echo "$1 does not start:" >&2
  cat "$work/$1.err" >&2
  return 1
}

# until_answers CURL-OPTIONS…
until_answers() {
  for _ in $(seq 100); do
    if curl -fsS -o /dev/null "$@" 2>"$work/curl.err"; then return; fi
    sleep 0.1
  done
  cat "$work/curl.err" >&2
  return 1
}

# tree PID: it and its children.
tree() {
  echo "$1"
  local child
  for child in $(cat "/proc/$1/task/$1/children"); do tree "$child"; done
}

# ticks PID: user and system time of the tree, in clock ticks.
ticks() {
  local pid total=0
  for pid in $(tree "$1"); do
    total=$((total + $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
  done
  echo $total
}

# rss PID: resident KiB of the tree.
rss() {
  local pid total=0
  for pid in $(tree "$1"); do
    total=$((total + $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")))
  done
  echo $total
}

hertz=$(getconf CLK_TCK)

# median FILE COLUMN
median() {
  awk -v column="$2" '{ print $column }' "$1" | sort -n |
    awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
