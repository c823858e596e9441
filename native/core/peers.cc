#include "peers.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ndshm {

namespace {

constexpr int kPatience = 2000;  // times pauseBriefly(), to wait out a reaper

// Only a reaper locks kReadOnlyLock exclusively.
Result<bool> reaperAtWork(int fd) noexcept {
  auto range = findLock(fd, kReadOnlyLock, 1);
  if (!range) return range.error();
  return range->found && range->exclusive;
}

void occupy(PeerSlot& slot, Mode mode) noexcept {
  // The last holder may have died with its flags up. We have its byte, so nobody else cleans up at the same time.
  slot.readerFlag.store(0, std::memory_order_relaxed);
  slot.waitingFor.store(0, std::memory_order_relaxed);
  slot.generation.fetch_add(1, std::memory_order_relaxed);
  slot.mode.store(static_cast<uint32_t>(mode), std::memory_order_relaxed);
  slot.pid.store(static_cast<uint64_t>(getpid()), std::memory_order_relaxed);
  slot.tid.store(static_cast<uint32_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
  slot.attachedAtNs.store(realTimeNs(), std::memory_order_relaxed);
  slot.used.store(1, std::memory_order_release);
}

// First the slots that look free, then those whose holder may have died.
Result<uint32_t> claimOnce(int fd, ControlBlock& control, Mode mode) noexcept {
  for (const uint32_t wanted : {0U, 1U}) {
    for (uint32_t index = 0; index < kPeerSlots; index++) {
      PeerSlot& slot = control.peers[index];
      const bool looksUsed = slot.used.load(std::memory_order_relaxed) != 0;
      if (looksUsed != (wanted != 0)) continue;
      auto locked = tryLock(fd, Lock::kExclusive, kSlotLock + index, 1);
      if (!locked) return locked.error();
      if (!*locked) continue;
      occupy(slot, mode);
      return index;
    }
  }
  return failure(Status::kPeersFull, kPeerSlots, kPeerSlots);
}

}  // namespace

Result<uint32_t> claimSlot(int fd, ControlBlock& control, Mode mode) noexcept {
  // A reaper may have left between our try and our look for it: full is what is full twice in a row without one.
  bool wasFull = false;
  for (int attempt = 0;; attempt++) {
    auto claimed = claimOnce(fd, control, mode);
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

void clearSlot(ControlBlock& control, uint32_t slot) noexcept {
  if (slot >= kPeerSlots) return;
  PeerSlot& mine = control.peers[slot];
  mine.readerFlag.store(0, std::memory_order_relaxed);
  mine.pid.store(0, std::memory_order_relaxed);
  mine.used.store(0, std::memory_order_release);
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
      uint8_t bytes[sizeof(PeerSlot)];
      auto read = readAt(fd, bytes, sizeof bytes, controlOffset + offsetof(ControlBlock, peers) +
                                                      peer.slot * sizeof(PeerSlot));
      if (!read) return read.error();
      if (*read < sizeof bytes) continue;  // truncated meanwhile; the lock still says that somebody lives
      __builtin_memcpy(&peer.mode, bytes + offsetof(PeerSlot, mode), sizeof peer.mode);
      __builtin_memcpy(&peer.pid, bytes + offsetof(PeerSlot, pid), sizeof peer.pid);
      __builtin_memcpy(&peer.tid, bytes + offsetof(PeerSlot, tid), sizeof peer.tid);
      __builtin_memcpy(&peer.attachedAtNs, bytes + offsetof(PeerSlot, attachedAtNs), sizeof peer.attachedAtNs);
    }
  }
  return count;
}

}  // namespace ndshm
