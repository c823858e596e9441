// The bytes of a segment, format v1. This file is their one definition: TypeScript reads the numbers from the
// binding (`binding.layout`), Python from a generated file. docs/format.md draws the same picture for people.
//
//   0      .npy v1.0 header, space-padded to kHeaderBytes
//   4096   the elements
//   ...    zero padding to the next kPageBytes boundary
//   end-K  control block: ControlHeader, LockWords, reserved, PeerSlot[kPeerSlots]
//
// Any edit that moves or re-means a byte bumps kLayoutVersion, adds a golden segment under test/fixtures/ and
// changes docs/format.md, in one commit.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ndshm {

inline constexpr uint32_t kLayoutVersion = 1;
inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kHeaderBytes = 4096;
inline constexpr uint32_t kPeerSlots = 256;
inline constexpr char kMagic[8] = {'N', 'D', 'S', 'H', 'M', 'C', 'T', 'L'};

// OFD lock bytes, far beyond any file's end: a lock there never meets somebody's lock on the data.
// Slot i's holder has an exclusive lock on kSlotLock + i for as long as it lives.
inline constexpr int64_t kSlotLock = int64_t{1} << 40;
// Shared by every peer that may not write, and so cannot claim a slot.
inline constexpr int64_t kReadOnlyLock = kSlotLock + kPeerSlots;
// Shared by whoever is about to move or remove the segment's name, so that a reaper cannot do so at the same time.
inline constexpr int64_t kNameLock = kReadOnlyLock + 1;
inline constexpr int64_t kLockBytes = kNameLock + 1 - kSlotLock;
// Page n of a reservoir's elements is read by somebody who has a shared lock on kLeaseLock + n.
inline constexpr int64_t kLeaseLock = int64_t{1} << 41;

enum ControlFlags : uint32_t {
  kEphemeral = 1,  // belongs to its peers: the last one to leave unlinks the name
  kSparse = 2,     // a reservoir: most of its pages are holes on purpose
};

struct ControlHeader {
  char magic[8];
  uint32_t layoutVersion;
  uint32_t controlBytes;
  uint64_t dataOffset;
  uint64_t dataBytes;
  uint8_t segmentId[16];  // random; tells a replaced segment from its successor under the same name
  uint32_t flags;
  uint32_t peerSlots;
  uint64_t createdAtNs;  // CLOCK_REALTIME
};
static_assert(sizeof(ControlHeader) == 64);
static_assert(offsetof(ControlHeader, layoutVersion) == 8);
static_assert(offsetof(ControlHeader, controlBytes) == 12);
static_assert(offsetof(ControlHeader, dataOffset) == 16);
static_assert(offsetof(ControlHeader, dataBytes) == 24);
static_assert(offsetof(ControlHeader, segmentId) == 32);
static_assert(offsetof(ControlHeader, flags) == 48);
static_assert(offsetof(ControlHeader, peerSlots) == 52);
static_assert(offsetof(ControlHeader, createdAtNs) == 56);

// Words of the reader-writer lock; docs/concurrency.md has the protocol. Each group that different parties write has a
// cache line of its own.
struct LockWords {
  std::atomic<uint32_t> writer;     // who is inside or next, and who waits: see below
  std::atomic<uint32_t> abandoned;  // slot + 1 of the last owner that died inside
  uint8_t reservedWriter[56];
  std::atomic<uint64_t> version;         // odd while a writer is inside
  std::atomic<uint32_t> changeSignal;    // futex: bumped by a completed write that finds changeWaiters set
  std::atomic<uint32_t> changeWaiters;   // kWatches and kSleeps: nobody to tell while 0
  uint8_t reservedVersion[48];
  std::atomic<uint32_t> readerSignal;  // futex: bumped by whoever lowers its flag while drainWaits is set
  std::atomic<uint32_t> drainWaits;    // 1 = the owner sleeps until all reader flags are down
  uint8_t reservedSignals[56];
  std::atomic<uint32_t> readerSlots[8];  // bit set: this slot has read; its flag has to be looked at
  uint8_t reservedReaders[32];
};
// The fields of LockWords::writer. All below the sign bit of an int32, where JavaScript's numbers are fast.
inline constexpr uint32_t kOwner = 0x1FF;      // slot + 1 of the writer inside, or on its way in; 0 = nobody
inline constexpr uint32_t kTurn = 0x1FF << 9;  // slot + 1 of the waiter that alone may enter next; 0 = anybody
inline constexpr uint32_t kWritersWait = 1 << 24;  // a writer sleeps on this word
inline constexpr uint32_t kReadersWait = 1 << 25;  // a reader sleeps on this word
inline constexpr uint32_t kReaders = 1 << 26;      // some slot is registered in readerSlots; never cleared
inline constexpr uint32_t kAbandoned = 1 << 27;    // an owner died inside; cleared by the next completed write
inline constexpr uint32_t kTurnShift = 9;
// Of LockWords::changeWaiters.
inline constexpr uint32_t kWatches = 1;  // somebody has read changeSignal, and looks at it again
inline constexpr uint32_t kSleeps = 2;   // somebody sleeps on changeSignal
static_assert(kPeerSlots < kOwner);
static_assert(sizeof(LockWords) == 256);
static_assert(offsetof(LockWords, writer) == 0);
static_assert(offsetof(LockWords, abandoned) == 4);
static_assert(offsetof(LockWords, version) == 64);
static_assert(offsetof(LockWords, changeSignal) == 72);
static_assert(offsetof(LockWords, changeWaiters) == 76);
static_assert(offsetof(LockWords, readerSignal) == 128);
static_assert(offsetof(LockWords, drainWaits) == 132);
static_assert(offsetof(LockWords, readerSlots) == 192);
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

// One attachment of one process or thread. Written only by whoever holds the slot's lock byte; what a reader of
// somebody else's slot sees is a hint for people (`pid` is in the peer's own pid namespace), never an identity.
struct PeerSlot {
  std::atomic<uint32_t> readerFlag;  // 1 = inside a read lock, or looking whether it may be
  std::atomic<uint32_t> used;        // 1 = has been claimed; whether its holder lives, the lock byte alone says
  std::atomic<uint32_t> generation;  // +1 at every claim
  std::atomic<uint32_t> mode;        // Mode
  std::atomic<uint64_t> pid;
  std::atomic<uint64_t> attachedAtNs;  // CLOCK_REALTIME
  std::atomic<uint32_t> tid;
  std::atomic<uint32_t> waitingFor;  // what this peer waits for, for people: 0 nothing, 1 read, 2 write, 3 change
  uint8_t reserved[24];
};
static_assert(sizeof(PeerSlot) == 64);
static_assert(offsetof(PeerSlot, readerFlag) == 0);
static_assert(offsetof(PeerSlot, used) == 4);
static_assert(offsetof(PeerSlot, generation) == 8);
static_assert(offsetof(PeerSlot, mode) == 12);
static_assert(offsetof(PeerSlot, pid) == 16);
static_assert(offsetof(PeerSlot, attachedAtNs) == 24);
static_assert(offsetof(PeerSlot, tid) == 32);
static_assert(offsetof(PeerSlot, waitingFor) == 36);

struct ControlBlock {
  ControlHeader header;
  LockWords lock;
  uint8_t memberOf[16];  // the segmentId of the segment without which this one is an orphan; zeros = of none
  uint8_t reserved[kPageBytes - sizeof(ControlHeader) - sizeof(LockWords) - 16];
  PeerSlot peers[kPeerSlots];
};
inline constexpr uint64_t kControlBytes = sizeof(ControlBlock);
static_assert(kControlBytes == 20480 && kControlBytes % kPageBytes == 0);
static_assert(offsetof(ControlBlock, lock) == 64);
static_assert(offsetof(ControlBlock, memberOf) == 320);
static_assert(offsetof(ControlBlock, peers) == 4096);

// The beginning of a control block, as it goes to and comes from the file: what a segment is. No lock is held for it,
// since none of it but the words of the lock ever changes.
struct ControlRecord {
  ControlHeader header;
  uint8_t lock[sizeof(LockWords)];
  uint8_t memberOf[16];

  bool isMember() const noexcept {
    for (const uint8_t byte : memberOf) {
      if (byte != 0) return true;
    }
    return false;
  }
};
static_assert(offsetof(ControlRecord, lock) == offsetof(ControlBlock, lock));
static_assert(offsetof(ControlRecord, memberOf) == offsetof(ControlBlock, memberOf));

// numpy's memmap modes.
enum class Mode : uint32_t {
  kReadOnly = 1,     // 'r'
  kReadWrite = 2,    // 'r+'
  kCopyOnWrite = 3,  // 'c'
};

// Where the control block of a segment with this data lies. Callers have checked that the sum does not overflow.
constexpr uint64_t controlOffset(uint64_t dataOffset, uint64_t dataBytes) noexcept {
  return (dataOffset + dataBytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

}  // namespace ndshm
