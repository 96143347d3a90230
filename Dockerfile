# Builds every program of the workspace that ships and puts them into a small image.
#
#   docker build --target program -t mission-control .
#   docker run -p 127.0.0.1:8000:8000 -v mission-control-data:/data mission-control
#
# The target `demo` is the fake gateway of the tests, to try the others with.

FROM rust:1.95-slim-bookworm AS source
WORKDIR /source
COPY . .

FROM source AS build
# The folders are caches of the builder, so what is kept leaves them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package api --package worker --bins \
    && mkdir /programs \
    && find target/release -maxdepth 1 -type f -executable -name 'mission-control*' \
        -exec install --target-directory /programs {} +

FROM source AS build-demo
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package tests --bin fake-gateway \
    && install -D --target-directory /programs target/release/fake-gateway

FROM debian:bookworm-slim AS demo
COPY --from=build-demo /programs/ /usr/local/bin/
USER 10001:10001
EXPOSE 18789
ENTRYPOINT ["fake-gateway"]

FROM debian:bookworm-slim AS program
LABEL org.opencontainers.image.title="Mission Control, gateway service" \
      org.opencontainers.image.licenses="MIT"
# Root certificates are inside the programs. A new named volume takes over owner and mode.
RUN install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=build /programs/ /usr/local/bin/
COPY LICENSE /usr/share/doc/mission-control/LICENSE

ENV MISSION_CONTROL_DATA_DIR=/data \
    LISTEN_ADDR=0.0.0.0:8000 \
    LOG_FORMAT=json
USER 10001:10001
VOLUME /data
EXPOSE 8000

# 0 once /healthz answers 200. The image has no HTTP client; bash speaks enough of it. A container that runs
# mission-control-worker in place of the entrypoint sets WORKER_LISTEN_ADDR, and that one is asked.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["bash", "-c", \
    "address=${WORKER_LISTEN_ADDR:-$LISTEN_ADDR} && exec 3<>/dev/tcp/127.0.0.1/\"${address##*:}\" && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ \"$status\" = 200 ]"]

# The process drains for SHUTDOWN_TIMEOUT (20 s) after SIGTERM: stop it with at least 25 s.
ENTRYPOINT ["mission-control"]
CMD ["serve"]
