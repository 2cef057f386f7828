#!/usr/bin/env bash
# The Next.js example in Chromium: npm packages, the build, bff before it. Not part of run.sh: Next.js is 340 MB.
# BFF_BIN and CHROMIUM as in run.sh; arguments go to Playwright.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

export CHROMIUM=${CHROMIUM:-/usr/bin/chromium} PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 NEXT_TELEMETRY_DISABLED=1
if [ -z "${BFF_BIN:-}" ]; then
  (cd "$root" && cargo build --quiet)
  BFF_BIN=${CARGO_TARGET_DIR:-$root/target}/debug/bff
fi
BFF_BIN=$(realpath "$BFF_BIN")
export BFF_BIN

for folder in "$root/examples/nextjs" "$here"; do
  (cd "$folder" && npm ci --no-fund --no-audit --loglevel=error)
done
(cd "$root/examples/nextjs" && npm run build)
cd "$here"
NEXTJS=1 NODE_NO_WARNINGS=1 npx playwright test specs/nextjs.spec.ts "$@"
echo "e2e: nextjs ok"
