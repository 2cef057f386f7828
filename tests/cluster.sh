#!/usr/bin/env bash
# The stories of tests/it/cluster at full length: kills by the thousand, races by ten thousands,
# outages of half a minute, a thousand reloads beside 64 clients. Prints a line of figures a story.
# Takes an hour or two; some stories alone: tests/cluster.sh kills races
# With BFF_TEST_OLDER=/path/to/another/bff the first node of each story is of that build.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

# One at a time, so that no story's clock runs over another's load.
run() {
  cargo test --locked --test it -- --ignored --nocapture --test-threads 1 "cluster::$1" 2>&1 |
    grep -E '^figure:|^test |panicked|test result|^error' || true
  return "${PIPESTATUS[0]}"
}

failed=0
if [ $# -eq 0 ]; then
  run '' || failed=1
else
  for story in "$@"; do
    case $story in
      storms) run refresh::large_storms || failed=1 ;;
      kills) run refresh::large_kills || failed=1 ;;
      ends) run revoke::large || failed=1 ;;
      races) run race::large || failed=1 ;;
      logins) run limit::large || failed=1 ;;
      crashes) run crash::large || failed=1 ;;
      outages) run outage::large || failed=1 ;;
      dumps) run keys::large || failed=1 ;;
      floods) run channel::large || failed=1 ;;
      reloads) run reload::large || failed=1 ;;
      tokens) run tokens::large || failed=1 ;;
      *) echo "unknown story: $story; one of: storms kills ends races logins crashes outages dumps floods reloads tokens" >&2; exit 2 ;;
    esac
  done
fi
exit $failed
