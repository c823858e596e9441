#include "ndshm.h"

#include <string.h>

#include <new>
#include <utility>

#include "../core/fault_guard.h"
#include "../core/futex.h"
#include "../core/layout.h"
#include "../core/peers.h"
#include "../core/posix.h"
#include "../core/reservoir.h"
#include "../core/rwlock.h"
#include "../core/segment.h"
#include "../core/shm_name.h"

using namespace ndshm;

static_assert(sizeof(StopFlag) == sizeof(uint32_t));

// What this attachment holds, and the words behind it. What lib/lock/rw-lock.ts does for JavaScript, but that the core's
// way in is the only one here: a call of a C function is dear enough for Python.
struct ndshm_lock {
  Segment* segment;
  RwLock* lock;    // null = closed
  bool reader;     // registered, so that writers look at our flag
  bool reading;
  bool writing;
  bool abandoned;  // when we entered to write
  std::atomic<bool> spinning;  // some thread: what it learns by that is kept for the next, and not to be shared

  LockWords& words() const noexcept { return segment->control().lock; }
  // Not a peer that may only read, nor one that could not rejoin after a fork.
  bool mayEnter() const noexcept { return segment->slot() < kPeerSlots; }
};

struct ndshm_segment {
  Segment* segment;
  ndshm_lock* lock;  // null = never opened
};

struct ndshm_reservoir {
  Reservoir* reservoir;
};

struct ndshm_pages {
  OwnPages own;
};

namespace {

const StopFlag neverStopped{0};
const Error closed = failure(Status::kClosed);

int32_t failed(ndshm_error* error, const Error& cause) noexcept {
  error->status = static_cast<uint32_t>(cause.status);
  error->errnum = cause.errnum;
  error->found = cause.found;
  error->expected = cause.expected;
  error->call = cause.call;
  return -1;
}

int32_t outcome(ndshm_error* error, const Result<void>& result) noexcept {
  return result ? 0 : failed(error, result.error());
}

template <class T>
int32_t number(ndshm_error* error, Result<T>&& result) noexcept {
  if (!result) return failed(error, result.error());
  return static_cast<int32_t>(*result);
}

uint64_t deadline(uint64_t timeoutNs) noexcept {
  if (timeoutNs == 0) return 0;
  const uint64_t now = monotonicNs();
  return timeoutNs < kForever - now ? now + timeoutNs : kForever;
}

// A word of the caller's that another of its threads stores to.
const StopFlag& stopFlag(const uint32_t* stop) noexcept {
  return stop == nullptr ? neverStopped : *reinterpret_cast<const StopFlag*>(stop);
}

// L6: the version is odd before the first store into the data. What dies from here on leaves it so.
void beginWrite(ndshm_lock& lock) noexcept {
  auto& version = lock.words().version;
  // Another one than that of who died inside, if somebody did.
  version.store((version.load(std::memory_order_relaxed) + 1) | 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  lock.writing = true;
}

template <class Word, class Operation>
uint64_t applied(void* at, const Operation& operation) noexcept {
  static_assert(std::atomic<Word>::is_always_lock_free && sizeof(std::atomic<Word>) == sizeof(Word));
  return operation(*static_cast<std::atomic<Word>*>(at));
}

template <class Operation>
uint64_t onWord(const void* at, uint32_t bytes, const Operation& operation) noexcept {
  void* word = const_cast<void*>(at);  // only load() is given constant words, and it stores nothing
  switch (bytes) {
    case 1: return applied<uint8_t>(word, operation);
    case 2: return applied<uint16_t>(word, operation);
    case 4: return applied<uint32_t>(word, operation);
    default: return applied<uint64_t>(word, operation);
  }
}

// The value of a word as the word has it: the operand cut to its width.
template <class Word>
Word cut(const std::atomic<Word>&, uint64_t value) noexcept {
  return static_cast<Word>(value);
}

}  // namespace

uint32_t ndshm_abi_version(void) { return NDSHM_ABI_VERSION; }

// ---- segments ----

ndshm_segment* ndshm_segment_new(void) {
  auto* segment = new (std::nothrow) Segment(true);
  if (segment == nullptr) return nullptr;
  auto* handle = new (std::nothrow) ndshm_segment{segment, nullptr};
  if (handle == nullptr) segment->release();
  return handle;
}

void ndshm_segment_free(ndshm_segment* segment) {
  if (segment->lock != nullptr) ndshm_lock_close(segment->lock);
  delete segment->lock;
  segment->segment->close();
  segment->segment->unmapData();
  segment->segment->release();
  delete segment;
}

int32_t ndshm_segment_allocate(ndshm_segment* segment, const uint8_t* header, uint64_t data_bytes, uint32_t flags,
                               const uint8_t* source, int32_t anonymous, int32_t sparse, const uint8_t* member_of,
                               ndshm_error* error) {
  NewSegment spec{};
  spec.header = header;
  spec.dataBytes = data_bytes;
  spec.flags = flags;
  spec.source = source;
  spec.anonymous = anonymous != 0;
  spec.sparse = sparse != 0;
  spec.memberOf = member_of;
  return outcome(error, segment->segment->allocate(spec));
}

int32_t ndshm_segment_publish(ndshm_segment* segment, const char* name, int32_t replace, ndshm_error* error) {
  return outcome(error, segment->segment->publish(name, replace != 0));
}

int32_t ndshm_segment_open(ndshm_segment* segment, const char* name, int32_t need_write, ndshm_error* error) {
  return outcome(error, segment->segment->open(name, need_write != 0));
}

int32_t ndshm_segment_open_descriptor(ndshm_segment* segment, int32_t fd, int32_t need_write, ndshm_error* error) {
  return outcome(error, segment->segment->openDescriptor(fd, need_write != 0));
}

void ndshm_segment_facts(const ndshm_segment* segment, ndshm_facts* facts) {
  const FileFacts& found = segment->segment->facts();
  *facts = {found.size,   found.allocatedBytes, found.links, found.inode,
            found.device, found.modifiedAtNs,   found.owner, found.permissions};
}

int64_t ndshm_segment_read(const ndshm_segment* segment, void* into, uint64_t byte_length, uint64_t offset,
                           ndshm_error* error) {
  auto count = segment->segment->read(into, byte_length, offset);
  if (!count) return failed(error, count.error());
  return static_cast<int64_t>(*count);
}

int32_t ndshm_segment_control(const ndshm_segment* segment, uint64_t data_offset, uint64_t data_bytes,
                              ndshm_control* control, ndshm_error* error) {
  ControlRecord record;
  auto found = segment->segment->readControl(data_offset, data_bytes, record);
  if (!found) return failed(error, found.error());
  if (!*found) return 0;
  memcpy(control->segment_id, record.header.segmentId, sizeof control->segment_id);
  memcpy(control->member_of, record.memberOf, sizeof control->member_of);
  control->created_at_ns = record.header.createdAtNs;
  control->flags = record.header.flags;
  control->is_member = record.isMember() ? 1 : 0;
  return 1;
}

int32_t ndshm_segment_peers(const ndshm_segment* segment, uint64_t data_offset, uint64_t data_bytes, ndshm_peer* peers,
                            ndshm_error* error) {
  LivePeer living[kPeerSlots + 1];
  auto count = listPeers(segment->segment->descriptor(), controlOffset(data_offset, data_bytes), living);
  if (!count) return failed(error, count.error());
  for (uint32_t n = 0; n < *count; n++) {
    peers[n] = {living[n].pid, living[n].attachedAtNs, living[n].slot, living[n].mode, living[n].tid, 0};
  }
  return static_cast<int32_t>(*count);
}

int32_t ndshm_segment_attach(ndshm_segment* segment, uint32_t mode, uint64_t data_offset, uint64_t data_bytes,
                             int32_t foreign, ndshm_error* error) {
  Attachment how{};
  how.mode = static_cast<Mode>(mode);
  how.dataOffset = data_offset;
  how.dataBytes = data_bytes;
  how.foreign = foreign != 0;
  how.guard = true;
  return outcome(error, segment->segment->attach(how));
}

void* ndshm_segment_data(const ndshm_segment* segment) { return segment->segment->data(); }

int32_t ndshm_segment_descriptor(const ndshm_segment* segment) { return segment->segment->descriptor(); }

int32_t ndshm_segment_ephemeral(const ndshm_segment* segment) { return segment->segment->ephemeral() ? 1 : 0; }

int32_t ndshm_segment_faulted(const ndshm_segment* segment) { return segment->segment->faulted() ? 1 : 0; }

int32_t ndshm_segment_unlink(ndshm_segment* segment, ndshm_error* error) {
  return outcome(error, segment->segment->unlink());
}

void ndshm_segment_close(ndshm_segment* segment) { segment->segment->close(); }

int32_t ndshm_unlink(const char* name, ndshm_error* error) {
  auto path = ShmPath::of(name);
  if (!path) return failed(error, path.error());
  return outcome(error, unlinkName(*path));
}

int32_t ndshm_reap(const char* name, ndshm_error* error) {
  auto path = ShmPath::of(name);
  if (!path) return failed(error, path.error());
  return number(error, reap(*path));
}

const uint32_t* ndshm_faults(void) { return reinterpret_cast<const uint32_t*>(&FaultGuard::faultCount()); }

// ---- the lock ----

int32_t ndshm_lock_open(ndshm_segment* segment, ndshm_lock** lock, ndshm_error* error) {
  Segment* target = segment->segment;
  auto mapped = target->mapControl(1);
  if (!mapped) return failed(error, mapped.error());
  if (!*mapped) return 0;
  auto* core = new (std::nothrow) RwLock(target->control(), target->descriptor(), target->slot());
  auto* handle = core == nullptr ? nullptr : new (std::nothrow) ndshm_lock{target, core, false, false, false, false, {false}};
  if (handle == nullptr) {
    delete core;
    target->letGoOfControl();
    return failed(error, systemError("malloc", ENOMEM));
  }
  *lock = segment->lock = handle;
  return 1;
}

void ndshm_lock_close(ndshm_lock* lock) {
  if (lock->lock == nullptr) return;
  if (lock->writing || lock->reading) lock->lock->abandon();
  delete std::exchange(lock->lock, nullptr);
  lock->segment->letGoOfControl();
}

int32_t ndshm_rejoin(ndshm_segment* segment, ndshm_lock* lock, ndshm_error* error) {
  Segment* target = segment->segment;
  auto joined = target->rejoin();
  if (lock == nullptr || lock->lock == nullptr) return outcome(error, joined);
  lock->spinning.store(false);
  lock->reader = lock->reading = lock->writing = lock->abandoned = false;
  if (!joined) return failed(error, joined.error());
  auto* core = new (std::nothrow) RwLock(target->control(), target->descriptor(), target->slot());
  if (core == nullptr) return failed(error, systemError("malloc", ENOMEM));
  delete std::exchange(lock->lock, core);
  return 0;
}

uint32_t ndshm_lock_slot(const ndshm_lock* lock) { return lock->segment->slot(); }

uint32_t ndshm_lock_generation(const ndshm_lock* lock, uint32_t slot) {
  if (lock->lock == nullptr || slot >= kPeerSlots) return 0;
  return lock->segment->control().peers[slot].generation.load();
}

int32_t ndshm_lock_enter_write(ndshm_lock* lock, uint64_t timeout_ns, const uint32_t* stop, ndshm_error* error) {
  if (lock->lock == nullptr) return failed(error, closed);
  if (!lock->mayEnter()) return failed(error, systemError("lock", EPERM));
  auto entry = lock->lock->enter(Access::kWrite, deadline(timeout_ns), stopFlag(stop), false);
  if (!entry) return failed(error, entry.error());
  if (*entry == Entry::kNotYet) return 0;
  lock->abandoned = *entry == Entry::kEnteredAbandoned;
  beginWrite(*lock);
  return lock->abandoned ? 2 : 1;
}

int32_t ndshm_lock_leave_write(ndshm_lock* lock, int32_t unchanged, ndshm_error* error) {
  if (lock->lock == nullptr) return failed(error, closed);
  LockWords& words = lock->words();
  const uint64_t version = words.version.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (unchanged == 0) {
    words.version.store(version + 1, std::memory_order_relaxed);
  } else if (!lock->abandoned) {
    words.version.store(version - 1, std::memory_order_relaxed);
  }
  lock->writing = false;
  auto left = lock->lock->leaveWrite(lock->abandoned && unchanged == 0);
  if (unchanged == 0 && words.changeWaiters.load() != 0) lock->lock->notifyChange();
  return outcome(error, left);
}

int32_t ndshm_lock_enter_read(ndshm_lock* lock, uint64_t timeout_ns, const uint32_t* stop, ndshm_error* error) {
  if (lock->lock == nullptr) return failed(error, closed);
  if (!lock->mayEnter()) return failed(error, systemError("lock", EPERM));
  if (!std::exchange(lock->reader, true)) lock->lock->registerReader();
  auto entry = lock->lock->enter(Access::kRead, deadline(timeout_ns), stopFlag(stop), false);
  if (!entry) return failed(error, entry.error());
  if (*entry == Entry::kNotYet) return 0;
  lock->reading = true;
  return *entry == Entry::kEnteredAbandoned ? 2 : 1;
}

void ndshm_lock_leave_read(ndshm_lock* lock) {
  if (lock->lock == nullptr) return;
  lock->reading = false;
  lock->segment->control().peers[lock->segment->slot()].readerFlag.store(0);
  // L3: the owner raises drainWaits before its last look at the flags.
  if (lock->words().drainWaits.load() != 0) lock->lock->wakeDrainer();
}

uint64_t ndshm_lock_version(const ndshm_lock* lock) {
  return lock->lock == nullptr ? 0 : lock->words().version.load();
}

int32_t ndshm_lock_owner(const ndshm_lock* lock) {
  return lock->lock == nullptr ? -1 : static_cast<int32_t>(lock->words().writer.load() & kOwner) - 1;
}

int32_t ndshm_lock_abandoned(ndshm_lock* lock, ndshm_error* error) {
  if (lock->lock == nullptr) return failed(error, closed);
  const uint64_t version = ndshm_lock_version(lock);
  if (version % 2 == 0) return 0;
  const uint32_t word = lock->words().writer.load();
  bool died = (word & kAbandoned) != 0;
  const uint32_t owner = word & kOwner;
  if (!died && owner != 0 && owner <= kPeerSlots) {
    auto dead = lock->lock->isDead({owner - 1, ndshm_lock_generation(lock, owner - 1)});
    if (!dead) return failed(error, dead.error());
    died = *dead;
  }
  return died && ndshm_lock_version(lock) == version ? 1 : 0;
}

int32_t ndshm_lock_is_dead(ndshm_lock* lock, uint32_t slot, uint32_t generation, ndshm_error* error) {
  if (lock->lock == nullptr) return failed(error, closed);
  return number(error, lock->lock->isDead({slot, generation}));
}

// L5: the signal is read, then those who change something are asked to tell, and only then may the caller look.
uint32_t ndshm_lock_arm(ndshm_lock* lock) {
  if (lock->lock == nullptr) return 0;
  const uint32_t signal = lock->words().changeSignal.load();
  if (lock->segment->slot() != kReadOnlyPeer) lock->words().changeWaiters.fetch_or(kWatches);
  return signal;
}

int32_t ndshm_lock_await_change(ndshm_lock* lock, uint32_t signal, const uint32_t* watched, uint32_t count,
                                uint64_t timeout_ns, const uint32_t* stop, ndshm_error* error) {
  if (lock->lock == nullptr) return failed(error, closed);
  if (!lock->spinning.exchange(true)) {
    const bool changed = lock->lock->changesSoon(signal);
    lock->spinning.store(false);
    if (changed) return 1;
  }
  PeerId peers[kPeerSlots];
  if (count > kPeerSlots) count = kPeerSlots;
  for (uint32_t n = 0; n < count; n++) peers[n] = {watched[2 * n], watched[2 * n + 1]};
  return number(error, lock->lock->awaitChange(signal, peers, count, deadline(timeout_ns), stopFlag(stop)));
}

void ndshm_lock_notify(ndshm_lock* lock) {
  if (lock->lock == nullptr) return;
  if (lock->words().changeWaiters.load() != 0) lock->lock->notifyChange();
}

void ndshm_lock_disturb(ndshm_lock* lock) {
  if (lock->lock != nullptr) lock->lock->disturb();
}

// ---- atomics ----

uint64_t ndshm_atomic_load(const void* at, uint32_t bytes) {
  return onWord(at, bytes, [](auto& word) -> uint64_t { return word.load(); });
}

void ndshm_atomic_store(void* at, uint32_t bytes, uint64_t value) {
  onWord(at, bytes, [value](auto& word) -> uint64_t {
    word.store(cut(word, value));
    return 0;
  });
}

uint64_t ndshm_atomic_exchange(void* at, uint32_t bytes, uint64_t value) {
  return onWord(at, bytes, [value](auto& word) -> uint64_t { return word.exchange(cut(word, value)); });
}

uint64_t ndshm_atomic_add(void* at, uint32_t bytes, uint64_t value) {
  return onWord(at, bytes, [value](auto& word) -> uint64_t { return word.fetch_add(cut(word, value)); });
}

uint64_t ndshm_atomic_and(void* at, uint32_t bytes, uint64_t value) {
  return onWord(at, bytes, [value](auto& word) -> uint64_t { return word.fetch_and(cut(word, value)); });
}

uint64_t ndshm_atomic_or(void* at, uint32_t bytes, uint64_t value) {
  return onWord(at, bytes, [value](auto& word) -> uint64_t { return word.fetch_or(cut(word, value)); });
}

uint64_t ndshm_atomic_xor(void* at, uint32_t bytes, uint64_t value) {
  return onWord(at, bytes, [value](auto& word) -> uint64_t { return word.fetch_xor(cut(word, value)); });
}

uint64_t ndshm_atomic_compare_exchange(void* at, uint32_t bytes, uint64_t expected, uint64_t replacement) {
  return onWord(at, bytes, [expected, replacement](auto& word) -> uint64_t {
    auto found = cut(word, expected);
    word.compare_exchange_strong(found, cut(word, replacement));
    return found;
  });
}

void ndshm_fence(void) { std::atomic_thread_fence(std::memory_order_seq_cst); }

// ---- reservoirs ----

ndshm_reservoir* ndshm_reservoir_new(ndshm_segment* segment, uint64_t data_offset, uint64_t data_bytes) {
  auto* handle = new (std::nothrow) ndshm_reservoir{nullptr};
  if (handle == nullptr) return nullptr;
  handle->reservoir = new (std::nothrow) Reservoir(segment->segment->takeDescriptor(), data_offset, data_bytes);
  if (handle->reservoir != nullptr) return handle;
  delete handle;
  return nullptr;
}

void ndshm_reservoir_free(ndshm_reservoir* reservoir) {
  reservoir->reservoir->close();
  reservoir->reservoir->release();
  delete reservoir;
}

int32_t ndshm_reservoir_fill(ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length, const uint8_t* source,
                             uint64_t source_bytes, ndshm_error* error) {
  return outcome(error, reservoir->reservoir->fill(offset, byte_length, source, source_bytes));
}

int32_t ndshm_reservoir_write(ndshm_reservoir* reservoir, uint64_t offset, const uint8_t* source, uint64_t byte_length,
                              ndshm_error* error) {
  return outcome(error, reservoir->reservoir->write(offset, source, byte_length));
}

int32_t ndshm_reservoir_punch(ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length, ndshm_error* error) {
  return outcome(error, reservoir->reservoir->punch(offset, byte_length));
}

int32_t ndshm_reservoir_is_leased(const ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length,
                                  ndshm_error* error) {
  return number(error, reservoir->reservoir->isLeased(offset, byte_length));
}

int32_t ndshm_reservoir_faulted(const ndshm_reservoir* reservoir) { return reservoir->reservoir->faulted() ? 1 : 0; }

ndshm_pages* ndshm_reservoir_map(const ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length,
                                 int32_t writable, int32_t leased, ndshm_error* error) {
  auto own = reservoir->reservoir->mapOwn(offset, byte_length, writable != 0, leased != 0);
  if (!own) {
    failed(error, own.error());
    return nullptr;
  }
  auto* pages = new (std::nothrow) ndshm_pages{std::move(*own)};
  if (pages == nullptr) failed(error, systemError("malloc", ENOMEM));
  return pages;
}

void* ndshm_pages_data(const ndshm_pages* pages) { return pages->own.mapping.data(); }

int32_t ndshm_pages_faulted(const ndshm_pages* pages) { return pages->own.guard.faulted() ? 1 : 0; }

int32_t ndshm_pages_seal(ndshm_pages* pages, ndshm_error* error) { return outcome(error, pages->own.seal()); }

void ndshm_pages_free(ndshm_pages* pages) { delete pages; }
