# The lm-sandbox server: the package in a virtual environment, no compiler, no pip, an ordinary user.
#
#   scripts/build-images server              (as Docker calls it: --file deploy/docker/server.Dockerfile .)
#
# BASE        Debian 12 or later or Ubuntu 24.04; name it with its digest for a build that can be repeated
# LLAMA_INDEX where wheels of xllamacpp with CUDA are, for a CUDA base; the wheel is of the version in the lock file
# The secrets pip.conf and ca.pem are the caller's way to the package index; nothing of them stays in a layer.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
ENV DEBIAN_FRONTEND=noninteractive
# Debian's point releases go with the base: pinning packages one by one only breaks when the archive moves on.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends bubblewrap ca-certificates libgomp1 python3 >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log

FROM python AS locked
# hadolint ignore=DL3008,DL3009
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends binutils python3-venv >/dev/null \
    && python3 -m venv /opt/tools \
    && python3 -m venv --without-pip /opt/lm-sandbox
WORKDIR /src
COPY requirements.lock ./
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_QUIET=1
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    /opt/tools/bin/pip --python /opt/lm-sandbox/bin/python install --require-hashes --requirement requirements.lock

FROM locked AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/tools/bin/pip --python /opt/lm-sandbox/bin/python wheel --no-deps --no-build-isolation --no-index \
    --wheel-dir /dist .

FROM locked AS installed
ARG LLAMA_INDEX=
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    if [ -n "$LLAMA_INDEX" ]; then \
        version=$(sed -n 's/^\(xllamacpp==[^ ;]*\).*/\1/p' requirements.lock) \
        && /opt/tools/bin/pip --python /opt/lm-sandbox/bin/python install --no-deps --force-reinstall \
            --index-url "$LLAMA_INDEX" "$version"; \
    fi
COPY deploy/docker/slim ./
COPY --from=wheel /dist /dist
RUN /opt/tools/bin/pip --python /opt/lm-sandbox/bin/python install --no-deps --no-index /dist/*.whl \
    && ./slim /opt/tools/bin/pip /opt/lm-sandbox

FROM python AS server
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lm-sandbox" \
      org.opencontainers.image.description="Gives local language models a computer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 lm-sandbox \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/lm-sandbox --no-create-home --shell /usr/sbin/nologin lm-sandbox \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/lm-sandbox \
    && install -d -o 10001 -g 10001 -m 0770 /run/lm-sandbox
COPY --from=installed /opt/lm-sandbox /opt/lm-sandbox
ENV PATH=/opt/lm-sandbox/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/lm-sandbox \
    LM_SANDBOX_DATA_DIR=/var/lib/lm-sandbox \
    LM_SANDBOX_HOST=0.0.0.0 \
    LM_SANDBOX_PORT=8000 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/lm-sandbox
VOLUME /var/lib/lm-sandbox
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/lm-sandbox/bin/python", "-I", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['LM_SANDBOX_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["lm-sandbox"]
CMD ["serve"]
