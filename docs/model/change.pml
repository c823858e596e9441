/* The version of a segment: the change signal and the lock-free snapshot.
 *
 * The lock's queue is rwlock.pml's; here a writer takes a free lock, or one whose owner is dead, in one step.
 *   WRITERS, WAITERS (for a change), SNAPSHOTS   processes of each kind, at most 2
 *   CRASHES  how many writers may be killed      TSO, MUTATION  as in rwlock.pml
 */
#ifndef CRASHES
#define CRASHES 0
#endif
#define WRITES 2                    /* by each writer */
#define SLICES 1

#define nothing                0
#define noFenceBeforeLook      1
#define looksBeforeSignal      2
#define signalsBeforeVersion   3
#define clearsAfterSignal      4
#define changesSilently        5
#define sleepsUncompared       6
#define sleepsUnannounced      7
#define noSecondLookAtWaiters  8
#define noFenceAfterOdd        9
#define noFenceBeforeSecond    10
#define noSecondLook           11
#define readsWhileOdd          12
#define snapshotWatchesNobody  13
#define reportsUnchecked       14
#define unchangedSilently      15
#ifndef MUTATION
#define MUTATION nothing
#endif
#define mutated(name) (MUTATION == name)
#define step atomic

#define PEERS (WRITERS + WAITERS + SNAPSHOTS)
byte W;                             /* the lock's word: the owner (writer + 1), flags */
#define OWNER        7
#define kAbandoned   8
#define owner(w)     ((w) & OWNER)
byte version;
byte first, second;                 /* the data: a write gives both the same new value */
bit  watches, sleeps;               /* changeWaiters: two bits of one word */
mtype = { awake, onSignal };
mtype sleeping[PEERS] = awake;
bit  sigIsNew[PEERS];               /* changeSignal is what this peer loaded: a counter that never wraps */
byte seen[PEERS];
bit  dead[WRITERS];
byte crashes, slices;
hidden byte i;
#define even(v) ((v) & 254)

#ifdef TSO
bit buffered[PEERS];                /* this peer's watches = 1 is in its store buffer */
#define flush()         if :: buffered[me] -> buffered[me] = 0; watches = 1 :: else fi
#define raiseWatches()  buffered[me] = 1
#define fence(dropped)  d_step { if :: buffered[me] && !mutated(dropped) -> buffered[me] = 0; watches = 1 :: else fi }
#else
#define flush()         skip
#define raiseWatches()  watches = 1
#define fence(dropped)  skip
#endif

inline wakeAll() {
  d_step {
    i = 0;
    do
    :: i < PEERS -> sleeping[i] = awake; i++
    :: else -> break
    od;
    i = 0
  }
}
inline incrementSignal() {
  d_step { i = 0; do :: i < PEERS -> sigIsNew[i] = 0; i++ :: else -> break od; i = 0 }
}

inline NOTIFY() {                   /* only if changeWaiters != 0: before = exchange(changeWaiters, 0) */
  if
  :: (watches || sleeps) && !mutated(changesSilently) && !mutated(clearsAfterSignal) ->
     d_step { slept = sleeps; watches = 0; sleeps = 0 };
     incrementSignal();
     if
     :: slept || (sleeps && !mutated(noSecondLookAtWaiters)) -> wakeAll()
     :: else
     fi
  :: (watches || sleeps) && mutated(clearsAfterSignal) ->
     incrementSignal();
     d_step { slept = sleeps; watches = 0; sleeps = 0 };
     if
     :: slept -> wakeAll()
     :: else
     fi
  :: else
  fi;
  slept = 0
}

inline ARM() {                      /* s0 = changeSignal; changeWaiters |= watches; then the caller looks */
  if
  :: !mutated(looksBeforeSignal) -> sigIsNew[me] = 1
  :: else
  fi;
  raiseWatches();
  fence(noFenceBeforeLook)
}

inline AWAIT() {                    /* it looked in vain */
  if
  :: mutated(looksBeforeSignal) -> sigIsNew[me] = 1
  :: else
  fi;
  if
  :: !mutated(sleepsUnannounced) -> d_step { flush(); sleeps = 1 }
  :: else
  fi;
  d_step { flush(); if :: sigIsNew[me] || mutated(sleepsUncompared) -> sleeping[me] = onSignal :: else fi }
}

#if CRASHES > 0
#define unlessKilled unless { dead[me] }
#else
#define unlessKilled
#endif
#define isDead(w) (owner(w) != 0 && dead[owner(w) - 1])
/* Someone died inside, and nobody has written since. */
#define halfWritten (version % 2 && (W & kAbandoned || isDead(W)))

proctype Writer(byte me) {
  byte old, left = WRITES;
  bit unchanged, told, slept;
  {
    do
    :: left == 0 -> break
    :: left > 0 ->
       step {
         owner(W) == 0 || isDead(W) ->
         told = ((W & kAbandoned) || (isDead(W) && version % 2));
         W = (told -> kAbandoned : 0) | (me + 1);
         left--
       };
       if
       :: (told || SNAPSHOTS == 0 || mutated(unchangedSilently)) -> unchanged = 1
       :: unchanged = 0
       fi;
       old = version;
       if
       :: mutated(noFenceAfterOdd) && !unchanged -> first = old + 1
       :: else
       fi;
       version = (old + 1) | 1;
       if
       :: !unchanged -> first = (old + 1) | 1; second = (old + 1) | 1
       :: else
       fi;
       if
       :: mutated(signalsBeforeVersion) && !unchanged -> NOTIFY()
       :: else
       fi;
       if
       :: !unchanged -> version = version + 1
       :: unchanged && !told -> version = old
       :: else                      /* found half-written data and leaves them so */
       fi;
       W = (told && unchanged -> kAbandoned : 0);
       if
       :: !unchanged && !mutated(signalsBeforeVersion) -> NOTIFY()
       :: else
       fi;
       step { old = 0; unchanged = 0; told = 0 }
    od
  } unlessKilled;
  step { old = 0; left = 0; unchanged = 0; told = 0; slept = 0 }
}

/* CHANGE WAIT, for ever: sees every change, the last one included (see Observer). */
proctype Waiter(byte me) {
  do
  :: ARM();
     if
     :: d_step { even(version) != seen[me] -> seen[me] = even(version) }
     :: even(version) == seen[me] ->
        AWAIT();
end_asleep:
        sleeping[me] == awake
     fi
  od
}

proctype Snapshot(byte me) {
  byte v1, v2, one, two, w;
  do
  :: ARM();
     v1 = version;
     if
     :: v1 % 2 && !mutated(readsWhileOdd) ->
        w = W;
        if
        :: w & kAbandoned || (isDead(w) && !mutated(snapshotWatchesNobody)) ->
           step {                   /* reports abandoned, if this still is the write it means */
             if
             :: version == v1 || mutated(reportsUnchecked) -> assert(halfWritten); break
             :: else
             fi
           }
        :: else ->
           AWAIT();
           sleeping[me] == awake
        fi
     :: else ->
        one = first;
        if
        :: mutated(noFenceBeforeSecond) -> v2 = version; two = second
        :: else -> two = second; v2 = version
        fi;
        if
        :: v1 == v2 || mutated(noSecondLook) -> assert(one == two); break     /* (V) */
        :: else
        fi
     fi;
     step { v1 = 0; v2 = 0; one = 0; two = 0; w = 0 }
  od;
  step { v1 = 0; v2 = 0; one = 0; two = 0; w = 0 }
}

/* Nobody can go on. After a crash slices end, for all; then who waits for changes must have seen the last one, and who
 * takes a snapshot must be through (spin's 'invalid end state'). */
active proctype Observer() {
  do
  :: step {
       timeout && slices < SLICES * crashes ->
       slices++;
       wakeAll()
     }
  :: step {
       timeout && slices >= SLICES * crashes ->
       i = WRITERS;
       do
       :: i < WRITERS + WAITERS -> assert(seen[i] == even(version)); i++
       :: else -> break
       od;
       i = 0;
       break
     }
  od
}

#ifdef TSO
active proctype StoreBuffers() {
  byte me;
end:
  do
  :: d_step { buffered[WRITERS] -> me = WRITERS; flush(); me = 0 }
#if WAITERS > 1
  :: d_step { buffered[WRITERS + 1] -> me = WRITERS + 1; flush(); me = 0 }
#endif
  od
}
#endif

#if CRASHES > 0
active proctype Killer() {
end:
  do
  :: d_step { crashes < CRASHES && owner(W) != 0 && !dead[owner(W) - 1] -> crashes++; dead[owner(W) - 1] = 1 }
  od
}
#endif

init {
  atomic {
    run Writer(0);
#if WRITERS > 1
    run Writer(1);
#endif
#if WAITERS > 0
    run Waiter(WRITERS);
#endif
#if WAITERS > 1
    run Waiter(WRITERS + 1);
#endif
#if SNAPSHOTS > 0
    run Snapshot(WRITERS + WAITERS);
#endif
#if SNAPSHOTS > 1
    run Snapshot(WRITERS + WAITERS + 1)
#endif
  }
}
