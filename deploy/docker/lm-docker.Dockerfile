# lm-docker: what sandboxes of the docker driver start from.
#
#   scripts/build-images lm-docker           bash, coreutils, git, curl, python3
#   scripts/build-images lm-docker-build     the same with compilers and headers (target `build`)
#
# BASE  Debian or Ubuntu; a CUDA image of NVIDIA's for sandboxes that are lent a GPU
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS tools
ENV DEBIAN_FRONTEND=noninteractive
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends \
        bash bzip2 ca-certificates coreutils curl file findutils git gzip iproute2 jq less patch procps \
        python3 python3-pip python3-venv tar unzip vim-tiny xz-utils zip >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
# Commands run as this user. Ubuntu's images have another one of its number.
RUN name=$(id -un 1000 2>/dev/null || echo sandbox) \
    && if [ "$name" != sandbox ]; then userdel --remove "$name"; fi \
    && { id -u sandbox >/dev/null 2>&1 || useradd --uid 1000 --home-dir /home/sandbox --shell /bin/bash sandbox; } \
    && install -d -o 1000 -g 1000 /home/sandbox /workspace
LABEL org.opencontainers.image.title="lm-docker" \
      org.opencontainers.image.description="The image of lm-sandbox's sandboxes" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /workspace
CMD ["sleep", "infinity"]

FROM tools AS build
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends \
        build-essential cmake gdb libssl-dev pkg-config python3-dev zlib1g-dev >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
USER 1000:1000

FROM tools AS sandbox
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
USER 1000:1000
