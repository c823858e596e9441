// The limit in C: how fast can N bytes get into a fresh unlinked tmpfs file so that, at the end,
//   (a) every page is reserved (a full tmpfs has answered with an error code, not with SIGBUS), and
//   (b) the file is mapped MAP_SHARED read-write in this process and holds the data (or zeros)?
//
// build:  cc -O2 -pthread -o /tmp/fill bench/native/fill.c
// run:    /tmp/fill [--json] [--reps=N] [--only=TEXT;TEXT] [--rest=SECONDS] [--dir=/dev/shm] [SIZE ...]
//         SIZE takes K, M, G; the default is 80M 1600M. --only keeps the ways whose name holds a TEXT.
//         --rest waits before each fill, to see what memory costs that has gone back to the host.
//         /tmp/fill --full --dir=/some/tiny/tmpfs 32M     what each way answers when the tmpfs is full
//
// Fresh memory is treacherous on a virtual machine: pages that lay free for seconds may have gone
// back to the host, and their first touch then costs ten times more. So just before each measured
// way a file of the same size is filled and closed, which leaves that much touched memory free; and
// the ways take turns, round after round, so that a slow spell of the machine hits them all alike.
//
// "fill" is the time from open() to a finished mapping. "touch" is what the first visit of every
// page costs afterwards: a way that leaves the page tables empty looks quick but pays there.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)
#define GB ((size_t)1 << 30)
#define WHOLE SIZE_MAX
#define HUGE_PAGE (2 * MB)
#define PAGE ((size_t)4096)

// ---- one fill in progress ---------------------------------------------------------------------

struct way;

struct job {
  const struct way *way;
  const char *dir;   // a directory on tmpfs
  const char *src;   // the data, already in memory
  char *warm;        // a finished mapping of the same size, for the limit
  size_t size;
  int fd;            // the fresh file
  int uffd;
  char *map;         // its mapping
  atomic_size_t next;   // first byte no thread has claimed
  atomic_size_t ready;  // pipelines: the leader is done up to here
  atomic_int error;     // the first error of any thread
};

// Every function that can fail returns 0 or an errno value.
typedef int fill_fn(struct job *);
typedef int step_fn(struct job *, size_t offset, size_t length);

enum kind { LIMIT, DATA, ZERO };

struct way {
  const char *name;
  enum kind kind;
  fill_fn *fill;
  int threads;
  size_t chunk;
  step_fn *step;    // done to every chunk
  step_fn *second;  // what the second thread does instead, if given
  int advice;       // madvise on the whole mapping before the first step
  bool unsafe;      // a full tmpfs is a SIGBUS: measured only for comparison
};

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

static size_t chunk_of(const struct job *job) { return min_size(job->way->chunk, job->size); }

static int advise(void *address, size_t length, int advice) {
  while (madvise(address, length, advice) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

static int open_file(struct job *job) {
  do job->fd = open(job->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  while (job->fd < 0 && errno == EINTR);
  return job->fd < 0 ? errno : 0;
}

static int set_length(struct job *job) {
  while (ftruncate(job->fd, (off_t)job->size) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

static int map_file(struct job *job, int flags) {
  void *at = NULL;
  if (job->way->advice == MADV_HUGEPAGE && job->size >= HUGE_PAGE) {
    // A huge page needs an address aligned like its file offset: reserve more, keep the aligned part.
    size_t reserved = job->size + HUGE_PAGE;
    char *low = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (low == MAP_FAILED) return errno;
    char *aligned = (char *)(((uintptr_t)low + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    size_t kept = (job->size + PAGE - 1) & ~(PAGE - 1);
    if (aligned > low && munmap(low, (size_t)(aligned - low)) != 0) return errno;
    if (munmap(aligned + kept, (size_t)(low + reserved - (aligned + kept))) != 0) return errno;
    at = aligned;
    flags |= MAP_FIXED;
  }
  void *map = mmap(at, job->size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, job->fd, 0);
  if (map == MAP_FAILED) return errno;
  job->map = map;
  return 0;
}

static int open_and_map(struct job *job) {
  int error = open_file(job);
  if (!error) error = set_length(job);
  if (!error) error = map_file(job, 0);
  if (!error && job->way->advice) error = advise(job->map, job->size, job->way->advice);
  return error;
}

static int clean_up(struct job *job) {
  int error = 0;
  if (job->uffd >= 0 && close(job->uffd) != 0) error = errno;
  if (job->map && munmap(job->map, job->size) != 0) error = errno;
  if (job->fd >= 0 && close(job->fd) != 0 && errno != EINTR) error = errno;
  return error;
}

// ---- steps: what can be done to one chunk ------------------------------------------------------

static int warm_copy(struct job *job, size_t offset, size_t length) {
  memcpy(job->warm + offset, job->src + offset, length);
  return 0;
}

static int copy(struct job *job, size_t offset, size_t length) {
  memcpy(job->map + offset, job->src + offset, length);
  return 0;
}

static int reserve(struct job *job, size_t offset, size_t length) {
  int error;
  do error = posix_fallocate(job->fd, (off_t)offset, (off_t)length);
  while (error == EINTR);
  return error;
}

static int write_all(struct job *job, const char *from, size_t offset, size_t length) {
  while (length > 0) {
    ssize_t n = pwrite(job->fd, from, length, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    from += n, offset += (size_t)n, length -= (size_t)n;
  }
  return 0;
}

static int write_chunk(struct job *job, size_t offset, size_t length) {
  return write_all(job, job->src + offset, offset, length);
}

static int write_zeros(struct job *job, size_t offset, size_t length) {
  static const char zeros[256 * KB];  // small enough to stay in the second-level cache
  int error = 0;
  for (size_t done = 0; !error && done < length; done += sizeof zeros)
    error = write_all(job, zeros, offset + done, min_size(sizeof zeros, length - done));
  return error;
}

static int populate_read(struct job *job, size_t offset, size_t length) {
  return advise(job->map + offset, length, MADV_POPULATE_READ);
}

static int populate_write(struct job *job, size_t offset, size_t length) {
  return advise(job->map + offset, length, MADV_POPULATE_WRITE);
}

// The kernel has just zeroed the chunk, so it is in the cache when the copy overwrites it.
static int populate_copy(struct job *job, size_t offset, size_t length) {
  int error = populate_write(job, offset, length);
  return error ? error : copy(job, offset, length);
}

// Makes a huge page even where the mount and sysfs offer none (Linux 6.1+). A collapse needs one page
// to start from. It may well fail (no free huge page, a tail shorter than one): the populate after it
// is what reserves, and costs next to nothing once the huge page is there.
static int collapse(struct job *job, size_t offset, size_t length) {
  if (length == HUGE_PAGE) {
    int error = populate_write(job, offset, PAGE);
    if (error) return error;
    (void)advise(job->map + offset, length, MADV_COLLAPSE);
  }
  return populate_write(job, offset, length);
}

static int collapse_copy(struct job *job, size_t offset, size_t length) {
  int error = collapse(job, offset, length);
  return error ? error : copy(job, offset, length);
}

static int reserve_copy(struct job *job, size_t offset, size_t length) {
  int error = reserve(job, offset, length);
  return error ? error : copy(job, offset, length);
}

// A write takes whole new pages without zeroing them first, but it holds the inode's lock: only one
// thread at a time can. Page faults do not take that lock.
static int write_populate(struct job *job, size_t offset, size_t length) {
  int error = write_chunk(job, offset, length);
  return error ? error : populate_read(job, offset, length);
}

static int zeros_populate(struct job *job, size_t offset, size_t length) {
  int error = write_zeros(job, offset, length);
  return error ? error : populate_read(job, offset, length);
}

// UFFDIO_COPY allocates, copies and maps in one go: no zeroing, no inode lock, no later fault. It
// knows whole pages only, so a last partial page is written instead: the rest of it must be zeros.
static int uffd_copy(struct job *job, size_t offset, size_t length) {
  while (length >= PAGE) {
    struct uffdio_copy c = {.dst = (uintptr_t)(job->map + offset),
                            .src = (uintptr_t)(job->src + offset),
                            .len = length & ~(PAGE - 1),
                            .mode = UFFDIO_COPY_MODE_DONTWAKE};
    int error = ioctl(job->uffd, UFFDIO_COPY, &c) == 0 ? 0 : errno;
    if (error && error != EAGAIN && error != EINTR) return error;
    if (c.copy > 0) offset += (size_t)c.copy, length -= (size_t)c.copy;
  }
  return length ? write_chunk(job, offset, length) : 0;
}

static int uffd_zero(struct job *job, size_t offset, size_t length) {
  size_t left = (length + PAGE - 1) & ~(PAGE - 1);
  while (left > 0) {
    struct uffdio_zeropage z = {.range = {(uintptr_t)(job->map + offset), left},
                                .mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE};
    int error = ioctl(job->uffd, UFFDIO_ZEROPAGE, &z) == 0 ? 0 : errno;
    if (error && error != EAGAIN && error != EINTR) return error;
    if (z.zeropage > 0) offset += (size_t)z.zeropage, left -= (size_t)z.zeropage;
  }
  return 0;
}

// ---- running steps on threads ------------------------------------------------------------------

static void fail(struct job *job, int error) {
  int none = 0;
  if (error) atomic_compare_exchange_strong(&job->error, &none, error);
}

// Chunks are claimed, not dealt out: a thread that the machine slows down takes fewer of them.
static void claim_chunks(struct job *job, step_fn *step) {
  size_t chunk = chunk_of(job);
  while (!atomic_load(&job->error)) {
    size_t offset = atomic_fetch_add(&job->next, chunk);
    if (offset >= job->size) return;
    fail(job, step(job, offset, min_size(chunk, job->size - offset)));
  }
}

static void *second_thread(void *job_) {
  struct job *job = job_;
  claim_chunks(job, job->way->second ? job->way->second : job->way->step);
  return NULL;
}

static int in_chunks(struct job *job) {
  pthread_t other;
  bool two = job->way->threads == 2 && chunk_of(job) < job->size;
  if (two) {
    int error = pthread_create(&other, NULL, second_thread, job);
    if (error) return error;
  }
  claim_chunks(job, job->way->step);
  if (two) pthread_join(other, NULL);
  return atomic_load(&job->error);
}

static void *follower(void *job_) {
  struct job *job = job_;
  size_t chunk = chunk_of(job);
  for (size_t offset = 0; offset < job->size; offset += chunk) {
    while (atomic_load(&job->ready) <= offset) {
      if (atomic_load(&job->error)) return NULL;
      sched_yield();
    }
    fail(job, job->way->second(job, offset, min_size(chunk, job->size - offset)));
  }
  return NULL;
}

// The first thread runs ahead with `step`; the second follows, chunk by chunk, with `second`.
static int pipeline(struct job *job) {
  pthread_t other;
  int error = pthread_create(&other, NULL, follower, job);
  if (error) return error;
  size_t chunk = chunk_of(job);
  for (size_t offset = 0; offset < job->size && !atomic_load(&job->error); offset += chunk) {
    error = job->way->step(job, offset, min_size(chunk, job->size - offset));
    fail(job, error);
    if (!error) atomic_store(&job->ready, offset + chunk);
  }
  pthread_join(other, NULL);
  return atomic_load(&job->error);
}

// ---- whole fills -------------------------------------------------------------------------------

static int fill_warm(struct job *job) { return in_chunks(job); }

static int map_then_chunks(struct job *job) {
  int error = open_and_map(job);
  return error ? error : in_chunks(job);
}

static int reserve_then_chunks(struct job *job) {
  int error = open_file(job);
  if (!error) error = reserve(job, 0, job->size);  // sets the length too
  if (!error) error = map_file(job, 0);
  return error || !job->way->step ? error : in_chunks(job);
}

static int chunks_then_map(struct job *job) {
  int error = open_file(job);
  if (!error) error = in_chunks(job);
  return error ? error : map_file(job, 0);
}

static int chunks_then_map_populate(struct job *job) {
  int error = open_file(job);
  if (!error) error = in_chunks(job);
  return error ? error : map_file(job, MAP_POPULATE);
}

static int chunks_then_populate(struct job *job, int advice) {
  int error = chunks_then_map(job);
  return error ? error : advise(job->map, job->size, advice);
}
static int chunks_then_read(struct job *job) { return chunks_then_populate(job, MADV_POPULATE_READ); }
static int chunks_then_write(struct job *job) { return chunks_then_populate(job, MADV_POPULATE_WRITE); }

static int map_then_pipeline(struct job *job) {
  int error = open_and_map(job);
  return error ? error : pipeline(job);
}

static int uffd_then_chunks(struct job *job) {
  int error = open_and_map(job);
  if (error) return error;
  job->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (job->uffd < 0) return errno;
  size_t length = (job->size + PAGE - 1) & ~(PAGE - 1);  // ranges are whole pages
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register range = {.range = {(uintptr_t)job->map, length},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (ioctl(job->uffd, UFFDIO_API, &api) != 0) return errno;
  if (ioctl(job->uffd, UFFDIO_REGISTER, &range) != 0) return errno;
  error = in_chunks(job);
  if (ioctl(job->uffd, UFFDIO_UNREGISTER, &range.range) != 0 && !error) error = errno;
  return error;
}

// ---- the ways ----------------------------------------------------------------------------------

static const struct way ways[] = {
    // name                                   kind   fill                  threads chunk step
    {"warm memcpy, 1 thread",                 LIMIT, fill_warm,                1, WHOLE,  warm_copy},
    {"warm memcpy, 2 threads",                LIMIT, fill_warm,                2, 1 * MB, warm_copy},

    {"unsafe: ftruncate, memcpy, 1",          DATA,  map_then_chunks,          1, WHOLE,  copy, .unsafe = true},
    {"unsafe: ftruncate, memcpy, 2",          DATA,  map_then_chunks,          2, 1 * MB, copy, .unsafe = true},

    {"fallocate, memcpy, 1",                  DATA,  reserve_then_chunks,      1, WHOLE,  copy},
    {"fallocate, memcpy, 2",                  DATA,  reserve_then_chunks,      2, 1 * MB, copy},
    {"fallocate, populate+memcpy 512K, 2",    DATA,  reserve_then_chunks,      2, 512 * KB, populate_copy},
    {"fallocate+memcpy 1M, 1",                DATA,  map_then_chunks,          1, 1 * MB, reserve_copy},
    {"fallocate+memcpy 1M, 2",                DATA,  map_then_chunks,          2, 1 * MB, reserve_copy},

    {"pwrite 256K, mmap",                     DATA,  chunks_then_map,          1, 256 * KB, write_chunk},
    {"pwrite 1M, mmap",                       DATA,  chunks_then_map,          1, 1 * MB, write_chunk},
    {"pwrite 4M, mmap",                       DATA,  chunks_then_map,          1, 4 * MB, write_chunk},
    {"pwrite whole, mmap",                    DATA,  chunks_then_map,          1, WHOLE,  write_chunk},
    {"pwrite 1M, mmap, 2",                    DATA,  chunks_then_map,          2, 1 * MB, write_chunk},
    {"pwrite 1M, mmap MAP_POPULATE",          DATA,  chunks_then_map_populate, 1, 1 * MB, write_chunk},
    {"pwrite 1M, mmap, POPULATE_READ",        DATA,  chunks_then_read,         1, 1 * MB, write_chunk},
    {"pwrite 1M, mmap, POPULATE_WRITE",       DATA,  chunks_then_write,        1, 1 * MB, write_chunk},
    {"pwrite+POPULATE_READ 1M, 1",            DATA,  map_then_chunks,          1, 1 * MB, write_populate},
    {"pwrite+POPULATE_READ 1M, 2",            DATA,  map_then_chunks,          2, 1 * MB, write_populate},

    {"populate+memcpy 512K, 1",               DATA,  map_then_chunks,          1, 512 * KB, populate_copy},
    {"populate+memcpy 8M, 1",                 DATA,  map_then_chunks,          1, 8 * MB, populate_copy},
    {"populate+memcpy 256K, 2",               DATA,  map_then_chunks,          2, 256 * KB, populate_copy},
    {"populate+memcpy 512K, 2",               DATA,  map_then_chunks,          2, 512 * KB, populate_copy},
    {"populate+memcpy 2M, 2",                 DATA,  map_then_chunks,          2, 2 * MB, populate_copy},
    {"populate+memcpy 8M, 2",                 DATA,  map_then_chunks,          2, 8 * MB, populate_copy},

    {"HUGEPAGE populate+memcpy 2M, 1",        DATA,  map_then_chunks,          1, 2 * MB, populate_copy, .advice = MADV_HUGEPAGE},
    {"HUGEPAGE populate+memcpy 2M, 2",        DATA,  map_then_chunks,          2, 2 * MB, populate_copy, .advice = MADV_HUGEPAGE},
    {"COLLAPSE populate+memcpy 2M, 1",        DATA,  map_then_chunks,          1, 2 * MB, collapse_copy, .advice = MADV_HUGEPAGE},
    {"COLLAPSE populate+memcpy 2M, 2",        DATA,  map_then_chunks,          2, 2 * MB, collapse_copy, .advice = MADV_HUGEPAGE},

    {"uffd copy 1M, 1",                       DATA,  uffd_then_chunks,         1, 1 * MB, uffd_copy},
    {"uffd copy 1M, 2",                       DATA,  uffd_then_chunks,         2, 1 * MB, uffd_copy},
    {"uffd copy 256K, 2",                     DATA,  uffd_then_chunks,         2, 256 * KB, uffd_copy},
    {"uffd copy 4M, 2",                       DATA,  uffd_then_chunks,         2, 4 * MB, uffd_copy},

    {"pwrite 1M | populate+memcpy 1M",        DATA,  map_then_chunks,          2, 1 * MB, write_chunk, populate_copy},
    {"pwrite+POPULATE_READ | populate+memcpy 1M", DATA, map_then_chunks,       2, 1 * MB, write_populate, populate_copy},
    {"pwrite 1M -> POPULATE_READ",            DATA,  map_then_pipeline,        2, 1 * MB, write_chunk, populate_read},
    {"fallocate 1M -> memcpy",                DATA,  map_then_pipeline,        2, 1 * MB, reserve, copy},
    {"fallocate 1M -> pwrite",                DATA,  map_then_pipeline,        2, 1 * MB, reserve, write_chunk},
    {"populate 1M -> memcpy",                 DATA,  map_then_pipeline,        2, 1 * MB, populate_write, copy},

    {"zero: fallocate, mmap",                 ZERO,  reserve_then_chunks,      1, WHOLE},
    {"zero: POPULATE_WRITE whole, 1",         ZERO,  map_then_chunks,          1, WHOLE,  populate_write},
    {"zero: POPULATE_WRITE 1M, 1",            ZERO,  map_then_chunks,          1, 1 * MB, populate_write},
    {"zero: POPULATE_WRITE 1M, 2",            ZERO,  map_then_chunks,          2, 1 * MB, populate_write},
    {"zero: POPULATE_WRITE 8M, 2",            ZERO,  map_then_chunks,          2, 8 * MB, populate_write},
    {"zero: pwrite zeros, mmap",              ZERO,  chunks_then_map,          1, 1 * MB, write_zeros},
    {"zero: pwrite zeros+POPULATE_READ 1M | POPULATE_WRITE", ZERO, map_then_chunks, 2, 1 * MB, zeros_populate, populate_write},
    {"zero: HUGEPAGE POPULATE_WRITE 2M, 1",   ZERO,  map_then_chunks,          1, 2 * MB, populate_write, .advice = MADV_HUGEPAGE},
    {"zero: HUGEPAGE POPULATE_WRITE 2M, 2",   ZERO,  map_then_chunks,          2, 2 * MB, populate_write, .advice = MADV_HUGEPAGE},
    {"zero: uffd zeropage 1M, 1",             ZERO,  uffd_then_chunks,         1, 1 * MB, uffd_zero},
    {"zero: uffd zeropage 1M, 2",             ZERO,  uffd_then_chunks,         2, 1 * MB, uffd_zero},
    {"zero: COLLAPSE 2M, 1",                  ZERO,  map_then_chunks,          1, 2 * MB, collapse, .advice = MADV_HUGEPAGE},
    {"zero: COLLAPSE 2M, 2",                  ZERO,  map_then_chunks,          2, 2 * MB, collapse, .advice = MADV_HUGEPAGE},
};
#define WAYS (sizeof ways / sizeof ways[0])

// ---- measuring ---------------------------------------------------------------------------------

struct result {
  double *fill, *touch;  // one per round, in seconds
  double huge;           // share of the mapping that huge pages map
  int error;             // this way does not work here
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, int error) {
  fprintf(stderr, "fill: %s: %s\n", what, strerror(error));
  exit(1);
}

static struct job new_job(const struct way *way, const char *dir, const char *src, char *warm, size_t size) {
  return (struct job){.way = way, .dir = dir, .src = src, .warm = warm, .size = size, .fd = -1, .uffd = -1};
}

// Leaves `size` bytes of free memory that the host has backed a moment ago. Huge pages come from
// other free blocks than small ones, so the ways that want them need warm huge blocks.
static void warm_up(const struct way *way, const char *dir, const char *src, size_t size) {
  static const struct way small = {"warm-up", DATA, chunks_then_map, 1, WHOLE, write_chunk};
  static const struct way huge = {"warm-up", ZERO, map_then_chunks, 1, HUGE_PAGE, collapse, .advice = MADV_HUGEPAGE};
  struct job job = new_job(way->advice == MADV_HUGEPAGE ? &huge : &small, dir, src, NULL, size);
  int error = job.way->fill(&job);
  int closed = clean_up(&job);
  if (error || closed) die("warm-up", error ? error : closed);
}

// Visits one word of every page, checks it and writes it back.
static bool touch(volatile uint64_t *map, const char *expected, size_t size) {
  bool right = true;
  for (size_t offset = 0; offset + 8 <= size; offset += PAGE) {
    uint64_t want = 0;
    if (expected) memcpy(&want, expected + offset, 8);
    uint64_t have = map[offset / 8];
    right &= have == want;
    map[offset / 8] = have;
  }
  return right;
}

static bool all_right(const char *map, const char *expected, size_t size) {
  if (expected) return memcmp(map, expected, size) == 0;
  return size == 0 || (map[0] == 0 && memcmp(map, map + 1, size - 1) == 0);
}

static double huge_share(const char *map, size_t size) {
  FILE *smaps = fopen("/proc/self/smaps", "re");
  if (!smaps) return 0;
  char line[512], wanted[32];
  snprintf(wanted, sizeof wanted, "%lx-", (unsigned long)(uintptr_t)map);
  bool here = false;
  unsigned long kb = 0;
  while (fgets(line, sizeof line, smaps)) {
    if (strncmp(line, wanted, strlen(wanted)) == 0) here = true;
    else if (here && sscanf(line, "ShmemPmdMapped: %lu kB", &kb) == 1) break;
  }
  fclose(smaps);
  return (double)kb * 1024 / (double)size;
}

static int rest = 0;  // seconds from the warm-up to the fill; a few make the memory cold again

// One measured fill. The first round also checks every byte.
static int measure(const struct way *way, const char *dir, const char *src, char *warm, size_t size,
                   int round, struct result *result) {
  if (way->kind != LIMIT) warm_up(way, dir, src, size);
  if (way->kind != LIMIT && rest > 0) sleep((unsigned)rest);
  struct job job = new_job(way, dir, src, warm, size);

  double start = now();
  int error = way->fill(&job);
  result->fill[round] = now() - start;

  if (!error) {
    char *map = way->kind == LIMIT ? warm : job.map;
    const char *expected = way->kind == ZERO ? NULL : src;
    struct stat stat;
    if (round == 0) result->huge = huge_share(map, size);
    if (way->kind != LIMIT) {
      if (fstat(job.fd, &stat) != 0) die("fstat", errno);
      if ((size_t)stat.st_blocks * 512 < size) die(way->name, ENODATA);  // not all reserved
    }
    start = now();
    bool right = touch((volatile uint64_t *)map, expected, size);
    result->touch[round] = now() - start;
    if (round == 0) right = right && all_right(map, expected, size);
    if (!right) die(way->name, EILSEQ);  // wrong contents
  }
  int closed = clean_up(&job);
  if (closed) die("clean-up", closed);
  return error;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double sort_median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, by_value);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static char *make_source(size_t size) {
  char *src = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (src == MAP_FAILED) die("source", errno);
  uint64_t x = 88172645463325252u;
  for (size_t i = 0; i + 8 <= size; i += 8) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memcpy(src + i, &x, 8);
  }
  return src;
}

// How much two threads really bring here: 2 is two full processors, 1 is none.
struct memcpy_loop { char *from, *to; size_t size; };

static void *memcpy_loop(void *loop_) {
  struct memcpy_loop *loop = loop_;
  for (int i = 0; i < 8; i++) {
    memcpy(loop->to, loop->from, loop->size);
    __asm__ volatile("" ::: "memory");  // every copy counts
  }
  return NULL;
}

static double parallel_factor(void) {
  struct memcpy_loop loops[2];
  double ratios[9];
  for (int i = 0; i < 2; i++)
    loops[i] = (struct memcpy_loop){make_source(64 * MB), make_source(64 * MB), 64 * MB};
  for (int round = 0; round < 9; round++) {
    double start = now();
    memcpy_loop(&loops[0]);
    double one = now() - start;
    pthread_t other;
    start = now();
    int error = pthread_create(&other, NULL, memcpy_loop, &loops[1]);
    if (error) die("pthread_create", error);
    memcpy_loop(&loops[0]);
    pthread_join(other, NULL);
    ratios[round] = 2 * one / (now() - start);
  }
  for (int i = 0; i < 2; i++) munmap(loops[i].from, 64 * MB), munmap(loops[i].to, 64 * MB);
  return sort_median(ratios, 9);
}

static bool chosen(const struct way *way, const char *only) {
  if (way->kind == LIMIT || !only) return true;
  for (const char *part = only;; part++) {
    size_t length = strcspn(part, ";");
    if (memmem(way->name, strlen(way->name), part, length)) return true;
    part += length;
    if (!*part) return false;
  }
}

static void size_name(size_t size, char *name, size_t room) {
  if (size % MB == 0) snprintf(name, room, "%zuM", size / MB);
  else if (size % KB == 0) snprintf(name, room, "%zuK", size / KB);
  else snprintf(name, room, "%zu", size);
}

static int default_rounds(size_t size) {
  return size <= 1 * MB ? 201 : size <= 16 * MB ? 51 : size <= 256 * MB ? 11 : 3;
}

static void bench(const char *dir, size_t size, int rounds, const char *only, FILE *table, FILE *json) {
  char name[32];
  size_name(size, name, sizeof name);
  char *src = make_source(size);
  struct way finished = {.name = "warm mapping"};
  struct job warm = new_job(&finished, dir, src, NULL, size);
  int error = open_file(&warm);
  if (!error) error = write_chunk(&warm, 0, size);
  if (!error) error = map_file(&warm, 0);
  if (error) die("warm mapping", error);
  if (!touch((volatile uint64_t *)warm.map, src, size)) die("warm mapping", EILSEQ);

  struct result results[WAYS] = {0};
  for (size_t i = 0; i < WAYS; i++) {
    results[i].fill = calloc((size_t)rounds, sizeof(double));
    results[i].touch = calloc((size_t)rounds, sizeof(double));
    if (!results[i].fill || !results[i].touch) die("results", ENOMEM);
  }
  for (int round = 0; round < rounds; round++)
    for (size_t i = 0; i < WAYS; i++)
      if (chosen(&ways[i], only) && !results[i].error)
        results[i].error = measure(&ways[i], dir, src, warm.map, size, round, &results[i]);

  fprintf(table, "\n%s, %d rounds; milliseconds; ratio is to warm memcpy on 1 thread\n\n", name, rounds);
  fprintf(table, "%-54s %9s %9s %9s %6s %9s %9s %5s\n", "way", "fill", "min", "max", "ratio", "touch",
          "both", "huge");
  if (json) fprintf(json, "\"%s\": {", name);
  double limit = 0;
  const char *comma = "";
  for (size_t i = 0; i < WAYS; i++) {
    struct result *r = &results[i];
    if (!chosen(&ways[i], only)) continue;
    if (r->error) {
      fprintf(table, "%-54s does not work here: %s\n", ways[i].name, strerror(r->error));
    } else {
      double fill = sort_median(r->fill, rounds), after = sort_median(r->touch, rounds);
      if (i == 0) limit = fill;
      fprintf(table, "%-54s %9.3f %9.3f %9.3f %6.2f %9.3f %9.3f %4.0f%%\n", ways[i].name, fill * 1e3,
              r->fill[0] * 1e3, r->fill[rounds - 1] * 1e3, fill / limit, after * 1e3,
              (fill + after) * 1e3, r->huge * 100);
      if (json)
        fprintf(json, "%s\n  \"%s\": {\"median\": %.9f, \"min\": %.9f, \"max\": %.9f, \"ratio\": %.4f, \"touch\": %.9f}",
                comma, ways[i].name, fill, r->fill[0], r->fill[rounds - 1], fill / limit, after);
      comma = ",";
    }
    free(r->fill), free(r->touch);
  }
  if (json) fprintf(json, "\n}");
  fflush(table);
  error = clean_up(&warm);
  if (error || munmap(src, size) != 0) die("clean-up", error ? error : errno);
}

// ---- a full tmpfs ------------------------------------------------------------------------------

// Each way in a child of its own, since the unsafe ones die.
static void full(const char *dir, size_t size, const char *only) {
  char *src = make_source(size);
  for (size_t i = 0; i < WAYS; i++) {
    if (ways[i].kind == LIMIT || !chosen(&ways[i], only)) continue;
    pid_t child = fork();
    if (child < 0) die("fork", errno);
    if (child == 0) {
      struct job job = new_job(&ways[i], dir, src, NULL, size);
      _exit(ways[i].fill(&job));
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
      if (errno != EINTR) die("waitpid", errno);
    const char *outcome = WIFSIGNALED(status)  ? strsignal(WTERMSIG(status))
                          : WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status))
                                                : "no error: the tmpfs was large enough";
    printf("%-54s %s\n", ways[i].name, outcome);
  }
  munmap(src, size);
}

// ---- command line ------------------------------------------------------------------------------

static size_t parse_size(const char *text) {
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  size_t unit = *end == 'K' || *end == 'k' ? KB : *end == 'M' || *end == 'm' ? MB : *end == 'G' || *end == 'g' ? GB : 1;
  if (unit != 1) end++;
  if (errno || end == text || *end || n == 0 || n > 64 * GB / unit) die(text, EINVAL);
  return (size_t)n * unit;
}

int main(int argc, char **argv) {
  size_t sizes[16] = {80 * MB, 1600 * MB}, count = 0;
  const char *dir = "/dev/shm", *only = NULL;
  bool json = false, when_full = false;
  int reps = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--json") == 0) json = true;
    else if (strcmp(argv[i], "--full") == 0) when_full = true;
    else if (strncmp(argv[i], "--reps=", 7) == 0) reps = atoi(argv[i] + 7);
    else if (strncmp(argv[i], "--rest=", 7) == 0) rest = atoi(argv[i] + 7);
    else if (strncmp(argv[i], "--only=", 7) == 0) only = argv[i] + 7;
    else if (strncmp(argv[i], "--dir=", 6) == 0) dir = argv[i] + 6;
    else if (argv[i][0] == '-' || count == 16) die(argv[i], EINVAL);
    else sizes[count++] = parse_size(argv[i]);
  }
  if (count == 0) count = 2;
  if (when_full) {
    for (size_t i = 0; i < count; i++) full(dir, sizes[i], only);
    return 0;
  }

  // With --json standard output is JSON alone; the tables go to standard error.
  FILE *table = json ? stderr : stdout;
  fprintf(table, "parallel factor of two memcpy loops: %.2f (2 is two full processors)\n", parallel_factor());
  if (json) printf("{");
  for (size_t i = 0; i < count; i++) {
    if (json && i > 0) printf(",\n");
    bench(dir, sizes[i], reps > 0 ? reps : default_rounds(sizes[i]), only, table, json ? stdout : NULL);
  }
  if (json) printf("}\n");
  return 0;
}
