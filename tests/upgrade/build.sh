#!/usr/bin/env bash
# Builds bff as it was, and says where the binary lies.
#
#   tests/upgrade/build.sh [COMMIT]
#
# COMMIT is the release before this one, where none is named: its tag, or its commit while it has none.
# The build shares target/ with that of today, so that only what differs is compiled. A clone without
# that commit cannot do it: exit code 3.
set -euo pipefail
cd "$(dirname "$0")/../.."

# What stands in tests/fixtures was made by this one.
before=672d82de05dd
commit=${1:-$(git rev-parse --verify --quiet 'v0.2.0^{commit}' || echo "$before")}
if ! hash=$(git rev-parse --verify --quiet "$commit^{commit}"); then
  echo "this clone does not hold $commit: fetch the whole history (git fetch --unshallow), or name a binary of the release before" >&2
  exit 3
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
place=$target/releases/$hash
if [ ! -x "$place/bff" ]; then
  rm -rf "$place/tree"
  git worktree prune
  git worktree add --quiet --detach "$place/tree" "$hash" >&2
  trap 'git worktree remove --force "$place/tree"' EXIT
  CARGO_TARGET_DIR=$target cargo build --locked --bin bff --manifest-path "$place/tree/Cargo.toml" >&2
  # Not left where the build of today looks for its own.
  mv "$target/debug/bff" "$place/bff"
fi
echo "$place/bff"
