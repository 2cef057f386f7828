#!/usr/bin/env bash
# Runs every fuzz target for a moment, where the tools for it are there.
#
#   fuzz/smoke.sh [SECONDS] [TARGET…]     default: 30 seconds, all of them
#
# Needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz). Without them it says so and
# succeeds, since it proves nothing either way.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-30}
shift || true
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
  echo "fuzz: skipped, no nightly toolchain with cargo-fuzz (rustup toolchain install nightly; cargo install cargo-fuzz)"
  exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(cargo +nightly fuzz list)
fi
for target in "${targets[@]}"; do
  echo "fuzz: $target, $seconds s"
  mkdir -p "fuzz/corpus/$target"
  if ! cargo +nightly fuzz run "$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -dict=fuzz/words.dict -print_final_stats=1 >"$log" 2>&1; then
    tail -60 "$log"
    exit 1
  fi
  grep -E '^stat::(number_of_executed|average_exec)' "$log"
done
echo "fuzz: nothing fell out"
