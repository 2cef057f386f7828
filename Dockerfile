# syntax=docker/dockerfile:1

# Builds `bff` without the development provider and puts it, alone, into an image that has no
# shell. Nothing is written at run time, so the root may be read-only. With the configuration that
# README.md shows for production, all that it names lies in one folder: bff.toml, tls.crt, tls.key, dist.
#
#   docker build --tag bff .
#   export BFF_CLIENT_SECRET=…                            # what the provider gave you
#   export BFF_SESSION_KEY=$(docker run --rm bff keygen)  # once: keep it
#   export BFF_ADMIN_KEY=$(docker run --rm bff keygen)    # once: keep it
#   sudo chown -R 65532:65532 ./bff                       # whom it runs as: the key is for its eyes alone
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges --stop-timeout 70 \
#     --volume "$PWD/bff:/etc/bff:ro" \
#     --env BFF_CLIENT_SECRET --env BFF_SESSION_KEY --env BFF_ADMIN_KEY \
#     --publish 443:8443 bff
#
# The folder is mounted, not its files: a certificate that is renewed by a rename is seen then. The
# administration listens inside the container, for the health check and for
# `docker exec … /bff sessions list`.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features --features sqlite,redis,postgres --bin bff \
    && packaging/rootfs.sh target/release/bff /rootfs

# The binary, the libraries that it names, the certificates of public authorities; nothing else.
FROM scratch
COPY --from=build /rootfs /
# `bff` looks for bff.toml, and what that names, here.
WORKDIR /etc/bff
USER 65532:65532
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/bff", "check", "--live"]
ENTRYPOINT ["/bff"]
CMD ["serve"]
