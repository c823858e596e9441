#!/usr/bin/env bash
# Checks the models of this folder with spin: every configuration must hold, every mutation must be found out.
# Needs spin 6.5 and gcc. `check.sh` takes about two minutes on two processors and 1.5 GB; `check.sh --deep` adds larger
# configurations (3 GB). Exit code 0 only if all is as it must be.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

three='-DPEERS=3 -DINIT=3 -DSLOTS=3'
reuse='-DPEERS=3 -DINIT=2 -DSLOTS=2'
two='-DPEERS=2 -DINIT=2 -DSLOTS=2'
four='-DPEERS=4 -DINIT=4 -DSLOTS=4'
writers='-DROLE1=WRITE -DROLE2=WRITE'
crowd="$four -DROLE0=WRITE -DROLE1=WRITE -DROLE2=READ -DROLE3=READ"

# name of the configuration: model, switches
declare -A configurations=(
  [live]="rwlock $three -DTURNS -DROLE0=ANY+HASTY"
  [hasty]="rwlock $three -DTURNS -DROLE0=ANY+HASTY -DROLE1=ANY+HASTY"
  [queue]="rwlock $three $writers -DROLE0=WRITE+HASTY -DOPS=2"
  [attach]="rwlock $reuse -DTURNS"
  [crash]="rwlock $three -DTURNS -DCRASHES=1 -DROLE0=WRITE -DROLE1=WRITE -DROLE2=READ"
  [reuse]="rwlock $reuse -DTURNS -DCRASHES=1"
  [crash2]="rwlock $three $writers -DCRASHES=2 -DROLE0=WRITE"
  [tso]="rwlock $two -DTSO -DTURNS -DCRASHES=1 -DROLE0=ANY+HASTY -DOPS=2"
  [tso3]="rwlock $three -DTSO -DROLE0=WRITE -DROLE1=READ -DROLE2=ANY"
  [change]="change -DTSO -DWRITERS=2 -DWAITERS=1 -DSNAPSHOTS=0"
  [snapshot]="change -DWRITERS=2 -DWAITERS=0 -DSNAPSHOTS=1"
  [snapshotCrash]="change -DCRASHES=1 -DWRITERS=2 -DWAITERS=0 -DSNAPSHOTS=1"
)
declare -A deep=(
  [crowd]="rwlock $crowd"
  [crashHasty]="rwlock $three -DTURNS -DCRASHES=1 -DROLE0=ANY+HASTY -DROLE1=WRITE -DROLE2=READ"
  [reuseHasty]="rwlock $reuse -DTURNS -DCRASHES=1 -DROLE0=ANY+HASTY"
  [reuse2]="rwlock $reuse -DCRASHES=2"
)
# name of the mutation: the configuration that finds it out
declare -A mutations=(
  [noFenceAfterRaise]=tso3        [noFenceAfterLower]=tso3       [noFenceInDrain]=tso3
  [noLookAfterRaise]=live         [noDrain]=live                 [notRegistered]=live
  [forgetsSleepers]=live          [releasesByStore]=live         [wakesOneAtTurn]=live
  [leavesReadersAsleep]=live      [leavesDrainerAsleep]=live     [sleepsUncompared]=live
  [drainsUncompared]=live         [turnReaderSilent]=live
  [givesUpSilently]=live          [givesUpWithTurn]=live         [givesUpForgetting]=queue
  [forgetsHavingSlept]=queue
  [buriesUnasked]=live            [buriesWithoutByte]=reuse      [buriesByStore]=reuse
  [buriesSilently]=reuse          [buriesWithoutSignal]=crash    [leavesDeadFlag]=crash
  [neverAbandoned]=crash          [alwaysAbandoned]=crash        [keepsAbandoned]=crash2
  [suspectsItself]=live           [suspectsNoTurn]=crash         [claimsWithoutBury]=reuse
  [claimsSilently]=reuse          [releasesBeforeVersion]=crash
  [noFenceBeforeLook]=change      [looksBeforeSignal]=change     [signalsBeforeVersion]=change
  [clearsAfterSignal]=change      [changesSilently]=change       [sleepsUnannounced]=change
  [noSecondLookAtWaiters]=change
  [noFenceAfterOdd]=snapshot      [noFenceBeforeSecond]=snapshot [noSecondLook]=snapshot
  [readsWhileOdd]=snapshot        [unchangedSilently]=snapshot
  [snapshotWatchesNobody]=snapshotCrash                          [reportsUnchecked]=snapshotCrash
)

# search NAME CONFIGURATION SWITCH…: prints 'holds', 'fails' or 'broken', the states and what spin found, in one line
search() {
  local folder=$work/$1 switches model found verdict=broken started=$SECONDS optimize=-O2
  [ "$1" = "$2" ] || optimize=-O0   # a mutation is found before the compiler's work would pay
  switches=${configurations[$2]}
  model=${switches%% *}
  mkdir "$folder" && cd "$folder" || return
  # shellcheck disable=SC2086  # the switches are words
  if spin -a ${switches#* } "${@:3}" "$here/$model.pml" >log 2>&1 &&
     gcc $optimize -w -DSAFETY -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c >>log 2>&1; then
    ./pan -m20000 -w22 >log 2>&1
    if grep -q 'errors: 0' log && ! grep -Eq 'max search depth too small|Search not completed' log; then
      verdict=holds
    elif grep -Eq 'pan:1: (assertion violated|invalid end state)' log; then
      verdict=fails
    fi
  fi
  found=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' log)
  [ $verdict != broken ] || found=$(grep -m1 -iE 'error' log)
  printf '%-22s %-14s %-7s %12s states %4ds  %s\n' "$1" "$2" "$verdict" \
    "$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' log)" $((SECONDS - started)) "$found"
  rm -rf "$folder"
}

# Two searches at a time.
run() {
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
  search "$@" >>"$work/table" &
}

if [ "${1:-}" = --deep ]; then
  for name in "${!deep[@]}"; do configurations[$name]=${deep[$name]}; done
fi
: >"$work/table"
for name in "${!configurations[@]}"; do run "$name" "$name"; done
for name in "${!mutations[@]}"; do run "$name" "${mutations[$name]}" -DMUTATION="$name"; done
wait

sort -k3b,3br -k2b,2b -k1,1 "$work/table"
held=$(awk '$1 == $2 && $3 == "holds"' "$work/table" | wc -l)
failed=$(awk '$1 != $2 && $3 == "fails"' "$work/table" | wc -l)
echo "$held of ${#configurations[@]} configurations hold, $failed of ${#mutations[@]} mutations are found out"
[ "$held" -eq "${#configurations[@]}" ] && [ "$failed" -eq "${#mutations[@]}" ]
