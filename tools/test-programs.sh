#!/usr/bin/env bash
# The programs beside Python that the tests use, unattended: from Debian, as root, what is missing; from npm, as anybody,
# an SMSC that is not ours (the module `smpp`, pinned with its hashes in tests/sms/node/package-lock.json) and the rules
# of accessibility (`axe-core`, tests/browser/package-lock.json), into the cache outside the tree:
# ${XDG_CACHE_HOME:-~/.cache}/huiyin/node-smpp and …/node-axe.
#
#   tools/test-programs.sh             sipp, mmdebstrap, strace, libfaketime, PostgreSQL, Chromium with a Chinese font,
#                                      Poppler, node with smpp and axe-core
#   tools/test-programs.sh --prompts   also espeak-ng and sox, which only making voice prompts needs
#   tools/test-programs.sh --check     install nothing, say what is missing
#
# Nothing is started: PostgreSQL is installed without its own cluster, the tests start one on a socket of theirs.
# What can't be had is named in one line on stderr. Exit: 0; 3 when --check misses something; 2 wrong use.
set -euo pipefail

install=yes
prompts=
for argument in "$@"; do
    case $argument in
        --check) install=no ;;
        --prompts) prompts=yes ;;
        *) echo "usage: tools/test-programs.sh [--check] [--prompts]" >&2; exit 2 ;;
    esac
done

library=/usr/lib/$(uname -m)-linux-gnu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/huiyin
tests=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../tests" && pwd)

# Where npm's modules are pinned.
pins() {
    case $1 in
        smpp) echo "$tests/sms/node" ;;
        axe) echo "$tests/browser" ;;
    esac
}

# What proves that a package is there: a program on PATH, or a file.
there() {
    case $1 in
        sip-tester) command -v sipp ;;
        mmdebstrap) command -v mmdebstrap || command -v asterisk || [ -x "$cache/asterisk-22/asterisk" ] ;;
        strace) command -v strace ;;
        faketime) [ -e "$library/faketime/libfaketime.so.1" ] ;;
        postgresql) command -v initdb || ls /usr/lib/postgresql/*/bin/initdb ;;
        chromium) command -v chromium ;;
        fonts-wqy-microhei) [ -n "$(fc-list :lang=zh-cn)" ] || [ -e /usr/share/fonts/truetype/wqy/wqy-microhei.ttc ] ;;
        poppler-utils) command -v pdftotext ;;
        nodejs) command -v node && { command -v npm || { there smpp && there axe; }; } ;;
        smpp | axe) cmp -s "$cache/node-$1/.pins" "$(pins "$1")/package-lock.json" ;;
        espeak-ng) command -v espeak-ng ;;
        sox) command -v sox ;;
    esac >/dev/null 2>&1
}

missing() {
    local package
    for package in sip-tester mmdebstrap strace faketime postgresql chromium fonts-wqy-microhei poppler-utils \
        nodejs smpp axe \
        ${prompts:+espeak-ng sox}; do
        there "$package" || printf '%s ' "$package"
    done
}

wanted=$(missing)
[ -n "$wanted" ] || exit 0

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Debian makes and starts a cluster with PostgreSQL unless told not to; the tests want only the programs.
install_postgresql() {
    local conf=/etc/postgresql-common/createcluster.conf kept
    apt_install postgresql-common || return
    kept=$(mktemp)
    cp -p "$conf" "$kept"
    sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' "$conf"
    apt_install postgresql || true
    cp -p "$kept" "$conf"
    rm -f "$kept"
}

# Made aside and put into its place whole, so that a run that was broken off leaves nothing half.
install_module() {
    local made place=$cache/node-$1 pins
    pins=$(pins "$1")
    command -v npm >/dev/null && mkdir -p "$cache" && made=$(mktemp -d "$place.XXXXXX") || return
    if cp "$pins/package.json" "$pins/package-lock.json" "$made/" &&
        (cd "$made" && npm ci --silent --ignore-scripts --no-audit --no-fund </dev/null >&2); then
        cp "$pins/package-lock.json" "$made/.pins"
        rm -rf "$place"
        mv -T "$made" "$place" || rm -rf "$made"
    else
        rm -rf "$made"
    fi
}

if [ "$install" = yes ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 || true
    for package in $wanted; do
        case $package in
            postgresql) install_postgresql || true ;;
            nodejs) apt_install nodejs npm || true ;;
            smpp | axe) ;;
            *) apt_install "$package" || true ;;
        esac
    done
fi

if [ "$install" = yes ]; then
    for module in smpp axe; do
        there "$module" || install_module "$module" || true
    done
    wanted=$(missing)
    [ -n "$wanted" ] || exit 0
fi

echo "test-programs: missing: ${wanted% }; as root, tools/test-programs.sh installs them from Debian; smpp and axe come from npm, as anybody" >&2
# The tests that need them say so themselves, so only a plain question is answered with a failure.
[ "$install" = yes ] || exit 3
