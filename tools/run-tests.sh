#!/bin/sh
# Runs every test, in two lanes at once: what drives real processes through whole calls, kills and faults waits most of
# its time and takes the second lane; the fast tests, then the other real peers, take the first.
# Usage: tools/run-tests.sh PYTEST
set -u
pytest=$1
temporary=$(mktemp -d)
beside=
ended() {
    if [ -n "$beside" ]; then
        kill -INT "$beside" 2> /dev/null
        wait "$beside"
    fi
    rm -rf "$temporary"
}
trap ended EXIT
trap 'exit 130' INT TERM

"$pytest" -q --basetemp="$temporary/b" tests/faults tests/asterisk > "$temporary/beside.log" 2>&1 &
beside=$!
failed=0
"$pytest" -q -m "not peer" --basetemp="$temporary/a" --ignore=tests/faults --ignore=tests/asterisk || failed=1
"$pytest" -q -m peer --basetemp="$temporary/a" --ignore=tests/faults --ignore=tests/asterisk || failed=1
wait "$beside" || failed=1
beside=
echo "tests/faults and tests/asterisk, which ran beside:"
cat "$temporary/beside.log"
exit $failed
