#!/bin/sh
# Builds BoringSSL once per version and keeps it outside the checkout: prints the directory to put in BORING_BSSL_PATH.
#
# Cargo builds it once per profile and checkout, 6 minutes each on 2 cores. With this in the Makefile it is once per machine:
#
#   BORING_BSSL_PATH := $(shell scripts/boring-cache.sh)
#   ifneq ($(BORING_BSSL_PATH),)
#   export BORING_BSSL_PATH
#   endif
#
# Never required: it prints nothing when it cannot build or is told not to (COLLOQUE_BORING_CACHE=off), and cargo
# then builds BoringSSL as usual. A cargo run without the variable after one with it builds BoringSSL again, because
# cargo watches the variable.
set -eu

[ "${COLLOQUE_BORING_CACHE:-on}" = off ] && exit 0
# Somebody chose a library already.
[ -n "${BORING_BSSL_PATH:-}" ] && { echo "$BORING_BSSL_PATH"; exit 0; }

root=$(cd "$(dirname "$0")/.." && pwd)
version=$(awk '/^name = "boring-sys"$/ { getline; gsub(/"/, "", $3); print $3 }' "$root/Cargo.lock")
compiler=$(${CXX:-c++} -dumpfullversion -dumpversion 2>/dev/null) || exit 0
[ -n "$version" ] || exit 0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/colloque
prefix=$cache/boring-$version-$(uname -m)-$compiler

if [ ! -f "$prefix/lib/libssl.a" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT INT TERM
    mkdir "$work/prefix"
    echo "Building BoringSSL $version into $prefix (once, some minutes)" >&2
    (cd "$root" && BORING_BSSL_INSTALL_DIR="$work/prefix" \
        cargo build --release --locked -p boring-sys --target-dir "$work/target" >&2) || exit 0
    # Another run may have been faster; both are the same.
    mv -T "$work/prefix" "$prefix" 2>/dev/null || [ -f "$prefix/lib/libssl.a" ] || exit 0
fi
echo "$prefix"
