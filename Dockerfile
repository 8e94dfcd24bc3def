# xsheet on a CPU, by the steps of README:
#     docker build --tag xsheet . && docker run --rm --volume "$PWD:/data" xsheet demo --quick
FROM python:3.11-slim-bookworm
# Debian's current versions: pinned ones vanish from its mirrors.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir -c constraints.txt ".[train]" && useradd --create-home --uid 1000 xsheet
USER 1000
WORKDIR /data
ENTRYPOINT ["xsheet"]
CMD ["--help"]
