/* The reader-writer lock of a segment: peers that enter, sleep, give up, die and bury each other.
 *
 * What is claimed, what is bounded and what is left out: README.md. check.sh runs it, and sets
 *   PEERS    processes; the first INIT are attached from the start (peer p on slot p), the others claim a free slot
 *   SLOTS    slots in the peer table
 *   ROLE0 …  what each peer does: READ, WRITE or ANY; + HASTY: its time may run out wherever it waits
 *   OPS      locks each peer takes
 *   CRASHES  how many peers may be killed, each between any two steps
 *   TURNS    waiters may ask for the turn
 *   TSO      plain stores may wait in a store buffer (as on x86) until a fence or an atomic operation
 *   MUTATION one of the names below: the protocol with one mistake
 *
 * A step is what nobody can interleave with: one access to shared words or one call of the kernel, and what its process
 * then computes alone. A loop that loads W and ends with a compare-exchange is one step: its failing rounds only read.
 */
#ifndef OPS
#define OPS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#define SLICES 1                    /* slices that may be needed after each crash */

#define READ  1
#define WRITE 2
#define ANY   3
#define HASTY 4
#define can(what) (role & (what))
#ifndef ROLE0
#define ROLE0 ANY
#endif
#ifndef ROLE1
#define ROLE1 ANY
#endif
#ifndef ROLE2
#define ROLE2 ANY
#endif
#ifndef ROLE3
#define ROLE3 ANY
#endif

#define nothing               0
#define noFenceAfterRaise     1
#define noFenceAfterLower     2
#define noFenceInDrain        3
#define noLookAfterRaise      4
#define noDrain               5
#define notRegistered         6
#define forgetsSleepers       7
#define releasesByStore       8
#define wakesOneAtTurn        9
#define leavesReadersAsleep   10
#define leavesDrainerAsleep   11
#define sleepsUncompared      12
#define drainsUncompared      13
#define givesUpSilently       14
#define givesUpWithTurn       15
#define givesUpForgetting     16
#define turnReaderSilent      17
#define buriesUnasked         18
#define buriesWithoutByte     19
#define buriesByStore         20
#define buriesSilently        21
#define buriesWithoutSignal   22
#define leavesDeadFlag        23
#define neverAbandoned        24
#define alwaysAbandoned       25
#define keepsAbandoned        26
#define suspectsItself        27
#define suspectsNoTurn        28
#define claimsWithoutBury     29
#define releasesBeforeVersion 30
#define claimsSilently        31
#define forgetsHavingSlept    32
#ifndef MUTATION
#define MUTATION nothing
#endif
#define mutated(name) (MUTATION == name)

/* ---- the shared words ------------------------------------------------------------------------------------------- */
short W;                            /* owner: bits 0-2, turn: bits 3-5 (slot + 1 each), flags */
#define OWNER        7
#define TURN         56
#define kWritersWait 64
#define kReadersWait 128
#define kReaders     256
#define kAbandoned   512
#define owner(w)     ((w) & OWNER)
#define turn(w)      (((w) & TURN) >> 3)
#define waits        (kWritersWait | kReadersWait)
#define mine         (slot + 1)
#define free(w)      (owner(w) == 0 && (turn(w) == 0 || turn(w) == mine))

bit  odd;                           /* the version's lowest bit: a writer is inside, or died there */
bit  drainWaits;
byte readerSlots;                   /* a bit map */
bit  readerFlag[SLOTS];

/* ---- the kernel ------------------------------------------------------------------------------------------------- */
byte holder[SLOTS];                 /* the lock bytes: peer + 1 whose open file holds it */
mtype = { awake, writerOnW, readerOnW, onSignal };
mtype sleeping[PEERS] = awake;
bit  sliced[PEERS];                 /* woken because a slice ended */
bit  sigIsNew[PEERS];               /* readerSignal is what this peer loaded: a counter that never wraps */

/* ---- the observer: the truth, whatever the words say ------------------------------------------------------------ */
byte attached[SLOTS];               /* peer + 1 that lives and uses the slot */
bit  alive[PEERS], dead[PEERS];
byte writing, reading;              /* peers inside, bit maps */
bit  dirty;                         /* the data may be half-written */
byte crashes, slices;
hidden byte i;

#define bitOf(n) (1 << (n))
#define step     atomic

/* ---- memory ----------------------------------------------------------------------------------------------------- */
#ifdef TSO
mtype = { drained, lowersFlag, raisesFlag, raisesDrainWaits };
mtype buffer[PEERS] = drained;        /* one store a peer may have under way */
inline flush(p) {
  if
  :: buffer[p] == lowersFlag       -> readerFlag[p] = 0      /* peer p is on slot p here */
  :: buffer[p] == raisesFlag       -> readerFlag[p] = 1
  :: buffer[p] == raisesDrainWaits -> drainWaits = 1
  :: else
  fi;
  buffer[p] = drained
}
#define store(what, word, value) skip; step { flush(me); buffer[me] = what }
#define fence(dropped)           d_step { if :: !mutated(dropped) -> flush(me) :: else fi }
active proctype StoreBuffers() {
end:
  do
  :: d_step { buffer[0] != drained -> flush(0) }
  :: d_step { buffer[1] != drained -> flush(1) }
#if PEERS > 2
  :: d_step { buffer[2] != drained -> flush(2) }
#endif
  od
}
#else
#define flush(p)                 skip
#define store(what, word, value) word = value
#define fence(dropped)           skip
#endif

/* ---- futexes ---------------------------------------------------------------------------------------------------- */
#define aWriter    (sleeping[i] == writerOnW)
#define aReader    (sleeping[i] == readerOnW)
#define aDrainer   (sleeping[i] == onSignal)
#define anybodyOnW (aWriter || aReader)
inline wakeAll(who) {
  d_step {
    i = 0;
    do
    :: i < PEERS -> if :: who -> sleeping[i] = awake :: else fi; i++
    :: else -> break
    od;
    i = 0
  }
}
inline wakeOneWriter() {            /* any one: nothing relies on the kernel's order */
  step {
    if
    :: sleeping[0] == writerOnW -> sleeping[0] = awake
    :: sleeping[1] == writerOnW -> sleeping[1] = awake
#if PEERS > 2
    :: sleeping[2] == writerOnW -> sleeping[2] = awake
#endif
#if PEERS > 3
    :: sleeping[3] == writerOnW -> sleeping[3] = awake
#endif
    :: else
    fi
  }
}
inline wakeWaiters(w) {              /* w has just lost its wait flags */
  if
  :: turn(w) != 0 && w & waits && !mutated(wakesOneAtTurn) -> wakeAll(anybodyOnW)
  :: turn(w) != 0 && !(w & waits)
  :: else ->
     if
     :: w & kReadersWait -> wakeAll(aReader)
     :: else
     fi;
     if
     :: w & kWritersWait -> wakeOneWriter()
     :: else
     fi
  fi
}
inline signalReaders() {            /* readerSignal++, and wake all on it: two steps */
  d_step { i = 0; do :: i < PEERS -> sigIsNew[i] = 0; i++ :: else -> break od; i = 0 };
  wakeAll(aDrainer)
}

/* Compares and sleeps, atomically; until a wake, the end of a slice (see Slices), or of the caller's time. */
inline futexWait(same, kind) {
  d_step { flush(me); if :: same -> sleeping[me] = kind; slept = 1 :: else fi };
  step {
    if
    :: sleeping[me] == awake
    :: can(HASTY) && !expired -> sleeping[me] = awake; expired = 1     /* also if woken just before */
    fi;
    due = sliced[me]; sliced[me] = 0
  }
}

/* ---- burying the dead ------------------------------------------------------------------------------------------- */
#define neverFromTheLiving(s) assert(attached[s] == 0)         /* (S) */

inline BURY(s) {                    /* requires byte s */
  do
  :: v = W;
     if
     :: owner(v) == s + 1 -> drainWaits = 0
     :: turn(v) == s + 1
     :: else -> break
     fi;
     step {
       flush(me);
       ok = (W == v || mutated(buriesByStore));
       if
       :: ok ->
          neverFromTheLiving(s);
          W = v & ~waits & ~(turn(v) == s + 1 -> TURN : 0) & ~(owner(v) == s + 1 -> OWNER : 0);
          if
          :: owner(v) == s + 1 && (odd || mutated(alwaysAbandoned)) && !mutated(neverAbandoned) -> W = W | kAbandoned
          :: owner(v) == s + 1 && !odd && !mutated(keepsAbandoned) -> W = W & ~kAbandoned
          :: else
          fi
       :: else
       fi
     };
     if
     :: ok && (v & waits) && !mutated(buriesSilently) -> wakeAll(anybodyOnW); break
     :: ok && !((v & waits) && !mutated(buriesSilently)) -> break
     :: !ok
     fi
  od;
  if
  :: readerFlag[s] && !mutated(leavesDeadFlag) ->
     d_step { neverFromTheLiving(s); readerFlag[s] = 0 };
     if
     :: !mutated(buriesWithoutSignal) && !(mutated(claimsSilently) && s == slot) -> signalReaders()
     :: else
     fi
  :: else
  fi;
  d_step { readerSlots = readerSlots & ~bitOf(s); v = 0; ok = 0 }
}

inline SUSPECT(s) {
  step {                            /* tryByte; one's own byte looks free to oneself */
    flush(me);
    ok = (holder[s] == 0 || holder[s] == me + 1 || mutated(buriesUnasked)) &&
         (s != slot || mutated(suspectsItself));
    if
    :: ok && !mutated(buriesUnasked) && !mutated(buriesWithoutByte) -> holder[s] = me + 1
    :: else
    fi
  };
  if
  :: ok ->
     BURY(s);
     d_step {                       /* dropByte */
       neverFromTheLiving(s);
       if :: holder[s] == me + 1 -> holder[s] = 0 :: else fi
     }
  :: else
  fi
}

/* ---- a peer ----------------------------------------------------------------------------------------------------- */
#if CRASHES > 0
#define unlessKilled unless { dead[me] }
#else
#define unlessKilled
#endif

inline lookAtDrainWaits() {
  if
  :: drainWaits && !mutated(leavesDrainerAsleep) -> signalReaders()
  :: else
  fi
}

proctype Peer(byte me; byte role) {
  short w, v;
  byte slot, s, map, left = OPS;
  bit writer, registered, fast, slept, due, expired, told, repaired, ok;
  {
    if
    :: me < INIT -> slot = me
    :: else ->
end_allTaken:                       /* CLAIM; to wait for ever for a free slot is no fault of the lock */
       step {
         if
         :: holder[0] == 0 -> slot = 0
         :: holder[1] == 0 -> slot = 1
#if SLOTS > 2
         :: holder[2] == 0 -> slot = 2
#endif
         fi;
         holder[slot] = me + 1; alive[me] = 1
       };
       if
       :: !mutated(claimsWithoutBury) -> BURY(slot)
       :: else
       fi;
       attached[slot] = me + 1
    fi;

next:
    step {
      if
      :: left == 0 -> goto detach
      :: left > 0 && can(WRITE) -> writer = 1
      :: left > 0 && can(READ)  -> writer = 0; fast = 1
      fi;
      left--; due = 1;
      if
      :: writer -> goto enter
      :: !writer && registered -> goto raise
      :: else -> registered = 1; readerSlots = (mutated(notRegistered) -> readerSlots : readerSlots | bitOf(slot))
      fi
    };
    step { flush(me); W = W | kReaders; goto raise };

    /* ---- WRITE ENTER 1, READ ENTER 1 ---- */
enter:
    step {
      flush(me);
      w = W;
      if
      :: free(w) && writer ->
         W = (w & ~TURN) | mine | (slept && !mutated(forgetsSleepers) -> kWritersWait : 0);
         due = 1;
         goto drain
      :: free(w) && !writer -> goto raise
      :: !free(w) && expired -> goto giveUp
      :: !free(w) && !expired && slept && mutated(forgetsHavingSlept) -> slept = 0; goto comesAgain
      :: !free(w) && !expired ->
         w = w | (writer -> kWritersWait : kReadersWait);
         if
#ifdef TURNS
         :: turn(w) == 0 -> w = w | mine << 3       /* has waited for more than 1 ms */
#endif
         :: true
         fi;
         W = w
      fi
    };
    if
    :: due ->
       if
       :: owner(w) != 0 -> s = owner(w) - 1; SUSPECT(s)
       :: else
       fi;
       if
       :: turn(w) != 0 && !mutated(suspectsNoTurn) -> s = turn(w) - 1; SUSPECT(s)
       :: else
       fi;
       s = 0
    :: else
    fi;
    futexWait(W == w || mutated(sleepsUncompared), (writer -> writerOnW : readerOnW));
comesAgain:
    w = 0;
    goto enter;

    /* ---- WRITE ENTER 2: DRAIN ---- */
drain:
    map = (w & kReaders && !mutated(noDrain) -> readerSlots & ~bitOf(slot) : 0);
    do
    :: s == SLOTS -> break
    :: d_step { s < SLOTS && (!(map & bitOf(s)) || !readerFlag[s]) -> s++ }
    :: s < SLOTS && map & bitOf(s) && readerFlag[s] && expired -> break
    :: s < SLOTS && map & bitOf(s) && readerFlag[s] && !expired ->
       store(raisesDrainWaits, drainWaits, 1);
       fence(noFenceInDrain);
       sigIsNew[me] = 1;            /* sig = readerSignal */
       if
       :: readerFlag[s] ->
          if
          :: due -> SUSPECT(s)
          :: else
          fi;
          futexWait(sigIsNew[me] || mutated(drainsUncompared), onSignal)
       :: else
       fi
    od;
    step { flush(me); drainWaits = 0; sigIsNew[me] = 0; map = 0; due = 0 };
    if
    :: s < SLOTS -> goto leave      /* out of time, and never been inside */
    :: else
    fi;

    /* ---- WRITE ENTER 3: inside ---- */
    step {
      odd = 1;
      assert(writing == 0 && reading == 0);                     /* (M) */
      writing = writing | bitOf(me);
      told = ((w & kAbandoned) != 0);
      assert(told == dirty);                                    /* (A) */
      w = 0;
      if
      :: repaired = told
      :: told -> repaired = 0       /* somebody else may */
      fi
    };

    /* ---- WRITE LEAVE ---- */
    d_step {
      writing = writing & ~bitOf(me);
      if
      :: !told || repaired ->
         dirty = 0;
         odd = (mutated(releasesBeforeVersion) -> 1 : 0)
      :: else
      fi;
      told = 0
    };
leave:
    if
    :: mutated(releasesByStore) -> w = W
    :: else
    fi;
    step {
      flush(me);
      w = (mutated(releasesByStore) -> w : W);
      W = w & ~OWNER & ~waits & ~(repaired -> kAbandoned : 0)
    };
    if
    :: mutated(releasesBeforeVersion) -> odd = 0
    :: else
    fi;
    if
    :: mutated(leavesReadersAsleep) -> w = w & ~kReadersWait
    :: else
    fi;
    wakeWaiters(w);
    goto over;

    /* ---- READ ENTER; fast: the path in TypeScript, that raises before it looks ---- */
raise:
    store(raisesFlag, readerFlag[slot], 1);
    fence(noFenceAfterRaise);
    step {
      w = W;
      if
      :: mutated(noLookAfterRaise) || (fast -> (w & ~kReaders) == 0 : free(w)) ->
         assert(writing == 0);                                  /* (M) */
         assert(((w & kAbandoned) != 0) == dirty);              /* (A) */
         reading = reading | bitOf(me);
         goto inside
      :: else -> fast = 0; w = 0
      fi
    };
    store(lowersFlag, readerFlag[slot], 0);
    fence(noFenceAfterLower);
    lookAtDrainWaits();
    goto enter;
inside:
    if
    :: turn(w) == mine ->
       step { flush(me); w = W; W = w & ~(TURN | waits) };
       if
       :: !mutated(turnReaderSilent) -> wakeWaiters(w)
       :: else
       fi
    :: else
    fi;

    /* ---- READ LEAVE ---- */
    reading = reading & ~bitOf(me);
    store(lowersFlag, readerFlag[slot], 0);
    fence(noFenceAfterLower);
    lookAtDrainWaits();
    goto over;

giveUp:
    due = 0;                        /* a step of its own: spin makes a step that goes to a step one step */
    step {
      flush(me);
      w = W;
      W = w & ~(turn(w) == mine && !mutated(givesUpWithTurn) -> TURN : 0) & ~(owner(w) == 0 -> waits : 0) |
          (owner(w) != 0 && writer && slept && !mutated(givesUpForgetting) -> kWritersWait : 0);
      w = w | (writer && slept -> kWritersWait : 0)             /* the wake-up it may have taken, it passes on */
    };
    if
    :: owner(w) == 0 && !mutated(givesUpSilently) -> wakeWaiters(w)
    :: else
    fi;

over:
    step {
      w = 0; s = 0; map = 0; ok = 0; told = 0; repaired = 0; due = 0; writer = 0; fast = 0; slept = 0; expired = 0;
      goto next
    };

detach:
    step { attached[slot] = 0; holder[slot] = 0; alive[me] = 0 }
  } unlessKilled;
  step {
    w = 0; v = 0; slot = 0; s = 0; map = 0; left = 0; ok = 0; told = 0; repaired = 0; due = 0; writer = 0; fast = 0;
    slept = 0; expired = 0; registered = 0
  }
}

/* ---- time and death --------------------------------------------------------------------------------------------- */
#define rests(p) (sleeping[p] != awake || !alive[p])
#if PEERS == 2
#define everybodyRests (rests(0) && rests(1))
#define somebodyLives  (alive[0] || alive[1])
#elif PEERS == 3
#define everybodyRests (rests(0) && rests(1) && rests(2))
#define somebodyLives  (alive[0] || alive[1] || alive[2])
#else
#define everybodyRests (rests(0) && rests(1) && rests(2) && rests(3))
#define somebodyLives  (alive[0] || alive[1] || alive[2] || alive[3])
#endif

/* Slices end only after a crash, and only when nobody can go on without; then all that sleep wake. Where one is needed
 * without a crash, or more than SLICES after each, the sleepers stay asleep: spin's 'invalid end state'. (L) (R) */
active proctype Slices() {
end:
  do
  :: d_step {
       slices < SLICES * crashes && everybodyRests && somebodyLives ->
       slices++;
       i = 0;
       do
       :: i < PEERS ->
          if :: sleeping[i] != awake -> sliced[i] = 1; sleeping[i] = awake :: else fi;
          i++
       :: else -> break
       od;
       i = 0
     }
  od
}

#if CRASHES > 0
inline kill(p) {
  flush(p);
  crashes++;
  dead[p] = 1; alive[p] = 0;
  sleeping[p] = awake; sliced[p] = 0; sigIsNew[p] = 0;
  if :: writing & bitOf(p) -> dirty = 1 :: else fi;
  writing = writing & ~bitOf(p); reading = reading & ~bitOf(p);
  i = 0;
  do
  :: i < SLOTS ->
     if :: holder[i] == p + 1 -> holder[i] = 0 :: else fi;
     if :: attached[i] == p + 1 -> attached[i] = 0 :: else fi;
     i++
  :: else -> break
  od;
  i = 0
}
active proctype Killer() {
end:
  do
  :: d_step { crashes < CRASHES && alive[0] -> kill(0) }
  :: d_step { crashes < CRASHES && alive[1] -> kill(1) }
#if PEERS > 2
  :: d_step { crashes < CRASHES && alive[2] -> kill(2) }
#endif
#if PEERS > 3
  :: d_step { crashes < CRASHES && alive[3] -> kill(3) }
#endif
  od
}
#endif

init {
  byte p;
  atomic {
    do
    :: p < INIT -> holder[p] = p + 1; attached[p] = p + 1; alive[p] = 1; p++
    :: else -> break
    od;
    run Peer(0, ROLE0);
    run Peer(1, ROLE1);
#if PEERS > 2
    run Peer(2, ROLE2);
#endif
#if PEERS > 3
    run Peer(3, ROLE3);
#endif
    p = 0
  }
}
