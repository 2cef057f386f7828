#!/usr/bin/env bash
# An upgrade and its rolling back, with the binary of the release before: nobody is lost.
#
#   tests/upgrade.sh [--quick] [--binary BFF]
#
# Two nodes on one Redis and on one PostgreSQL, in each mix that a deployment goes through: both of the
# release before, one of each, both of this one, and back again. People sign in, call, see their tokens
# refreshed and are signed out (by themselves, from elsewhere, by a newer login, an administrator, the
# provider), each step on one node and looked at from the other. Fails where a call was not served, a
# refresh token was used twice, or an end did not reach the other node within session.max_staleness.
# Prints a line of figures a store. --quick: some people in place of a thousand; two minutes.
#
# The release before is built where this clone holds its commit (tests/upgrade/build.sh), or is BFF.
# What it left in stores and browsers is with the other tests: tests/it/upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."

quick= binary=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1; shift ;;
    --binary) binary=$(realpath "$2"); shift 2 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "unknown option $1; see --help" >&2; exit 2 ;;
  esac
done
[ -n "$binary" ] || binary=$(tests/upgrade/build.sh)
export BFF_TEST_OLDER=$binary CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
echo "the release before: $("$binary" --version)"

# One at a time, so that no story's clock runs over another's load.
stories=(cluster::upgrade::large --ignored)
[ -z "$quick" ] || stories=(cluster::upgrade::an_upgrade)
cargo test --locked --test it -- "${stories[@]}" --nocapture --test-threads 1 2>&1 |
  grep -E '^figure:|^test |panicked|lost|test result|^error'
