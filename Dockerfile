# A container that becomes a virtual machine: docker run --rm -it --cap-add NET_ADMIN IMAGE
# Builds on amd64 and arm64, with BuildKit and without.

# The demonstration Linux, which boots when there is nothing else to boot.
FROM debian:trixie-slim AS guest
ARG DEBIAN_FRONTEND=noninteractive
COPY guest /src/guest
RUN /src/guest/build /demo

# vmnet and what it needs from PyPI, in a virtual environment whose pip installs plugins.
FROM debian:trixie-slim AS python
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv
RUN python3 -m venv /opt/vmnet
COPY pyproject.toml README.md /src/
COPY vmnet /src/vmnet
COPY plugins /src/plugins
# The script gives way to one that listens to no PYTHON… variable and to no file of the user's (-I).
# Its env blocks the stop signals until there are handlers: the kernel drops what PID 1 is sent before.
# Compiled without time stamps (PEP 552), so that no start compiles again, whatever dates the files
# get on their way.
RUN /opt/vmnet/bin/pip install --no-cache-dir --no-compile /src \
    && printf '%s\n' \
        '#!/usr/bin/env -S --block-signal=HUP,INT,QUIT,TERM,PWR /opt/vmnet/bin/python -I' \
        'from vmnet.__main__ import main' 'main()' \
        >/opt/vmnet/bin/vmnet \
    && /opt/vmnet/bin/python -m compileall -q --invalidation-mode unchecked-hash -x /pip/ \
        /opt/vmnet/lib

FROM debian:trixie-slim
ARG DEBIAN_FRONTEND=noninteractive
LABEL org.opencontainers.image.title="vmnet" \
      org.opencontainers.image.description="Hands a container's network identity to a virtual machine" \
      org.opencontainers.image.licenses="Apache-2.0"
# QEMU's packages bring more than one machine needs: emulators of the same CPU in other shapes, and
# the firmware of other CPUs. The certificates are for pip, and for plugins that ask a service.
RUN case "$(dpkg --print-architecture)" in \
        amd64) qemu="qemu-system-x86" ;; \
        arm64) qemu="qemu-system-arm qemu-efi-aarch64" ;; \
        *) echo "there is no machine type for this CPU" >&2; exit 1 ;; \
    esac \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates dnsmasq-base python3 $qemu \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    && cd /usr/bin \
    && rm -f qemu-system-i386 qemu-system-arm qemu-system-*-microvm qemu-pr-helper qemu-vmsr-helper \
    && cd /usr/share/qemu \
    && rm -f hppa-* openbios-* palcode-* s390-* skiboot.lid slof.bin u-boot* trace-events-all
COPY --from=guest /demo/vmlinuz /demo/initrd /usr/share/vmnet/demo/
COPY --from=python /opt/vmnet /opt/vmnet
# What a start imports, in one file, which goes by the dates that its sources have now.
RUN ln -s /opt/vmnet/bin/vmnet /opt/vmnet/bin/pip /usr/local/bin/ \
    && vmnet precompile
# `vmnet console`, which takes a QEMU as new as this one.
ENV VMNET_CONSOLE=on
# The start period is that of the guest's boot: see `vmnet health --help`.
HEALTHCHECK --interval=30s --timeout=15s --start-period=120s --retries=3 CMD ["vmnet", "health"]
ENTRYPOINT ["vmnet"]
CMD ["run"]
