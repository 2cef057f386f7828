#!/usr/bin/env bash
# Writes what a release contains, each crate with its version, licence and checksum, as CycloneDX:
#
#   packaging/sbom.sh [FILE]        # bff.cdx.json
#
# Of the container's build: no development provider, nothing that only tests or builds need.
set -euo pipefail
file=$(realpath -m "${1:-bff.cdx.json}")
cd "$(dirname "$0")/.."

if ! cargo cyclonedx --version >/dev/null 2>&1; then
  echo 'cargo-cyclonedx is not installed: cargo install cargo-cyclonedx --locked' >&2
  exit 1
fi
# It writes beside Cargo.toml, under a name of its own.
name=.sbom-$$
trap 'rm -f "$name.json"' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
  --no-default-features --features sqlite,redis,postgres --override-filename "$name"
mv "$name.json" "$file"
echo "$file"
