# bench in a container, as nobody in particular: --user is whom a mounted folder belongs to. Runs lie in /work:
#
#   docker build -t bench .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" bench run --model answers:answers.jsonl --tasks asr,collapse
#
# With accelerators; torch brings the CUDA libraries that it needs, the base only those of the driver:
#
#   docker build -t bench:cuda --build-arg BASE=nvidia/cuda:13.0.2-base-ubuntu24.04 --build-arg EXTRAS=hf,train,report .
#   docker run --rm --user "$(id -u):$(id -g)" --gpus all -v "$PWD:/work" bench:cuda run --model ckpt/dpo-cai
#
# EXTRAS are those of pyproject.toml. PIP_EXTRA_INDEX_URL names a further package index, such as one with builds of torch
# for processors alone; it stays readable in the image's history, so it must hold no key.
ARG BASE=debian:13-slim

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG EXTRAS=hf,report
ARG PIP_EXTRA_INDEX_URL=
# The versions are the base's own: they differ from base to base.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python3 -m venv /opt/bench \
    && /opt/bench/bin/pip install --no-cache-dir --disable-pip-version-check \
        --constraint .ci/constraints.txt ".[${EXTRAS}]"

# hadolint ignore=DL3006
FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 bench \
    && chmod 1777 /home/bench \
    && install --directory --owner bench /work
COPY --from=build /opt/bench /opt/bench
ENV PATH="/opt/bench/bin:${PATH}" OMP_WAIT_POLICY=passive HOME=/home/bench
USER 10001
WORKDIR /work
ENTRYPOINT ["bench"]
CMD ["--help"]
