# The image of the daemon: build once with Rust, ship the binary, the certificate roots and nothing else.
#
#   docker build -t mailspan .
#   docker run --rm mailspan demo
#
# Plain instructions only (no BuildKit mounts), so that every builder can build it. The bases are arguments:
# give your own registry's copies, or pin a digest.
ARG BUILDER=rust:1.95-bookworm
ARG RUNTIME=debian:bookworm-slim

FROM ${BUILDER} AS build
ARG PROFILE=dist
# More arguments for cargo, for instance --no-default-features --features mimalloc,nats,amqp,kafka,object_store for an image without `mailspan demo`.
ARG CARGO_FLAGS=""
WORKDIR /build

# First every dependency, against empty targets: this layer is built again only when a manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY tests/tenant/Cargo.toml tests/tenant/
RUN set -eu; \
    for target in $(sed -n 's/^path = "\(.*\.rs\)"$/\1/p' Cargo.toml) tests/tenant/src/lib.rs src/lib.rs; do \
        mkdir -p "$(dirname "$target")"; \
        case "$target" in */lib.rs) : > "$target" ;; *) echo 'fn main() {}' > "$target" ;; esac; \
    done; \
    cargo build --locked --profile "$PROFILE" --bin mailspan $CARGO_FLAGS

# Then the program. Copied files keep their old times and cargo goes by times, so they are touched.
COPY config config
COPY tests/tenant tests/tenant
COPY docs/interaction.schema.json docs/
COPY src src
RUN set -eu; \
    find src config tests -type f -exec touch {} +; \
    cargo build --locked --profile "$PROFILE" --bin mailspan $CARGO_FLAGS; \
    case "$PROFILE" in dev) folder=debug ;; *) folder=$PROFILE ;; esac; \
    install "target/$folder/mailspan" /mailspan

# The certificate roots come from the distribution, but its tools for making them (OpenSSL, Perl) stay behind.
FROM ${RUNTIME} AS roots
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates

FROM ${RUNTIME}
LABEL org.opencontainers.image.title="Mailspan" \
      org.opencontainers.image.description="Mail bridge daemon: Microsoft 365 mailboxes to contact-centre flows" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 mailspan \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mailspan --shell /usr/sbin/nologin mailspan \
    && install -d /etc/mailspan \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/mailspan
COPY --from=roots /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /mailspan /usr/local/bin/mailspan

# A number, so that an orchestrator can see by itself that it is not root.
USER 10001:10001
# `sqlite:mailspan.db`, the default store, is a file in this folder.
WORKDIR /var/lib/mailspan
VOLUME /var/lib/mailspan
# 8080: Graph's notifications, public. 9090: health and metrics, private.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["mailspan", "healthcheck"]
ENTRYPOINT ["mailspan"]
CMD ["run", "--config", "/etc/mailspan/mailspan.toml"]
