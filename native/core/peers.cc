#include "peers.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "fault_guard.h"
#include "rwlock.h"

namespace ndshm {

namespace {

constexpr int kPatience = 2000;  // times pauseBriefly(), to wait out a reaper

// Only a reaper locks kReadOnlyLock exclusively.
Result<bool> reaperAtWork(int fd) noexcept {
  auto range = findLock(fd, kReadOnlyLock, 1);
  if (!range) return range.error();
  return range->found && range->exclusive;
}

std::atomic<uint32_t> attachments{0};

uint64_t slotOffset(uint64_t controlOffset, uint32_t slot) noexcept {
  return controlOffset + offsetof(ControlBlock, peers) + slot * sizeof(PeerSlot);
}

// The words of a slot, as they go to and come from the file.
struct SlotRecord {
  uint32_t readerFlag;
  uint32_t used;
  uint32_t generation;
  uint32_t mode;
  uint64_t pid;
  uint64_t attachedAtNs;
  uint32_t tid;
  uint32_t waitingFor;
  uint8_t reserved[24];
};
static_assert(sizeof(SlotRecord) == sizeof(PeerSlot));
static_assert(offsetof(SlotRecord, generation) == offsetof(PeerSlot, generation));
static_assert(offsetof(SlotRecord, pid) == offsetof(PeerSlot, pid));
static_assert(offsetof(SlotRecord, waitingFor) == offsetof(PeerSlot, waitingFor));

// The last holder may have died inside the lock. We have its byte, so nobody else cleans up at the same time; and we
// must, since from now on the kernel says that the slot's holder lives (L4, docs/concurrency.md).
Result<void> buryLastHolder(int fd, uint64_t controlOffset, uint32_t slot, const SlotRecord& last) noexcept {
  uint32_t word = 0;
  constexpr uint64_t wordOffset = offsetof(ControlBlock, lock) + offsetof(LockWords, writer);
  auto read = readAt(fd, &word, sizeof word, controlOffset + wordOffset);
  if (!read) return read.error();
  if (!isNamed(word, slot) && last.readerFlag == 0) return {};
  auto mapped = Mapping::map(fd, controlOffset, kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!mapped) return mapped.error();
  const FaultGuard guard(*mapped);
  bury(*reinterpret_cast<ControlBlock*>(mapped->data()), slot);
  return {};
}

Result<void> occupy(int fd, uint64_t controlOffset, uint32_t slot, Mode mode) noexcept {
  const uint64_t offset = slotOffset(controlOffset, slot);
  SlotRecord record{};
  auto read = readAt(fd, &record, sizeof record, offset);
  if (!read) return read.error();
  auto buried = buryLastHolder(fd, controlOffset, slot, record);
  if (!buried) return buried;
  const uint32_t generation = record.generation + 1;
  record = SlotRecord{};
  record.used = 1;
  record.generation = generation;
  record.mode = static_cast<uint32_t>(mode);
  record.pid = static_cast<uint64_t>(getpid());
  record.tid = static_cast<uint32_t>(syscall(SYS_gettid));
  record.attachedAtNs = realTimeNs();
  return writeAllAt(fd, &record, sizeof record, offset);
}

Result<uint32_t> claimOnce(int fd, uint64_t controlOffset, Mode mode, uint32_t first) noexcept {
  for (uint32_t n = 0; n < kPeerSlots; n++) {
    const uint32_t slot = (first + n) % kPeerSlots;
    auto locked = tryLock(fd, Lock::kExclusive, kSlotLock + slot, 1);
    if (!locked) return locked.error();
    if (!*locked) continue;
    auto occupied = occupy(fd, controlOffset, slot, mode);
    if (!occupied) return occupied.error();
    return slot;
  }
  return failure(Status::kPeersFull, kPeerSlots, kPeerSlots);
}

}  // namespace

uint32_t likelyFreeSlot() noexcept {
  return (static_cast<uint32_t>(getpid()) + attachments.fetch_add(1, std::memory_order_relaxed)) % kPeerSlots;
}

Result<uint32_t> claimSlot(int fd, uint64_t controlOffset, Mode mode, uint32_t first) noexcept {
  // A reaper may have left between our try and our look for it: full is what is full twice in a row without one.
  bool wasFull = false;
  for (int attempt = 0;; attempt++) {
    auto claimed = claimOnce(fd, controlOffset, mode, first);
    if (claimed || claimed.error().status != Status::kPeersFull || attempt == kPatience) return claimed;
    auto reaping = reaperAtWork(fd);
    if (!reaping) return reaping.error();
    if (!*reaping && wasFull) return claimed;
    wasFull = !*reaping;
    if (*reaping) pauseBriefly();
  }
}

Result<uint32_t> joinReadOnly(int fd) noexcept {
  for (int attempt = 0; attempt < kPatience; attempt++) {
    auto locked = tryLock(fd, Lock::kShared, kReadOnlyLock, 1);
    if (!locked) return locked.error();
    if (*locked) return kReadOnlyPeer;
    pauseBriefly();
  }
  return failure(Status::kBusyName);
}

Result<uint32_t> listPeers(int fd, uint64_t controlOffset, LivePeer* peers) noexcept {
  uint32_t count = 0;
  constexpr int64_t end = kReadOnlyLock + 1;
  for (int64_t at = kSlotLock; at < end;) {
    auto range = findLock(fd, at, end - at);
    if (!range) return range.error();
    if (!range->found) break;
    at = range->offset + range->byteLength;
    // A reaper's range covers everything; it is not a peer.
    if (range->exclusive && range->offset <= kSlotLock && at >= end) break;
    for (int64_t byte = range->offset; byte < at; byte++) {
      LivePeer& peer = peers[count++];
      peer = LivePeer{};
      peer.slot = static_cast<uint32_t>(byte - kSlotLock);
      if (peer.slot >= kPeerSlots) {
        peer.mode = static_cast<uint32_t>(Mode::kReadOnly);
        continue;
      }
      SlotRecord record{};
      auto read = readAt(fd, &record, sizeof record, slotOffset(controlOffset, peer.slot));
      if (!read) return read.error();
      if (*read < sizeof record) continue;  // truncated meanwhile; the lock still says that somebody lives
      peer.mode = record.mode;
      peer.pid = record.pid;
      peer.tid = record.tid;
      peer.generation = record.generation;
      peer.readerFlag = record.readerFlag;
      peer.waitingFor = record.waitingFor;
      peer.attachedAtNs = record.attachedAtNs;
    }
  }
  return count;
}

}  // namespace ndshm
