# syntax=docker/dockerfile:1

ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /build
COPY . .
# The slim image has the C compiler that SQLite and AWS-LC are built with; they need nothing else.
# The mounts keep compiled dependencies between builds. The crate itself is always compiled afresh:
# cargo compares file times, and the cache may come from a build of another checkout.
RUN --mount=type=cache,id=tenant-service-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=tenant-service-target,target=/build/target,sharing=locked \
    find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin tenant-service \
    && install -D target/release/tenant-service /out/tenant-service

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="tenant-service" \
      org.opencontainers.image.description="Tenant directory and credential store: lookups from memory, exact eviction on every replica" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# Migrations and the demo seed are inside the binary; /data holds the SQLite file of a container
# without Postgres. Mount a volume there to keep it.
RUN groupadd --gid 10001 tenant-service \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin tenant-service \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /out/tenant-service /usr/local/bin/tenant-service

# `probe PATH` exits 0 if this container's service answers 200 there. bash opens the connection
# itself, so the image needs no HTTP client. It speaks plain HTTP: where TLS is on, give the
# container a health check of its own.
COPY --chmod=0755 <<'EOF' /usr/local/bin/probe
#!/bin/bash
exec 3<>"/dev/tcp/127.0.0.1/${PORT:-3007}" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${1:?a path}" >&3
read -r -t 3 _ status _ <&3 || exit 1
[ "$status" = 200 ]
EOF

# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /data

# Callers need a token (`docker exec … tenant-service token create`), unless ANONYMOUS_SCOPES says otherwise.
ENV HOST=0.0.0.0 \
    PORT=3007 \
    DATA_DIR=/data \
    LOG_FORMAT=json
EXPOSE 3007

# Liveness, not readiness: some orchestrators replace an unhealthy container, and a replica that
# waits for Postgres gains nothing from a restart.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["probe", "/livez"]

ENTRYPOINT ["tenant-service"]
