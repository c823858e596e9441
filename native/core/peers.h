// The peer table: who is attached to a segment, as the kernel sees it.
//
// A peer is one attachment. It holds an exclusive OFD lock on its slot's byte, which the kernel drops when the last
// descriptor of that open file description goes: at close, at exit, at SIGKILL. INV1: whoever writes a slot's words
// holds its byte. INV2: a slot whose byte nobody holds is dead, whatever its words say.
#pragma once

#include <cstdint>

#include "layout.h"
#include "posix.h"

namespace ndshm {

// A slot number, or kReadOnlyPeer for a peer without write permission: it shares kReadOnlyLock instead of a slot.
inline constexpr uint32_t kReadOnlyPeer = kPeerSlots;

// Claims a free slot, or that of a dead peer. Does not block, but waits out a reaper, which holds all bytes for some
// microseconds. Errors: kPeersFull.
//
// Slots are tried from `first` on. The claim ends with the descriptor; the words stay as they are (INV2).
Result<uint32_t> claimSlot(int fd, uint64_t controlOffset, Mode mode, uint32_t first) noexcept;
// A slot to begin with that differs between processes and between the attachments of one, so that peers seldom meet:
// a claim then takes one try, and nothing of the table has to be read or mapped for it.
uint32_t likelyFreeSlot() noexcept;
Result<uint32_t> joinReadOnly(int fd) noexcept;

struct LivePeer {
  uint32_t slot = 0;
  uint32_t mode = 0;
  uint32_t tid = 0;
  uint32_t generation = 0;
  uint32_t readerFlag = 0;
  uint32_t waitingFor = 0;
  uint64_t pid = 0;
  uint64_t attachedAtNs = 0;
};
// The living peers of an open segment, other than `fd`'s own. Read-only peers share one byte, so they count as one
// entry with slot kReadOnlyPeer. Returns how many were written to `peers` (room for kPeerSlots + 1).
Result<uint32_t> listPeers(int fd, uint64_t controlOffset, LivePeer* peers) noexcept;

}  // namespace ndshm
