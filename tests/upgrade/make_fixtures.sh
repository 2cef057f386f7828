#!/usr/bin/env bash
# Puts down what a release leaves in each store and in browsers, for the next one to find alive:
# tests/fixtures/VERSION. Once a release, and never again: what was really out there is the point.
#
#   tests/upgrade/make_fixtures.sh [COMMIT | --binary BFF]
#
# COMMIT is built in a worktree of its own (HEAD, where none is named). Needs PostgreSQL and Redis.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1:-} in
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  --binary) binary=$(realpath "$2") ;;
  *) binary=$(tests/upgrade/build.sh "${1:-HEAD}") ;;
esac
export BFF_TEST_OLDER=$binary
cargo test --locked --test it upgrade::make::make_fixtures -- --ignored --exact
git status --short tests/fixtures
