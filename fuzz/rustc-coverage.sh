#!/bin/sh
# Cargo's RUSTC_WORKSPACE_WRAPPER for scripts/fuzz.sh: compiles our libraries with libFuzzer's coverage counters, on
# stable Rust. Dependencies, build scripts and binaries stay as they are, so that an ordinary build is shared.
instrument=no
previous=
for argument in "$@"; do
    case "$previous $argument" in
    "--crate-name colloque" | "--crate-name colloque_signaling" | "--crate-name colloque_fuzz") instrument=yes ;;
    "--crate-type bin") instrument=no ;;
    esac
    previous=$argument
done
if [ "$instrument" = yes ]; then
    set -- "$@" -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
        -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
        -C llvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
