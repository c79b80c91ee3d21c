#!/bin/sh
# Installs what is missing of the named sets from Debian's packages; quiet and quick when all is there.
#   tools/install_packages.sh build [test] [run]
# Debian 12 (Boost 1.81, PostgreSQL 15) and 13 (Boost 1.83, PostgreSQL 17).
set -eu

. /etc/os-release
case "${ID:-}:${VERSION_ID:-}" in
  debian:12) boost=1.81 ;;
  debian:13) boost=1.83 ;;
  *) echo "This is ${PRETTY_NAME:-an unknown system}: packages are known for Debian 12 and 13 only." >&2
     echo "Install the list in tools/install_packages.sh by hand, then use cmake directly." >&2
     exit 1 ;;
esac

run="crun nftables iproute2 git openssh-client ca-certificates tzdata busybox-static bash coreutils iputils-ping"
build="clang-19 lld-19 clang-format-19 clang-tidy-19 libclang-rt-19-dev cmake ninja-build ccache pkg-config python3
  musl-tools libboost$boost-dev libboost-json$boost-dev libboost-url$boost-dev libssl-dev libcurl4-openssl-dev libyaml-dev
  libsqlite3-dev libpq-dev libarchive-dev libzstd-dev zlib1g-dev libcrypt-dev libre2-dev libcli11-dev
  libhowardhinnant-date-dev libseccomp-dev"
test="libgtest-dev libgmock-dev libbenchmark-dev llvm-19 postgresql runc docker-registry skopeo umoci curl chromium chromium-driver python3-selenium"

wanted=""
for set in "$@"; do
  case "$set" in
    run) wanted="$wanted $run" ;;
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    *) echo "unknown set '$set': use build, test or run" >&2; exit 2 ;;
  esac
done

missing=""
for package in $wanted; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "Installing$missing needs root: run as root or install sudo." >&2; exit 1; }
  sudo=sudo
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >/dev/null
# shellcheck disable=SC2086
$sudo apt-get install -y -q --no-install-recommends $missing >/dev/null
