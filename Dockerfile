# Parlor as an image of one static binary: docker build -t parlor .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# With --target the flags are not for build scripts and macros, which cannot be static. A static binary cannot look
# for the system call that gives random numbers and would need /dev/urandom; each Linux since 3.17 has it.
RUN RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"' cargo build --release --locked --target "$(uname -m)-unknown-linux-gnu"
RUN mkdir /data && mv target/*-linux-gnu/release/parlor /

FROM scratch
COPY --from=build /parlor /parlor
# A new volume has the owner that its folder has here.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001
# There is no /tmp: reports of panics go to the volume, also with PARLOR_MEMORY.
ENV PARLOR_LISTEN=0.0.0.0:8080 PARLOR_DATA=/data TMPDIR=/data
VOLUME /data
EXPOSE 8080
# From SIGTERM to the end of the process it takes 5 s at most.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/parlor", "health"]
ENTRYPOINT ["/parlor"]
