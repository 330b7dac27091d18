#!/bin/sh
# Fetches what `make bench` measures Huiyin against, into the cache outside the tree:
#   pystrix and py-spy (requirements/bench.txt, pinned with hashes)  -> CACHE/bench/python
#   ding-dong (benchmarks/ding-dong/package-lock.json, pinned)       -> CACHE/bench/node
# CACHE is ${XDG_CACHE_HOME:-~/.cache}/huiyin. What is already there and current is left alone. Where node is missing
# that contender is left out, said in one line; the exit code is then 0, for the benchmark runs without it.
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
        echo "bench-programs: pystrix and py-spy could not be installed; the benchmark runs without them" >&2
    fi
fi

lock=$root/benchmarks/ding-dong/package-lock.json
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    echo "bench-programs: node or npm is missing, so ding-dong is not measured (Debian: apt-get install nodejs npm)" >&2
elif ! fresh "$cache/node/.pins" "$lock"; then
    rm -rf "$cache/node"
    mkdir -p "$cache/node"
    cp "$root/benchmarks/ding-dong/package.json" "$lock" "$cache/node/"
    if (cd "$cache/node" && npm ci --silent --ignore-scripts --no-audit --no-fund); then
        cp "$lock" "$cache/node/.pins"
    else
        echo "bench-programs: npm could not install ding-dong; the benchmark runs without it" >&2
    fi
fi
