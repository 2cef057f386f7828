#!/usr/bin/env bash
# The stories of tests/it/real_providers: the product before a certified oidc-provider, a real Keycloak and a
# real Ory Hydra, which are installed here and run on free ports of this machine for as long as the tests.
# Some alone: tests/providers.sh certified, which is the npm package oidc-provider, or keycloak, or hydra, or several,
# which is the last two at one site, or browser, which is Keycloak's pages in Chromium.
#
# It takes Node for the first, Java 17 or later and Maven for the second, Go and a C compiler for the third, and a
# quarter of an hour the first time. BFF_TEST_KEYCLOAK=/opt/keycloak and BFF_TEST_HYDRA=/usr/bin/hydra name what is here already.
set -euo pipefail
cd "$(dirname "$0")/.."

keycloak_version=${KEYCLOAK_VERSION:-26.7.3}
hydra_version=${HYDRA_VERSION:-v2.3.0}
place=$PWD/target/providers

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
mkdir -p "$place"

# The distribution as Maven Central has it, built once so that each start is quick.
install_keycloak() {
  local home=$place/keycloak-$keycloak_version
  if [ ! -e "$home/built" ]; then
    rm -rf "$home"
    mvn --batch-mode --quiet dependency:unpack -DoutputDirectory="$place" \
      -Dartifact="org.keycloak:keycloak-quarkus-dist:$keycloak_version:zip"
    "$home/bin/kc.sh" build --db=dev-file --cache=local
    touch "$home/built"
  fi
  export BFF_TEST_KEYCLOAK=$home
}

# Hydra's module leaves out the folder that its go.mod puts in the place of its own client library, so it
# is built with that library as it was published.
install_hydra() {
  local program=$place/hydra-$hydra_version
  if [ ! -e "$program" ]; then
    local module=github.com/ory/hydra/v2@$hydra_version source=$place/hydra-source
    rm -rf "$source"
    cp -r "$(cd "$place" && go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')" "$source"
    chmod -R u+w "$source"
    (
      cd "$source"
      go mod edit -dropreplace=github.com/ory/hydra-client-go/v2
      CGO_ENABLED=1 go build -mod=mod -tags sqlite -o "$program" .
    )
    rm -rf "$source"
  fi
  export BFF_TEST_HYDRA=$program
}

install_oidc_provider() {
  local folder=$PWD/tests/providers/oidc-provider
  (cd "$folder" && npm ci --no-fund --no-audit --loglevel=error)
  export BFF_TEST_OIDC_PROVIDER=$folder
}

# They wait for tokens to end most of the time, and Keycloak bears a few at once. Hydra with its database in
# memory does not: it answers 500 to some.
tell() {
  cargo test --locked --test it -- --ignored --test-threads "$2" "real_providers::$1"
}

# Keycloak's own pages in Chromium.
browse() {
  tests/e2e/run.sh specs/keycloak
}

failed=0
[ $# -gt 0 ] || set -- certified keycloak hydra several browser
for provider in "$@"; do
  case $provider in
    certified | keycloak | several | browser | hydra) ;;
    *) echo "unknown: $provider; one of: certified keycloak hydra several browser" >&2; exit 2 ;;
  esac
  case $provider in
    keycloak | several | browser) [ -n "${BFF_TEST_KEYCLOAK:-}" ] || install_keycloak ;;
  esac
  case $provider in
    hydra | several) [ -n "${BFF_TEST_HYDRA:-}" ] || install_hydra ;;
  esac
  case $provider in
    certified) install_oidc_provider; tell certified 3 || failed=1 ;;
    keycloak) tell keycloak 3 || failed=1 ;;
    hydra) tell hydra 1 || failed=1 ;;
    several) tell several 1 || failed=1 ;;
    browser) browse || failed=1 ;;
  esac
done
exit $failed
