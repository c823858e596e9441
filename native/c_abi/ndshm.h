/* The core for callers that know no C++: a shared library that Python loads (python/ndshm/_library.py).
 *
 * It translates, and decides nothing: names, shapes and modes have been checked by the caller. Behaviour is documented in
 * native/core; only what is added here is documented here. Whatever can fail returns a negative number then, and fills
 * `error`, which must not be null. Objects belong to the caller and are used by one thread at a time, unless it says so.
 *
 * Times to wait are in nanoseconds, NDSHM_FOREVER = until it happens. A wait can be stopped from another thread: it sets the
 * `stop` word of the call to 1 and calls ndshm_lock_disturb() until the wait has returned. `stop` may be null.
 */
#ifndef NDSHM_H
#define NDSHM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by every change of what is declared here; the loader compares it. */
#define NDSHM_ABI_VERSION 1
#define NDSHM_FOREVER UINT64_MAX

/* Status and numbers of native/core/result.h; `call` is a constant. */
typedef struct ndshm_error {
  uint32_t status;
  int32_t errnum;
  uint64_t found;
  uint64_t expected;
  const char* call;
} ndshm_error;

uint32_t ndshm_abi_version(void);

/* ---- segments: native/core/segment.h ---- */

typedef struct ndshm_segment ndshm_segment;

typedef struct ndshm_facts {
  uint64_t size;
  uint64_t allocated_bytes;
  uint64_t links;
  uint64_t inode;
  uint64_t device;
  uint64_t modified_at_ns;
  uint32_t owner;
  uint32_t permissions;
} ndshm_facts;

typedef struct ndshm_control {
  uint8_t segment_id[16];
  uint8_t member_of[16];
  uint64_t created_at_ns;
  uint32_t flags;
  uint32_t is_member;
} ndshm_control;

typedef struct ndshm_peer {
  uint64_t pid;
  uint64_t attached_at_ns;
  uint32_t slot; /* NDSHM_PEER_SLOTS: all that may not write, as one */
  uint32_t mode;
  uint32_t tid;
  uint32_t reserved;
} ndshm_peer;

/* Null = no memory. */
ndshm_segment* ndshm_segment_new(void);
/* Closes, unmaps and frees; nothing may look at its memory any more. */
void ndshm_segment_free(ndshm_segment* segment);

/* A complete segment without a name. `header`: the 4096 bytes of the .npy header, null = a plain file. `source`: data_bytes
 * bytes, null = zeros. `member_of`: 16 bytes or null. */
int32_t ndshm_segment_allocate(ndshm_segment* segment, const uint8_t* header, uint64_t data_bytes, uint32_t flags,
                               const uint8_t* source, int32_t anonymous, int32_t sparse, const uint8_t* member_of,
                               ndshm_error* error);
int32_t ndshm_segment_publish(ndshm_segment* segment, const char* name, int32_t replace, ndshm_error* error);
int32_t ndshm_segment_open(ndshm_segment* segment, const char* name, int32_t need_write, ndshm_error* error);
int32_t ndshm_segment_open_descriptor(ndshm_segment* segment, int32_t fd, int32_t need_write, ndshm_error* error);
/* As when opened or allocated. */
void ndshm_segment_facts(const ndshm_segment* segment, ndshm_facts* facts);
/* How many bytes there were. */
int64_t ndshm_segment_read(const ndshm_segment* segment, void* into, uint64_t byte_length, uint64_t offset,
                           ndshm_error* error);
/* 0 = it has no control block. */
int32_t ndshm_segment_control(const ndshm_segment* segment, uint64_t data_offset, uint64_t data_bytes,
                              ndshm_control* control, ndshm_error* error);
/* How many; room for NDSHM_PEER_SLOTS + 1. */
int32_t ndshm_segment_peers(const ndshm_segment* segment, uint64_t data_offset, uint64_t data_bytes, ndshm_peer* peers,
                            ndshm_error* error);
/* `mode`: 1 = 'r', 2 = 'r+', 3 = 'c'. 'r' is mapped PROT_READ: who stores into it gets SIGSEGV. */
int32_t ndshm_segment_attach(ndshm_segment* segment, uint32_t mode, uint64_t data_offset, uint64_t data_bytes,
                             int32_t foreign, ndshm_error* error);
/* The mapped elements; null if there are none. */
void* ndshm_segment_data(const ndshm_segment* segment);
/* -1 = closed, or without a control block. It is the segment's. */
int32_t ndshm_segment_descriptor(const ndshm_segment* segment);
int32_t ndshm_segment_ephemeral(const ndshm_segment* segment);
/* Whether pages were lost because somebody truncated the file. */
int32_t ndshm_segment_faulted(const ndshm_segment* segment);
int32_t ndshm_segment_unlink(ndshm_segment* segment, ndshm_error* error);
/* Leaves the peers. The elements stay mapped until ndshm_segment_free(). May be called again. Close its lock before. */
void ndshm_segment_close(ndshm_segment* segment);

int32_t ndshm_unlink(const char* name, ndshm_error* error);
/* 1 = it was something that a crash has left, and is gone. */
int32_t ndshm_reap(const char* name, ndshm_error* error);
/* A word that grows with every bus error that this process survives: ndshm_segment_faulted() need not be asked while it stays
 * the same. */
const uint32_t* ndshm_faults(void);

/* ---- the lock: native/core/rwlock.h, and what lib/lock/rw-lock.ts is to JavaScript ---- */

typedef struct ndshm_lock ndshm_lock;

/* 1 and the lock; 0 = the segment has no control block. Once; it is freed with the segment. */
int32_t ndshm_lock_open(ndshm_segment* segment, ndshm_lock** lock, ndshm_error* error);
/* Ends what this attachment holds as its death would, and unmaps the words. Nobody is inside a call that blocks. Whatever is
 * called afterwards, by a thread that has not heard of it, fails as closed or does nothing. */
void ndshm_lock_close(ndshm_lock* lock);
/* In a forked child, before anything else is asked of the segment, whose lock may be null: both become a peer of their own,
 * which holds nothing. */
int32_t ndshm_rejoin(ndshm_segment* segment, ndshm_lock* lock, ndshm_error* error);

/* NDSHM_PEER_SLOTS = it may not write, and so can neither enter nor be told of changes: it has to look. */
uint32_t ndshm_lock_slot(const ndshm_lock* lock);
uint32_t ndshm_lock_generation(const ndshm_lock* lock, uint32_t slot);

/* Blocks until inside: 1, or 2 = inside and the data may be half-written. 0 = the time is up, or stopped. Only while this
 * attachment holds nothing. A time of 0 only tries. EPERM for a peer that may not write. */
int32_t ndshm_lock_enter_write(ndshm_lock* lock, uint64_t timeout_ns, const uint32_t* stop, ndshm_error* error);
/* `unchanged`: nothing was stored: nobody is told, and what was abandoned stays so. */
int32_t ndshm_lock_leave_write(ndshm_lock* lock, int32_t unchanged, ndshm_error* error);
int32_t ndshm_lock_enter_read(ndshm_lock* lock, uint64_t timeout_ns, const uint32_t* stop, ndshm_error* error);
void ndshm_lock_leave_read(ndshm_lock* lock);

/* Any thread may call these. */
uint64_t ndshm_lock_version(const ndshm_lock* lock);
/* The owner's slot, or -1: nobody is inside to write. */
int32_t ndshm_lock_owner(const ndshm_lock* lock);
/* 1 = a writer has died inside, and nobody has repaired it. */
int32_t ndshm_lock_abandoned(ndshm_lock* lock, ndshm_error* error);
int32_t ndshm_lock_is_dead(ndshm_lock* lock, uint32_t slot, uint32_t generation, ndshm_error* error);
/* The signal to wait on, asked for BEFORE looking at what may have changed. */
uint32_t ndshm_lock_arm(ndshm_lock* lock);
/* Blocks until the signal is another one: 1; 2 = one of `watched` (slot and generation by turns) has died; 0 = the time is
 * up, or stopped. Returns 1 from time to time without a change. Several threads may wait. */
int32_t ndshm_lock_await_change(ndshm_lock* lock, uint32_t signal, const uint32_t* watched, uint32_t count,
                                uint64_t timeout_ns, const uint32_t* stop, ndshm_error* error);
/* After a store that others may wait for. */
void ndshm_lock_notify(ndshm_lock* lock);
void ndshm_lock_disturb(ndshm_lock* lock);

/* ---- atomics on mapped words, sequentially consistent; `bytes` is 1, 2, 4 or 8, `at` aligned to it ---- */

uint64_t ndshm_atomic_load(const void* at, uint32_t bytes);
void ndshm_atomic_store(void* at, uint32_t bytes, uint64_t value);
/* These give the value before. */
uint64_t ndshm_atomic_exchange(void* at, uint32_t bytes, uint64_t value);
uint64_t ndshm_atomic_add(void* at, uint32_t bytes, uint64_t value);
uint64_t ndshm_atomic_and(void* at, uint32_t bytes, uint64_t value);
uint64_t ndshm_atomic_or(void* at, uint32_t bytes, uint64_t value);
uint64_t ndshm_atomic_xor(void* at, uint32_t bytes, uint64_t value);
uint64_t ndshm_atomic_compare_exchange(void* at, uint32_t bytes, uint64_t expected, uint64_t replacement);
void ndshm_fence(void);

/* ---- reservoirs: native/core/reservoir.h ---- */

typedef struct ndshm_reservoir ndshm_reservoir;

/* Takes the descriptor of an opened segment, which is closed by it; null = no memory. */
ndshm_reservoir* ndshm_reservoir_new(ndshm_segment* segment, uint64_t data_offset, uint64_t data_bytes);
void ndshm_reservoir_free(ndshm_reservoir* reservoir);
/* They block. */
int32_t ndshm_reservoir_fill(ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length, const uint8_t* source,
                             uint64_t source_bytes, ndshm_error* error);
int32_t ndshm_reservoir_write(ndshm_reservoir* reservoir, uint64_t offset, const uint8_t* source, uint64_t byte_length,
                              ndshm_error* error);
int32_t ndshm_reservoir_punch(ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length, ndshm_error* error);
int32_t ndshm_reservoir_is_leased(const ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length,
                                  ndshm_error* error);
int32_t ndshm_reservoir_faulted(const ndshm_reservoir* reservoir);

/* Pages of a reservoir, mapped and guarded against truncation. Each has an open file description of its own, and with it
 * its lease: so that is everybody's who has the mapping, a forked child too, and ends with the last of them. */
typedef struct ndshm_pages ndshm_pages;

/* Null = failed. `writable`: shared and writable, else PROT_READ. */
ndshm_pages* ndshm_reservoir_map(const ndshm_reservoir* reservoir, uint64_t offset, uint64_t byte_length,
                                 int32_t writable, int32_t leased, ndshm_error* error);
void* ndshm_pages_data(const ndshm_pages* pages);
int32_t ndshm_pages_faulted(const ndshm_pages* pages);
/* Once, of writable ones: what is stored from now on reaches nobody. At the same addresses; the lease stays. */
int32_t ndshm_pages_seal(ndshm_pages* pages, ndshm_error* error);
void ndshm_pages_free(ndshm_pages* pages);

#ifdef __cplusplus
}
#endif

#endif
