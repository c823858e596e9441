// Prints python/ndshm/_layout.py: what Python has to know of the core, in its own words. scripts/layout.mjs runs it.
#include <cinttypes>
#include <cstdio>

#include "../native/c_abi/ndshm.h"
#include "../native/core/layout.h"
#include "../native/core/peers.h"
#include "../native/core/result.h"
#include "../native/core/shm_name.h"

using namespace ndshm;

namespace {

void number(const char* name, uint64_t value) { std::printf("%s = %" PRIu64 "\n", name, value); }

template <class Enum>
void constant(const char* name, Enum value) { number(name, static_cast<uint64_t>(value)); }

void comment(const char* text) { std::printf("\n# %s\n", text); }

void openFields(const char* name) { std::printf("%s: dict[str, tuple[int, int]] = {\n", name); }
void field(const char* name, size_t offset, size_t bytes) { std::printf("    \"%s\": (%zu, %zu),\n", name, offset, bytes); }
void closeFields() { std::printf("}\n"); }

}  // namespace

#define FIELD(Struct, member, name) field(name, offsetof(Struct, member), sizeof(Struct::member))

int main() {
  std::printf("\"\"\"The bytes of a segment, and numbers of the core. Made by scripts/layout.mjs from native/core.\"\"\"\n\n");
  std::printf("from __future__ import annotations\n\n");
  number("LAYOUT_VERSION", kLayoutVersion);
  std::printf("MAGIC = b\"%.*s\"\n", static_cast<int>(sizeof kMagic), kMagic);
  number("PAGE_BYTES", kPageBytes);
  number("HEADER_BYTES", kHeaderBytes);
  number("CONTROL_BYTES", kControlBytes);
  number("PEER_SLOTS", kPeerSlots);
  number("PEER_BYTES", sizeof(PeerSlot));
  number("READ_ONLY_PEER", kReadOnlyPeer);
  std::printf("DIRECTORY = \"%s\"\n", kDirectory);
  std::printf("TEMPORARY_PREFIX = \"%s\"\n", kTemporaryPrefix);

  comment("The parts of a control block: where they begin in it, and how many bytes they have.");
  openFields("CONTROL_BLOCK");
  FIELD(ControlBlock, header, "header");
  FIELD(ControlBlock, lock, "lock");
  FIELD(ControlBlock, memberOf, "member_of");
  FIELD(ControlBlock, peers, "peers");
  closeFields();

  comment("Fields of these parts, of a peer those of its slot: where they begin in it, and how many bytes they have.");
  openFields("CONTROL_HEADER");
  FIELD(ControlHeader, magic, "magic");
  FIELD(ControlHeader, layoutVersion, "layout_version");
  FIELD(ControlHeader, controlBytes, "control_bytes");
  FIELD(ControlHeader, dataOffset, "data_offset");
  FIELD(ControlHeader, dataBytes, "data_bytes");
  FIELD(ControlHeader, segmentId, "segment_id");
  FIELD(ControlHeader, flags, "flags");
  FIELD(ControlHeader, peerSlots, "peer_slots");
  FIELD(ControlHeader, createdAtNs, "created_at_ns");
  closeFields();
  openFields("LOCK_WORDS");
  FIELD(LockWords, writer, "writer");
  FIELD(LockWords, abandoned, "abandoned");
  FIELD(LockWords, version, "version");
  FIELD(LockWords, changeSignal, "change_signal");
  FIELD(LockWords, changeWaiters, "change_waiters");
  FIELD(LockWords, readerSignal, "reader_signal");
  FIELD(LockWords, drainWaits, "drain_waits");
  FIELD(LockWords, readerSlots, "reader_slots");
  closeFields();
  openFields("PEER_SLOT");
  FIELD(PeerSlot, readerFlag, "reader_flag");
  FIELD(PeerSlot, used, "used");
  FIELD(PeerSlot, generation, "generation");
  FIELD(PeerSlot, mode, "mode");
  FIELD(PeerSlot, pid, "pid");
  FIELD(PeerSlot, attachedAtNs, "attached_at_ns");
  FIELD(PeerSlot, tid, "tid");
  FIELD(PeerSlot, waitingFor, "waiting_for");
  closeFields();

  comment("Bits of CONTROL_HEADER's flags, of LOCK_WORDS' writer and change_waiters.");
  constant("EPHEMERAL", kEphemeral);
  constant("SPARSE", kSparse);
  number("WRITER_OWNER", kOwner);
  number("WRITER_TURN", kTurn);
  number("WRITER_TURN_SHIFT", kTurnShift);
  number("WRITER_WRITERS_WAIT", kWritersWait);
  number("WRITER_READERS_WAIT", kReadersWait);
  number("WRITER_READERS", kReaders);
  number("WRITER_ABANDONED", kAbandoned);
  number("CHANGE_WATCHES", kWatches);
  number("CHANGE_SLEEPS", kSleeps);

  comment("numpy's memmap modes.");
  constant("MODE_READ_ONLY", Mode::kReadOnly);
  constant("MODE_READ_WRITE", Mode::kReadWrite);
  constant("MODE_COPY_ON_WRITE", Mode::kCopyOnWrite);

  comment("Bytes of the file that open file descriptions lock.");
  constant("SLOT_LOCK", kSlotLock);
  constant("READ_ONLY_LOCK", kReadOnlyLock);
  constant("NAME_LOCK", kNameLock);
  constant("LOCK_BYTES", kLockBytes);
  constant("LEASE_LOCK", kLeaseLock);

  comment("Why something failed.");
  constant("STATUS_OK", Status::kOk);
  constant("STATUS_SYSTEM", Status::kSystem);
  constant("STATUS_CONTROL_VERSION", Status::kControlVersion);
  constant("STATUS_CONTROL_CORRUPT", Status::kControlCorrupt);
  constant("STATUS_PEERS_FULL", Status::kPeersFull);
  constant("STATUS_REPLACED", Status::kReplaced);
  constant("STATUS_BUSY_NAME", Status::kBusyName);
  constant("STATUS_CLOSED", Status::kClosed);

  comment("Of native/c_abi/ndshm.h: its version, and how many bytes its structures have.");
  number("ABI_VERSION", NDSHM_ABI_VERSION);
  number("FOREVER", NDSHM_FOREVER);
  number("ERROR_BYTES", sizeof(ndshm_error));
  number("FACTS_BYTES", sizeof(ndshm_facts));
  number("CONTROL_INFO_BYTES", sizeof(ndshm_control));
  number("PEER_INFO_BYTES", sizeof(ndshm_peer));
  return 0;
}
