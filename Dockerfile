# The operator's image. `make image` builds it; both images can be replaced, as long as the builder's glibc is not newer
# than the base's. Nothing here names an architecture: built on (or for) another one, it is an image for that one, and
# `buildah manifest` or `docker buildx imagetools create` joins them under one name.
ARG BUILDER_IMAGE=docker.io/library/rust:1.95-bookworm
# glibc, libgcc_s and ca-certificates; no shell, no package manager.
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /src
# .dockerignore leaves only what is needed. A folder `vendor` made by `cargo vendor`, with what it prints added to
# `.cargo/config.toml`, is used in place of the network.
COPY . .
# Features of the operator that are off by default, such as otlp.
ARG FEATURES=
# No path of the builder is in the binary, so that the same sources give the same one wherever they lie.
ENV RUSTFLAGS="--remap-path-prefix=/src=/mfa-operator --remap-path-prefix=/usr/local/cargo=/cargo"
# A page is 64 KiB on some arm64 kernels, and jemalloc has to know the largest.
RUN if [ "$(uname -m)" = aarch64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi; \
    cargo build --release --locked -p mfa-operator --bin mfa-operator --features "${FEATURES}"

FROM ${BASE_IMAGE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="mfa-operator" \
      org.opencontainers.image.description="Keeps the multi-factor-authentication servers of Prisma Access equal to MfaServer resources" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /src/target/release/mfa-operator /usr/local/bin/mfa-operator
# By number, so that Kubernetes can tell that it is not root. It writes nothing: the root may be read-only.
USER 65532:65532
EXPOSE 8080
# Kubernetes probes /livez and /readyz.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/mfa-operator"]
CMD ["run"]
