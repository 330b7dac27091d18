#!/bin/sh
# Fetches what `make bench` measures Huiyin against, into the cache outside the tree:
#   pystrix, smpplib and py-spy (requirements/bench.txt, pinned with hashes)  -> CACHE/bench/python
#   ding-dong (benchmarks/ding-dong/package-lock.json, pinned)                -> CACHE/bench/node
#   node's smpp (benchmarks/node-smpp/package-lock.json, pinned)              -> CACHE/bench/node-smpp
# CACHE is ${XDG_CACHE_HOME:-~/.cache}/huiyin. What is already there and current is left alone. Where node is missing
# those contenders are left out, said in one line; the exit code is then 0, for the benchmark runs without it.
# Usage: tools/bench-programs.sh [PYTHON]
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${1:-$root/.venv/bin/python}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/huiyin/bench
mkdir -p "$cache"

# fresh STAMP PIN: true when STAMP was made from this very PIN
fresh() { [ -f "$1" ] && cmp -s "$1" "$2"; }

pins=$root/requirements/bench.txt
if ! fresh "$cache/python/.pins" "$pins"; then
    rm -rf "$cache/python"
    if "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$cache/python" -r "$pins"; then
        cp "$pins" "$cache/python/.pins"
    else
        echo "bench-programs: pystrix, smpplib and py-spy could not be installed; the benchmark runs without them" >&2
    fi
fi

# into FOLDER NAME: what benchmarks/NAME/package-lock.json pins goes to CACHE/FOLDER
into() {
    lock=$root/benchmarks/$2/package-lock.json
    if fresh "$cache/$1/.pins" "$lock"; then return; fi
    rm -rf "${cache:?}/$1"
    mkdir -p "$cache/$1"
    cp "$root/benchmarks/$2/package.json" "$lock" "$cache/$1/"
    if (cd "$cache/$1" && npm ci --silent --ignore-scripts --no-audit --no-fund); then
        cp "$lock" "$cache/$1/.pins"
    else
        echo "bench-programs: npm could not install $2; the benchmark runs without it" >&2
    fi
}

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "bench-programs: node or npm is missing, so ding-dong and node's smpp are not measured" \
        "(Debian: apt-get install nodejs npm)" >&2
else
    into node ding-dong
    into node-smpp node-smpp
fi
