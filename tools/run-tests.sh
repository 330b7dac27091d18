#!/bin/sh
# Runs every test, in two lanes at once. The first: the fast tests, then those of intake and console on a real
# PostgreSQL. The second: what drives real processes and a real browser through whole calls, kills and faults and waits
# most of its time, then the other real peers. What the second has to say stands behind the first's.
# Usage: tools/run-tests.sh PYTEST
set -u
pytest=$1
temporary=$(mktemp -d)
beside=
ended() {
    if [ -n "$beside" ]; then
        kill -TERM "$beside" 2> /dev/null
        wait "$beside"
    fi
    rm -rf "$temporary"
}
trap ended EXIT
trap 'exit 130' INT TERM

slow="tests/faults tests/asterisk"
[ -d tests/browser ] && slow="$slow tests/browser"
elsewhere=
for folder in $slow; do
    elsewhere="$elsewhere --ignore=$folder"
done

second_lane() {
    running=
    trap 'kill -TERM $running 2> /dev/null; wait; exit 1' TERM
    bad=0
    # shellcheck disable=SC2086  # several folders, several options
    "$pytest" -q --basetemp="$temporary/b" $slow &
    running=$!
    wait "$running" || bad=1
    # shellcheck disable=SC2086
    "$pytest" -q -m peer --basetemp="$temporary/b" $elsewhere --ignore=tests/intake --ignore=tests/console &
    running=$!
    wait "$running" || bad=1
    return $bad
}

second_lane > "$temporary/beside.log" 2>&1 &
beside=$!
failed=0
# shellcheck disable=SC2086
"$pytest" -q -m "not peer" --basetemp="$temporary/a" $elsewhere || failed=1
"$pytest" -q -m peer --basetemp="$temporary/a" tests/intake tests/console || failed=1
wait "$beside" || failed=1
beside=
echo "$slow and the other real peers, which ran beside:"
cat "$temporary/beside.log"
exit $failed
