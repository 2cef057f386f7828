# syntax=docker/dockerfile:1

# Builds `bff` without the development provider and puts it, alone, into an image that has no
# shell. Nothing is written at run time, so the root may be read-only:
#
#   docker build --tag bff .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges \
#     --volume ./bff.toml:/etc/bff/bff.toml:ro --volume ./dist:/etc/bff/dist:ro \
#     --env BFF_CLIENT_SECRET --env BFF_SESSION_KEY --publish 8443:8443 bff

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
