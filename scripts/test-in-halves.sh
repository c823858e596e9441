#!/usr/bin/env bash
# Runs the tests of a built checkout, two halves at once where there are two processors. Each half has a /dev/shm of its
# own, which needs root to mount: a process that makes its first array reaps what it finds abandoned, and that is just what
# tests of the other half have left to be found. What measures time or memory runs alone, afterwards.
# Usage: scripts/test-in-halves.sh <folder>      the results go there, as jest-*.json
set -uo pipefail
cd "$(dirname "$0")/.."
results=$1

first_half='/test/(crash|pool)/'
alone='/test/(demo/|lock/(ends|fairness|order|version)\.)'

own_shm=(unshare --mount sh -c 'mount -t tmpfs ndshm-test /dev/shm && exec "$@"' sh)

jest() {
  local name=$1
  shift
  "${own_shm[@]}" npx jest --runInBand --json --outputFile="$results/jest-$name.json" "$@" >"$results/jest-$name" 2>&1
}
one() { jest one --testPathPatterns "$first_half" --testPathIgnorePatterns "$alone"; }
two() { jest two --testPathIgnorePatterns "$first_half" "$alone"; }

failed=0
if "${own_shm[@]}" true 2>/dev/null; then
  one &
  two || failed=1
  wait $! || failed=1
else
  own_shm=()
  one || failed=1
  two || failed=1
fi
cat "$results"/jest-{one,two}
jest alone --testPathPatterns "$alone" || failed=1
cat "$results"/jest-alone
exit "$failed"
