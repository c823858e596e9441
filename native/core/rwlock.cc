#include "rwlock.h"

#include "peers.h"
#include "posix.h"

namespace ndshm {

namespace {

// How long to sleep before asking the kernel again whether the peer that we wait for still lives: a sixteenth of the time
// that we have waited, but within these. Recovery from a crash takes one slice at most; each costs a wake-up and a
// system call.
constexpr uint64_t kShortestSliceNs = 1'000'000;
constexpr uint64_t kLongestSliceNs = 5'000'000;
// Where nobody in particular is waited for.
constexpr uint64_t kLongSliceNs = 100'000'000;
// Who has waited for so long claims the turn. Before that whoever comes first gets in, which is what makes an
// uncontended lock cheap and a contended one fast.
constexpr uint64_t kPatienceNs = 1'000'000;

uint64_t earlier(uint64_t a, uint64_t b) noexcept { return a < b ? a : b; }

uint64_t sliceNs(uint64_t waitedNs) noexcept {
  const uint64_t part = waitedNs / 16;
  return part < kShortestSliceNs ? kShortestSliceNs : earlier(part, kLongestSliceNs);
}

uint32_t ownerOf(uint32_t word) noexcept { return word & kOwner; }
uint32_t turnOf(uint32_t word) noexcept { return (word & kTurn) >> kTurnShift; }

// After `word` was replaced by one without its wait flags: whoever could get in now has to look. One writer will do,
// since the next owner wakes the next; but somebody in particular is not found by waking one.
void wakeWaiters(LockWords& lock, uint32_t word) noexcept {
  if (turnOf(word) != 0) {
    if ((word & (kWritersWait | kReadersWait)) != 0) futexWake(lock.writer, kEverybody, kAnyClass);
    return;
  }
  if ((word & kReadersWait) != 0) futexWake(lock.writer, kEverybody, kReaderClass);
  if ((word & kWritersWait) != 0) futexWake(lock.writer, 1, kWriterClass);
}

void signalDrainer(LockWords& lock) noexcept {
  lock.readerSignal.fetch_add(1);
  futexWake(lock.readerSignal, kEverybody, kAnyClass);
}

}  // namespace

bool isNamed(uint32_t word, uint32_t slot) noexcept { return ownerOf(word) == slot + 1 || turnOf(word) == slot + 1; }

void bury(ControlBlock& block, uint32_t slot) noexcept {
  LockWords& lock = block.lock;
  const uint32_t id = slot + 1;
  uint32_t word = lock.writer.load();
  while (isNamed(word, slot)) {
    uint32_t next = word & ~(kWritersWait | kReadersWait);
    if (ownerOf(word) == id) {
      lock.drainWaits.store(0);
      // Even: it died on its way in or out, and has left nothing half-written; it may even have repaired what was.
      const bool halfWritten = lock.version.load() % 2 == 1;
      if (halfWritten) lock.abandoned.store(id);
      next = halfWritten ? next | kAbandoned : next & ~kAbandoned;
      next &= ~kOwner;
    }
    if (turnOf(word) == id) next &= ~kTurn;
    if (!lock.writer.compare_exchange_weak(word, next)) continue;
    // Everybody: a wake-up may have gone to the dead.
    futexWake(lock.writer, kEverybody, kAnyClass);
    break;
  }
  block.lock.readerSlots[slot / 32].fetch_and(~(uint32_t{1} << slot % 32));
  if (block.peers[slot].readerFlag.exchange(0) != 0) signalDrainer(lock);
}

bool RwLock::isFree(uint32_t word) const noexcept {
  return ownerOf(word) == 0 && (turnOf(word) == 0 || turnOf(word) == me());
}

// Slots end at kPeerSlots; and what we wait for is never ourselves.
bool RwLock::isCorrupt(uint32_t word) const noexcept {
  return ownerOf(word) > kPeerSlots || turnOf(word) > kPeerSlots || ownerOf(word) == me();
}

// Whether the kernel still knows the peer is left to the kernel alone: a slot's words say nothing about that.
//
// Never of oneself: one's own locks do not show, nor stop one from taking them, and letting go of one's byte would be
// one's own death to everybody else.
Result<void> RwLock::suspect(uint32_t id) noexcept {
  if (id == 0 || id == me()) return {};
  const int64_t byte = kSlotLock + id - 1;
  auto held = findLock(fd_, byte, 1);
  if (!held) return held.error();
  if (held->found) return {};
  auto taken = tryLock(fd_, Lock::kExclusive, byte, 1);
  if (!taken) return taken.error();
  if (!*taken) return {};  // somebody else buries it, or lives in the slot by now
  bury(block_, id - 1);
  // Die before this, and the kernel lets go of the byte; what was left undone the next one does.
  auto released = tryLock(fd_, Lock::kNone, byte, 1);
  if (!released) return released.error();
  return {};
}

bool RwLock::tookWord(uint32_t word) noexcept {
  uint32_t next = (word & ~kTurn) | me();
  // The wake-up that got us here took the flag away from everybody who sleeps behind us.
  if (slept_) next |= kWritersWait;
  if (!block_.lock.writer.compare_exchange_strong(word, next)) return false;
  slept_ = false;
  return true;
}

// L2: the flag goes up before the look at the word, the owner's word before its look at the flags; both are
// sequentially consistent, so that one of the two sees the other.
bool RwLock::raisedFlag() noexcept {
  auto& flag = block_.peers[slot_].readerFlag;
  flag.store(1);
  const uint32_t word = block_.lock.writer.load();
  if (isFree(word)) {
    if (turnOf(word) == me()) clearTurn();
    return true;
  }
  flag.store(0);
  if (block_.lock.drainWaits.load() != 0) wakeDrainer();
  return false;
}

void RwLock::clearTurn() noexcept {
  LockWords& lock = block_.lock;
  uint32_t word = lock.writer.load();
  while (turnOf(word) == me()) {
    const uint32_t next = word & ~(kTurn | kWritersWait | kReadersWait);
    if (!lock.writer.compare_exchange_weak(word, next)) continue;
    wakeWaiters(lock, word);
    return;
  }
}

Result<Entry> RwLock::entered() const noexcept {
  return (block_.lock.writer.load() & kAbandoned) != 0 ? Entry::kEnteredAbandoned : Entry::kEntered;
}

void RwLock::registerReader() noexcept {
  block_.lock.readerSlots[slot_ / 32].fetch_or(uint32_t{1} << slot_ % 32);
  block_.lock.writer.fetch_or(kReaders);
}

Result<Entry> RwLock::enter(Access access, uint64_t untilNs, const StopFlag& stop, bool comesAgain) noexcept {
  const bool writes = access != Access::kRead;
  auto& waitingFor = block_.peers[slot_].waitingFor;
  waitingFor.store(writes ? 2 : 1, std::memory_order_relaxed);
  Result<bool> inside = true;
  if (access != Access::kDrain) inside = awaitWord(writes, untilNs, stop);
  const bool hasWord = writes && inside && *inside;
  if (hasWord) inside = drained(untilNs, stop);
  waitingFor.store(0, std::memory_order_relaxed);

  if (inside && *inside) return entered();
  if (inside && comesAgain) return hasWord ? Entry::kDraining : Entry::kNotYet;
  if (hasWord) {
    auto left = leaveWrite(false);
    if (!left) return left.error();
  } else {
    giveUp();
  }
  if (!inside) return inside.error();
  return Entry::kNotYet;
}

// Until the word is ours, or our flag is up. False = no more time.
Result<bool> RwLock::awaitWord(bool writes, uint64_t untilNs, const StopFlag& stop) noexcept {
  LockWords& lock = block_.lock;
  const uint64_t begunNs = monotonicNs();
  const uint64_t impatientNs = begunNs + kPatienceNs;
  uint64_t lookAgainNs = 0;  // when to suspect next: at once
  bool spun = false;
  for (;;) {
    uint32_t word = lock.writer.load();
    if (isCorrupt(word)) return failure(Status::kControlCorrupt, word, 0);
    if (isFree(word)) {
      if (writes ? tookWord(word) : raisedFlag()) return true;
      continue;
    }
    const uint64_t now = monotonicNs();
    if (!spun && now < untilNs) {
      spun = true;
      static_cast<void>(wordSpin_.spin([&] { return isFree(lock.writer.load()); }));
      continue;
    }
    // Before the look at the time: who only tries finds out about the dead, too.
    if (now >= lookAgainNs) {
      lookAgainNs = now + sliceNs(now - begunNs);
      for (const uint32_t id : {ownerOf(word), turnOf(word)}) {
        auto looked = suspect(id);
        if (!looked) return looked.error();
      }
      continue;
    }
    if (now >= untilNs || stop.load() != 0) return false;
    uint32_t wanted = word | (writes ? kWritersWait : kReadersWait);
    if (now >= impatientNs && turnOf(word) == 0) wanted |= me() << kTurnShift;
    if (wanted != word && !lock.writer.compare_exchange_strong(word, wanted)) continue;
    uint64_t wakeNs = earlier(untilNs, lookAgainNs);
    if (now < impatientNs) wakeNs = earlier(wakeNs, impatientNs);
    futexWait(lock.writer, wanted, wakeNs, writes ? kWriterClass : kReaderClass);
    if (writes) slept_ = true;
    spun = false;
  }
}

// L3: a wake-up that was meant for somebody is used or passed on.
void RwLock::giveUp() noexcept {
  LockWords& lock = block_.lock;
  uint32_t word = lock.writer.load();
  uint32_t next;
  do {
    next = word;
    if (turnOf(word) == me()) next &= ~kTurn;
    if (ownerOf(word) == 0) {
      next &= ~(kWritersWait | kReadersWait);
    } else if (slept_) {
      next |= kWritersWait;
    }
  } while (!lock.writer.compare_exchange_weak(word, next));
  if (ownerOf(word) == 0) wakeWaiters(lock, word | (slept_ ? kWritersWait : 0));
  slept_ = false;
}

Result<bool> RwLock::drained(uint64_t untilNs, const StopFlag& stop) noexcept {
  LockWords& lock = block_.lock;
  if ((lock.writer.load() & kReaders) == 0) return true;
  for (uint32_t group = 0; group < kPeerSlots / 32; group++) {
    for (uint32_t bits = lock.readerSlots[group].load(); bits != 0; bits &= bits - 1) {
      const uint32_t slot = group * 32 + static_cast<uint32_t>(__builtin_ctz(bits));
      if (slot == slot_) continue;
      auto down = flagIsDown(slot, untilNs, stop);
      if (!down || !*down) return down;
    }
  }
  return true;
}

// Waits for one reader to leave. False = no more time.
Result<bool> RwLock::flagIsDown(uint32_t slot, uint64_t untilNs, const StopFlag& stop) noexcept {
  LockWords& lock = block_.lock;
  const auto& flag = block_.peers[slot].readerFlag;
  if (flag.load() == 0 || flagSpin_.spin([&] { return flag.load() == 0; })) return true;
  uint64_t lookAgainNs = 0;
  bool down = false;
  const uint64_t begunNs = monotonicNs();
  for (;;) {
    // L3: the signal is read before the flag, so that a reader that leaves between changes what we sleep on.
    lock.drainWaits.store(1);
    const uint32_t signal = lock.readerSignal.load();
    down = flag.load() == 0;
    if (down) break;
    const uint64_t now = monotonicNs();
    if (now >= lookAgainNs) {
      lookAgainNs = now + sliceNs(now - begunNs);
      auto looked = suspect(slot + 1);
      if (!looked) return looked.error();
      continue;
    }
    if (now >= untilNs || stop.load() != 0) break;
    futexWait(lock.readerSignal, signal, earlier(untilNs, lookAgainNs), kAnyClass);
  }
  lock.drainWaits.store(0);
  return down;
}

Result<void> RwLock::leaveWrite(bool clearAbandoned) noexcept {
  LockWords& lock = block_.lock;
  if (clearAbandoned) lock.abandoned.store(0);
  const uint32_t gone = kOwner | kWritersWait | kReadersWait | (clearAbandoned ? kAbandoned : 0);
  uint32_t word = lock.writer.load();
  do {
    if (ownerOf(word) != me()) return failure(Status::kControlCorrupt, word, me());
  } while (!lock.writer.compare_exchange_weak(word, word & ~gone));
  wakeWaiters(lock, word);
  return {};
}

void RwLock::wakeDrainer() noexcept { signalDrainer(block_.lock); }

Result<bool> RwLock::isDead(PeerId peer) noexcept {
  if (peer.slot >= kPeerSlots) return true;
  if (block_.peers[peer.slot].generation.load() != peer.generation) return true;
  if (peer.slot == slot_) return false;  // the kernel does not tell of one's own locks
  auto held = findLock(fd_, kSlotLock + peer.slot, 1);
  if (!held) return held.error();
  return !held->found;
}

bool RwLock::changesSoon(uint32_t signal) noexcept {
  return changeSpin_.spin([&] { return block_.lock.changeSignal.load() != signal; });
}

Result<Change> RwLock::awaitChange(uint32_t signal, const PeerId* watched, uint32_t count, uint64_t untilNs,
                                   const StopFlag& stop) noexcept {
  LockWords& lock = block_.lock;
  const auto& word = lock.changeSignal;
  const bool mayWrite = slot_ != kReadOnlyPeer;
  // Who has changed something may be killed before it tells: from time to time the caller looks for himself.
  const uint64_t begunNs = monotonicNs();
  const uint64_t lookNs = begunNs + kLongSliceNs;
  for (;;) {
    if (mayWrite) lock.changeWaiters.fetch_or(kSleeps);
    if (word.load() != signal) return Change::kChanged;
    const uint64_t now = monotonicNs();
    if (now >= untilNs || stop.load() != 0) return Change::kNotYet;
    for (uint32_t n = 0; n < count; n++) {
      auto dead = isDead(watched[n]);
      if (!dead) return dead.error();
      if (*dead) return Change::kPeerDied;
    }
    if (now >= lookNs) return Change::kChanged;
    futexWait(word, signal, earlier(untilNs, count > 0 ? now + sliceNs(now - begunNs) : lookNs), kAnyClass);
  }
}

// L5: the flags go down before the signal changes. Whoever raised one before has read the old signal, and finds it
// changed; whoever raises one after looks at what has changed already. A sleeper's flag may come up between the two:
// hence the second look.
void RwLock::notifyChange(int atMost) noexcept {
  LockWords& lock = block_.lock;
  const uint32_t before = lock.changeWaiters.exchange(0);
  lock.changeSignal.fetch_add(1);
  if (((before | lock.changeWaiters.load()) & kSleeps) == 0) return;
  // Those who are not woken sleep on, and whoever notifies next has to know it.
  if (futexWake(lock.changeSignal, atMost, kAnyClass) == atMost) lock.changeWaiters.fetch_or(kSleeps);
}

void RwLock::abandon() noexcept { bury(block_, slot_); }

void RwLock::disturb() noexcept {
  futexWake(block_.lock.writer, kEverybody, kAnyClass);
  futexWake(block_.lock.readerSignal, kEverybody, kAnyClass);
  futexWake(block_.lock.changeSignal, kEverybody, kAnyClass);
}

}  // namespace ndshm
