#!/bin/sh
# Installs what the lab needs on the machine it runs on (Debian 12, root). Does nothing when everything is there.
set -eu

packages="apt-utils ca-certificates conntrack curl debootstrap e2fsprogs gcc iproute2 iputils-ping libc6-dev
mount netcat-openbsd nftables openssh-client openssh-server openssl procps shellcheck systemd-container tcpdump util-linux"

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    case $state in
        ii*) ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "the lab needs these packages, and only root can install them:$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
# $missing is a list of words on purpose.
# shellcheck disable=SC2086
apt-get -q install -y --no-install-recommends $missing
