#!/usr/bin/env bash
# Installs the Debian packages that a goal needs: `setup.sh run` to build and run, `setup.sh test` for the tests too,
# `setup.sh compare` for the other server of `make compare`, `setup.sh plots` for the pictures of its figures.
# Says what it installs before it does; without root it prints the one line to type and stops.
set -euo pipefail

goal=${1:?run, test, compare or plots}
packages=(cmake espeak-ng g++ libclang-dev make)
if [ "$goal" = test ]; then
  packages+=(chromium firefox-esr iproute2 ethtool nftables postgresql pulseaudio python3 python3-venv fonts-dejavu-core valgrind curl jq openssl
    sip-tester kamailio baresip-core)
elif [ "$goal" = compare ]; then
  packages+=(iproute2 janus)
elif [ "$goal" = plots ]; then
  packages=(python3 python3-venv)
fi

for tool in cargo node npm; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install Rust (rustup) and Node 20 or newer first" >&2; exit 1; }
done
node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' \
  || { echo "Node 20 or newer is needed, found $(node --version)" >&2; exit 1; }

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

line="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
  echo "missing packages; as root, type:  $line" >&2
  exit 1
fi
echo "installing: ${missing[*]}"
if [[ " ${missing[*]} " == *" janus "* ]]; then
  # Debian would start a Janus that listens on every address, now and at each boot; only our own scratch one is wanted.
  echo "the service janus.service is masked: systemctl unmask janus to use it"
  mkdir -p /etc/systemd/system
  ln -sfn /dev/null /etc/systemd/system/janus.service
fi
if [[ " ${missing[*]} " == *" kamailio "* ]]; then
  # As above: tests start Kamailio on ports of their own.
  echo "the service kamailio.service is masked: systemctl unmask kamailio to use it"
  mkdir -p /etc/systemd/system
  ln -sfn /dev/null /etc/systemd/system/kamailio.service
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=400 update -q
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  # Debian would make a cluster and start it, now and at each boot; tests make their own.
  echo "no cluster of PostgreSQL is made: create_main_cluster in /etc/postgresql-common/createcluster.conf"
  apt-get -o DPkg::Lock::Timeout=400 install -y -q --no-install-recommends postgresql-common
  sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
fi
apt-get -o DPkg::Lock::Timeout=400 install -y -q --no-install-recommends "${missing[@]}"
