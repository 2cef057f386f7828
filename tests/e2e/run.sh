#!/usr/bin/env bash
# The browser tests: npm packages, the React example's own tests and build, then the suite.
# BFF_BIN names another binary, CHROMIUM another browser; arguments go to Playwright: run.sh -g 'deep link'
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
trap 'code=$?; [ $code -eq 0 ] || echo "e2e: FAILED (exit $code)"' EXIT

export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
if [ ! -x "$CHROMIUM" ]; then
  echo "e2e: no browser at $CHROMIUM; on Debian: apt-get install -y chromium" >&2
  exit 1
fi
if [ -z "${BFF_BIN:-}" ]; then
  (cd "$root" && cargo build --quiet)
  BFF_BIN=${CARGO_TARGET_DIR:-$root/target}/debug/bff
fi
BFF_BIN=$(realpath "$BFF_BIN")
export BFF_BIN

# Playwright drives Debian's Chromium; its own browsers are not fetched.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
for folder in "$root/examples/react" "$here"; do
  (cd "$folder" && npm ci --no-fund --no-audit --loglevel=error)
done

cd "$root/examples/react"
npm test
npm run build
cd "$here"
NODE_NO_WARNINGS=1 npx playwright test "$@"
echo "e2e: ok"
