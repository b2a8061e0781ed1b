# A container that becomes a virtual machine: docker run --rm -it --cap-add NET_ADMIN IMAGE
# Builds on amd64 and arm64, with BuildKit and without. To pin Debian as well:
# docker build --build-arg BASE=debian:trixie-slim@sha256:…
ARG BASE=debian:trixie-slim
# For guests of the other architecture, which QEMU emulates: docker build --build-arg FOREIGN=on
ARG FOREIGN=off

# The demonstration Linux, which boots if the user gives no disk or kernel.
FROM $BASE AS guest
ARG DEBIAN_FRONTEND=noninteractive
COPY guest /src/guest
RUN /src/guest/build /demo
ARG FOREIGN
RUN case "$FOREIGN $(dpkg --print-architecture)" in \
        "off "*) exit 0 ;; \
        "on amd64") foreign="aarch64 arm64" ;; \
        "on arm64") foreign="x86_64 amd64" ;; \
        *) echo "FOREIGN is on or off" >&2; exit 1 ;; \
    esac \
    && /src/guest/build "/demo/${foreign% *}" "${foreign#* }" \
    && rm -r "/demo/${foreign% *}/packages"

# vmnet and its dependencies, in a virtual environment into which pip also installs plugins.
FROM $BASE AS python
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv
RUN python3 -m venv /opt/vmnet && python3 -m venv /opt/build
# pip installs only files with the recorded hashes.
COPY deploy/requirements.txt deploy/build-requirements.txt /src/deploy/
RUN /opt/vmnet/bin/pip install --no-cache-dir --no-compile \
        --require-hashes -r /src/deploy/requirements.txt \
    && /opt/build/bin/pip install --no-cache-dir \
        --require-hashes -r /src/deploy/build-requirements.txt
COPY pyproject.toml README.md /src/
COPY vmnet /src/vmnet
COPY plugins /src/plugins
# This script replaces pip's. Its Python ignores PYTHON… variables and the user's packages (-I).
# env blocks the stop signals until vmnet handles them, because the kernel drops signals for which
# PID 1 has no handler. The modules are compiled without time stamps (PEP 552), so that no start
# compiles them again if a tool changes the files' dates.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel /src \
    && /opt/vmnet/bin/pip install --no-deps --no-index --no-compile /wheel/*.whl \
    && printf '%s\n' \
        '#!/usr/bin/env -S --block-signal=HUP,INT,QUIT,TERM,PWR /opt/vmnet/bin/python -I' \
        'from vmnet.__main__ import main' 'main()' \
        >/opt/vmnet/bin/vmnet \
    && /opt/vmnet/bin/python -m compileall -q --invalidation-mode unchecked-hash -x /pip/ \
        /opt/vmnet/lib

FROM $BASE
ARG DEBIAN_FRONTEND=noninteractive
# Remove unneeded parts of QEMU's packages: variants of the emulator, and firmware for other CPUs and
# for tests; on arm64 also that for secure boot, whose files have 64 MiB each. The certificates are for pip, and
# for plugins that connect to services. swtpm runs as the user tss.
ARG FOREIGN
RUN for_amd64="qemu-system-x86 ovmf" for_arm64="qemu-system-arm qemu-efi-aarch64 ipxe-qemu" \
    && case "$FOREIGN $(dpkg --print-architecture)" in \
        "off amd64") qemu=$for_amd64 ;; \
        "off arm64") qemu=$for_arm64 ;; \
        "on amd64" | "on arm64") qemu="$for_amd64 $for_arm64" ;; \
        *) echo "vmnet supports only amd64 and arm64" >&2; exit 1 ;; \
    esac \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates dnsmasq-base nftables passt python3 \
        swtpm qemu-utils virtiofsd $qemu \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    && cd /usr/bin \
    && rm -f qemu-system-i386 qemu-system-arm qemu-system-*-microvm qemu-pr-helper qemu-vmsr-helper \
        qemu-io qemu-nbd qemu-storage-daemon \
    && cd /usr/share/qemu \
    && rm -f hppa-* openbios-* palcode-* s390-* skiboot.lid slof.bin u-boot* trace-events-all \
    && rm -rf /usr/share/ovmf /usr/share/qemu/OVMF.fd \
    && cd /usr/share \
    && rm -f OVMF/*snakeoil* OVMF/*strictnx* AAVMF/*snakeoil* AAVMF/*.ms.fd AAVMF/AAVMF_CODE.secboot* \
    && useradd --system --no-create-home --shell /usr/sbin/nologin tss
COPY --from=guest /demo /usr/share/vmnet/demo
COPY --from=python /opt/vmnet /opt/vmnet
# Write the modules of a start to one file, which records the current dates of their sources.
RUN ln -s /opt/vmnet/bin/vmnet /opt/vmnet/bin/pip /usr/local/bin/ \
    && vmnet precompile
# Enable `vmnet console`, which needs QEMU 10.
ENV VMNET_CONSOLE=on
# The start period must cover the guest's boot: see `vmnet health --help`.
HEALTHCHECK --interval=30s --timeout=15s --start-period=120s --retries=3 CMD ["vmnet", "health"]
# `docker build --label` adds what only a release knows: CONTRIBUTING.md lists these labels.
LABEL org.opencontainers.image.title="vmnet" \
      org.opencontainers.image.description="Hands a container's network identity to a virtual machine" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.2.0"
ENTRYPOINT ["vmnet"]
CMD ["run"]
