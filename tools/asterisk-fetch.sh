#!/usr/bin/env bash
# A real Asterisk for the tests, on one line of stdout: the program to run.
#
#   tools/asterisk-fetch.sh            get it if need be, print the path of an `asterisk` command
#   tools/asterisk-fetch.sh --cached   never download: print it if it is there, else say what is missing
#
# An `asterisk` on PATH comes first. Else a relocatable tree is made from Debian's own package (Debian 12 has
# none) and kept in ${XDG_CACHE_HOME:-~/.cache}/huiyin/asterisk-22, where later runs find it. It touches nothing
# else: no package is installed but mmdebstrap, and the host's libc stays as it is, for the tree brings its own
# loader and libraries.
#
# Rules: the mirror is the one apt uses on this machine and is never written here; the tree is made in a temporary
# directory beside its place and renamed, so a run that is killed leaves no half tree; two runs at once wait for
# each other; a tree that no longer runs, or lacks a module of asterisk-modules.txt, is made again.
#
# Exit: 0 with the path; 3 with one line on stderr that says what is missing; 2 wrong use.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
modules_file=$here/asterisk-modules.txt
cache=${XDG_CACHE_HOME:-$HOME/.cache}/huiyin
tree=$cache/asterisk-22
# The distribution rolls: sid is the second try. Both have an Asterisk 22 today.
suites=(forky sid)

missing() { echo "asterisk-fetch: $*" >&2; exit 3; }

case ${1:-} in
    '') may_fetch=yes ;;
    --cached) may_fetch=no ;;
    *) echo "usage: tools/asterisk-fetch.sh [--cached]" >&2; exit 2 ;;
esac

if command -v asterisk >/dev/null; then
    command -v asterisk
    exit 0
fi

wanted_modules() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$modules_file"; }

# Whole: it runs here and holds every module that the tests load.
usable() {
    [ -x "$1/asterisk" ] || return 1
    "$1/asterisk" -V >/dev/null 2>&1 || return 1
    local module
    for module in $(wanted_modules); do
        [ -e "$1/modules/$module.so" ] || return 1
    done
}

if usable "$tree"; then
    echo "$tree/asterisk"
    exit 0
fi
[ "$may_fetch" = yes ] || missing "no usable Asterisk in $tree; run tools/asterisk-fetch.sh as root"
[ "$(id -u)" = 0 ] || missing "no asterisk on PATH and none in $tree; run tools/asterisk-fetch.sh once as root"
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] \
    || missing "only amd64 Debian is supported here; install an asterisk 22 on PATH"

# Other runs wait here and then find the tree.
mkdir -p "$cache"
exec 9>"$cache/asterisk-22.lock"
flock 9
if usable "$tree"; then
    echo "$tree/asterisk"
    exit 0
fi

if ! command -v mmdebstrap >/dev/null; then
    { DEBIAN_FRONTEND=noninteractive apt-get update -qq \
        && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap; } >&2 \
        || missing "mmdebstrap could not be installed by apt (no network?)"
fi

# The mirror that apt uses for this machine's own release: "URI codename component" of every index it knows.
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    | awk -v release="$codename" '$2 == release && $3 == "main" { print $1; exit }')
[ -n "$mirror" ] || missing "apt has no source for Debian '$codename' main, so no mirror is known"

# A run that was killed has left its directory; nobody else is here now.
rm -rf "$cache"/asterisk-22.making.*
work=$(mktemp -d "$cache/asterisk-22.making.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

fetched=
for suite in "${suites[@]}"; do
    rm -rf "$work/full"
    # apt's locale, manual and documentation files are half of the time and of no use here.
    if mmdebstrap --quiet --mode=root --variant=extract --include=asterisk \
        --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        "$suite" "$work/full" "$mirror" >"$work/log" 2>&1; then
        fetched=$suite
        break
    fi
    reason=$(grep -m1 -E '^E: ' "$work/log" || tail -n 1 "$work/log")
done
[ -n "$fetched" ] || missing "Debian's asterisk could not be fetched from apt's mirror: ${reason:-no reason given}"

# Keep the program, the wanted modules, their libraries and the documentation that modules look up at load.
full=$work/full
new=$work/tree
library=$full/usr/lib/x86_64-linux-gnu
loader=$library/ld-linux-x86-64.so.2
search=$library:$library/asterisk
mkdir -p "$new/lib" "$new/modules" "$new/share"
cp "$full/usr/sbin/asterisk" "$new/program"
cp -L "$loader" "$new/lib/ld.so"
cp -r "$full/usr/share/asterisk/documentation" "$new/share/"
for module in $(wanted_modules); do
    [ -e "$library/asterisk/modules/$module.so" ] \
        || missing "Debian $fetched has an asterisk without $module.so; put an asterisk 22 on PATH"
    cp "$library/asterisk/modules/$module.so" "$new/modules/"
done
{
    "$loader" --library-path "$search" --list "$new/program"
    for module in "$new"/modules/*.so; do "$loader" --library-path "$search" --list "$module"; done
} | sed -n 's/.*=> \([^ ]*\) (.*/\1/p' | sort -u | while read -r found; do
    case $found in "$full"/*) cp -L "$found" "$new/lib/" ;; esac
done

# The command: the tree's own loader with the tree's own libraries, wherever the tree lies.
cat >"$new/asterisk" <<'COMMAND'
#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")
exec "$tree/lib/ld.so" --library-path "$tree/lib" "$tree/program" "$@"
COMMAND
chmod 755 "$new/asterisk"

usable "$new" || missing "the Asterisk of Debian $fetched does not run here: $("$new/asterisk" -V 2>&1 | head -n 1)"
rm -rf "$tree"
mv "$new" "$tree"
echo "$tree/asterisk"
