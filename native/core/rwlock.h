// The reader-writer lock of a segment, as one attachment takes part in it. docs/concurrency.md is the essay: the words,
// the steps, the invariants L1 to L6 that are referred to here; docs/model/ checks them.
//
// TypeScript has the uncontended ways in and out (lib/lock/rw-lock.ts); here is what waits, wakes, and buries the dead.
#pragma once

#include <atomic>
#include <cstdint>

#include "futex.h"
#include "layout.h"
#include "result.h"

namespace ndshm {

enum class Access : uint32_t {
  kRead = 1,
  kWrite = 2,
  kDrain = 3,  // to write; the word is taken already, and the readers inside have to be waited for
};

enum class Entry : uint32_t {
  kNotYet = 0,  // the time is up, or the wait was stopped; nothing is held
  kEntered = 1,
  kEnteredAbandoned = 2,  // inside, and the data may be half-written
  kDraining = 3,          // the time is up, but the word is ours, and waits for readers: to be gone on with by kDrain
};

enum class Change : uint32_t {
  kNotYet = 0,
  kChanged = 1,
  kPeerDied = 2,
};

// One life of one attachment. A slot is used again, its generation is not: a verdict 'dead' stays true for ever.
struct PeerId {
  uint32_t slot;
  uint32_t generation;
};

// A wait that another thread may stop: it sets the flag and wakes everybody on the lock's words (RwLock::disturb)
// until the wait is over.
using StopFlag = std::atomic<uint32_t>;

class RwLock {
 public:
  // `fd` is of this attachment, which holds the byte of `slot`; kReadOnlyPeer can only wait for changes.
  RwLock(ControlBlock& block, int fd, uint32_t slot) noexcept : block_(block), fd_(fd), slot_(slot) {}
  RwLock(const RwLock&) = delete;
  RwLock& operator=(const RwLock&) = delete;

  // Blocks until inside, or `untilNs` of monotonicNs(), or stopped. Only while this attachment holds nothing, and in
  // one thread at a time. Errors: kControlCorrupt.
  //
  // `comesAgain`: the wait is one slice of a longer one, so that what has been achieved (the turn, the word) is kept
  // when the time is up.
  Result<Entry> enter(Access access, uint64_t untilNs, const StopFlag& stop, bool comesAgain) noexcept;
  // Once before the first read: from now on writers look at this slot's flag.
  void registerReader() noexcept;
  // Lets go of the word and wakes who waits. Errors: kControlCorrupt if it is not ours, which only a hostile peer can
  // bring about.
  Result<void> leaveWrite(bool clearAbandoned) noexcept;
  // After this slot's flag was lowered, if drainWaits is set.
  void wakeDrainer() noexcept;

  // Watches changeSignal for some microseconds, if that has been worth while lately: whether it is no longer `signal`.
  bool changesSoon(uint32_t signal) noexcept;
  // Blocks until changeSignal is no longer `signal`, or one of `watched` has died. Does not enter. The caller has set
  // kWatches in changeWaiters, and looked again, since it read `signal`.
  Result<Change> awaitChange(uint32_t signal, const PeerId* watched, uint32_t count, uint64_t untilNs,
                             const StopFlag& stop) noexcept;
  // After a change, if changeWaiters is set.
  void notifyChange(int atMost = kEverybody) noexcept;
  Result<bool> isDead(PeerId peer) noexcept;

  // Leaves in the middle of whatever this attachment is doing, as its death would.
  void abandon() noexcept;

  // Wakes every sleeper on the words, for them to look around.
  void disturb() noexcept;

 private:
  uint32_t me() const noexcept { return slot_ + 1; }
  bool isFree(uint32_t word) const noexcept;
  bool isCorrupt(uint32_t word) const noexcept;
  Result<bool> awaitWord(bool writes, uint64_t untilNs, const StopFlag& stop) noexcept;
  bool tookWord(uint32_t word) noexcept;
  bool raisedFlag() noexcept;
  void clearTurn() noexcept;
  void giveUp() noexcept;
  Result<bool> drained(uint64_t untilNs, const StopFlag& stop) noexcept;
  Result<bool> flagIsDown(uint32_t slot, uint64_t untilNs, const StopFlag& stop) noexcept;
  Result<Entry> entered() const noexcept;
  Result<void> suspect(uint32_t id) noexcept;

  ControlBlock& block_;
  const int fd_;
  const uint32_t slot_;
  bool slept_ = false;  // on the word, to write, since we last entered or gave up: we may have used up a wake-up
  SpinBudget wordSpin_{SpinBudget::kLock};
  SpinBudget flagSpin_{SpinBudget::kLeaving};
  SpinBudget changeSpin_{SpinBudget::kAnswer};
};

// Whether the writer word names this slot, as owner or as next.
bool isNamed(uint32_t word, uint32_t slot) noexcept;
// Takes the holder of `slot` out of the lock, who died. The caller holds the slot's lock byte (L4).
void bury(ControlBlock& block, uint32_t slot) noexcept;

}  // namespace ndshm
