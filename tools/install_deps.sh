#!/bin/sh
# Installs the C libraries that mmq is built with, where they are missing, and says what it does.
# Debian and Ubuntu by apt-get, macOS by brew; elsewhere it says what to install.
set -eu

packages="libjpeg-dev libpng-dev libomp-dev libsqlite3-dev"

command -v swift >/dev/null 2>&1 || {
    echo "mmq needs Swift 6.1 or newer (https://swift.org/install); no 'swift' was found." >&2
    exit 1
}

if command -v dpkg-query >/dev/null 2>&1; then
    missing=""
    for package in $packages; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && exit 0
    echo "Installing$missing ..."
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq $missing >/dev/null
elif command -v brew >/dev/null 2>&1; then
    for formula in jpeg-turbo libpng libomp; do
        brew list "$formula" >/dev/null 2>&1 || { echo "Installing $formula ..."; brew install "$formula"; }
    done
else
    echo "Install the development files of libjpeg, libpng, OpenMP for clang (libomp) and SQLite." >&2
    echo "On Debian they are called: $packages" >&2
fi
