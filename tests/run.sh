#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, docs, tests, browser tests, and
# what a request costs.
# Installs what it needs (as root, or with sudo). Some steps alone: tests/run.sh lint test
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-1}

say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs the Debian packages that are not there yet.
need() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "install ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
}

format() {
  cargo fmt --check
}

lint() {
  cargo clippy --locked --all-targets -- -D warnings
}

docs() {
  RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
}

tests() {
  need nginx postgresql redis-server redis-sentinel faketime
  cargo test --locked
}

# Before a certified provider, which npm brings. Keycloak and Hydra take minutes to install: tests/providers.sh.
providers() {
  if command -v npm >/dev/null; then
    tests/providers.sh certified
  else
    echo 'npm is not installed: nothing was run before the certified oidc-provider'
  fi
}

# The container's build has no development provider; the fuzz targets compile without their engine's compiler.
features() {
  cargo check --locked --no-default-features
  cargo check --locked --no-default-features --features sqlite,redis,postgres
  cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target
  if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check bans licenses sources
  else
    echo 'cargo-deny is not installed: licences and bans are not checked'
  fi
}

e2e() {
  need chromium redis-server
  cargo build --locked
  tests/e2e/run.sh
}

# What a request costs, in instructions: the same on a busy machine, so that it can be judged here.
instructions() {
  need valgrind curl redis-server
  benches/instructions.sh
}

steps=(format lint docs tests providers features e2e instructions)
[ $# -eq 0 ] || steps=("$@")
for step in "${steps[@]}"; do
  case $step in
    format | lint | docs | tests | providers | features | e2e | instructions) say "$step"; "$step" ;;
    *) echo "unknown step: $step; one of: format lint docs tests providers features e2e instructions" >&2; exit 2 ;;
  esac
done
say 'all steps passed'
