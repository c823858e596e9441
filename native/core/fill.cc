#include "fill.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

#include <atomic>

#include "layout.h"

namespace ndshm {

namespace {

constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
// Below this the set-up of the parallel ways costs more than they save; from the second on, a thread pays.
constexpr uint64_t kSmallBytes = kChunkBytes;
constexpr uint64_t kParallelBytes = uint64_t{32} << 20;
// The same for copies into pages that exist.
constexpr uint64_t kStreamedBytes = uint64_t{2} << 20;
constexpr uint64_t kParallelCopyBytes = uint64_t{4} << 20;
constexpr uint32_t kMaxThreads = 4;

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

uint32_t availableProcessors() noexcept {
  uint64_t mask[16] = {};
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  uint32_t count = 0;
  for (long word = 0; word < bytes / static_cast<long>(sizeof *mask); word++) {
    for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) count++;
  }
  return count > 0 ? count : 1;
}

// Calls work.chunk(at, count) for every chunk of [0, byteLength), from several threads that take the next chunk each,
// until it returns an error number.
template <class Work>
class Chunks {
 public:
  Chunks(Work& work, uint64_t byteLength) noexcept : work_(work), byteLength_(byteLength) {}

  // This thread is one of them; where another cannot be started, there are fewer. Returns 0 or the error number.
  int run(uint32_t threads) noexcept {
    pthread_t helpers[kMaxThreads];
    uint32_t started = 0;
    while (started + 1 < threads && pthread_create(&helpers[started], nullptr, help, this) == 0) started++;
    takeChunks();
    for (uint32_t n = 0; n < started; n++) pthread_join(helpers[n], nullptr);
    return error_.load(std::memory_order_relaxed);
  }

 private:
  static void* help(void* self) noexcept {
    static_cast<Chunks*>(self)->takeChunks();
    return nullptr;
  }

  void takeChunks() noexcept {
    for (;;) {
      const uint64_t at = next_.fetch_add(kChunkBytes, std::memory_order_relaxed);
      if (at >= byteLength_ || error_.load(std::memory_order_relaxed) != 0) return;
      const int errnum = work_.chunk(at, byteLength_ - at < kChunkBytes ? byteLength_ - at : kChunkBytes);
      if (errnum != 0) error_.store(errnum, std::memory_order_relaxed);
    }
  }

  Work& work_;
  const uint64_t byteLength_;
  std::atomic<uint64_t> next_{0};
  std::atomic<int> error_{0};
};

uint32_t threadsFor(uint64_t byteLength, uint64_t parallelBytes) noexcept {
  if (byteLength < parallelBytes) return 1;
  const uint32_t processors = availableProcessors();
  return processors < kMaxThreads ? processors : kMaxThreads;
}

// Fresh whole pages of one file.
class Filler {
 public:
  Filler(const FreshPages& pages, const uint8_t* source, const std::atomic<uint32_t>& stop) noexcept
      : fd_(pages.fd),
        fileOffset_(pages.fileOffset),
        target_(pages.target),
        source_(source),
        // The last, partial page is left to writeOrAllocate(): copying a whole page would read beyond the source.
        byteLength_(pages.byteLength / kPageBytes * kPageBytes),
        stop_(stop) {}

  Result<void> run(uint32_t threads) noexcept {
    const bool registered = registerFaults();
    const int errnum = Chunks(*this, byteLength_).run(threads);
    if (registered) unregisterFaults();
    if (errnum != 0) return systemError("write", errnum);
    return {};
  }

  int chunk(uint64_t at, uint64_t count) noexcept {
    if (stop_.load(std::memory_order_relaxed) != 0) return ECANCELED;
    return faults_.valid() ? resolveChunk(at, count) : populateChunk(at, count);
  }

 private:
  // userfaultfd(2) puts filled pages straight into the file and the page table: no zeroing first, no fault after.
  // Not everywhere to be had (Docker's default seccomp profile refuses it).
  bool registerFaults() noexcept {
    const auto fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
    if (fd < 0) return false;
    UniqueFd faults(fd);
    uffdio_api api{};
    api.api = UFFD_API;
    if (ioctl(fd, UFFDIO_API, &api) != 0) return false;
    uffdio_register range{};
    range.range.start = reinterpret_cast<uint64_t>(target_);
    range.range.len = byteLength_;
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (ioctl(fd, UFFDIO_REGISTER, &range) != 0) return false;
    const uint64_t needed = uint64_t{1} << (source_ != nullptr ? _UFFDIO_COPY : _UFFDIO_ZEROPAGE);
    if ((range.ioctls & needed) == 0) return false;  // closing it unregisters
    faults_ = std::move(faults);
    return true;
  }

  void unregisterFaults() noexcept {
    uffdio_range range{reinterpret_cast<uint64_t>(target_), byteLength_};
    ioctl(faults_.get(), UFFDIO_UNREGISTER, &range);
  }

  int resolveChunk(uint64_t at, uint64_t count) noexcept {
    for (uint64_t done = 0; done < count;) {
      const auto into = reinterpret_cast<uint64_t>(target_ + at + done);
      int64_t resolved = 0;
      int failed = 0;
      if (source_ != nullptr) {
        uffdio_copy copy{};
        copy.dst = into;
        copy.src = reinterpret_cast<uint64_t>(source_ + at + done);
        copy.len = count - done;
        copy.mode = UFFDIO_COPY_MODE_DONTWAKE;
        failed = ioctl(faults_.get(), UFFDIO_COPY, &copy) != 0 ? errno : 0;
        resolved = copy.copy;
      } else {
        uffdio_zeropage zeros{};
        zeros.range.start = into;
        zeros.range.len = count - done;
        zeros.mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE;
        failed = ioctl(faults_.get(), UFFDIO_ZEROPAGE, &zeros) != 0 ? errno : 0;
        resolved = zeros.zeropage;
      }
      if (resolved > 0) done += static_cast<uint64_t>(resolved);
      if (failed == 0 || failed == EAGAIN || failed == EINTR) continue;
      // ENOMEM: the file system is full, or was just now. EEXIST: this page is there already. EFAULT: that of the source
      // is not, and may be lost (FaultGuard). ENOENT: it was another chunk that came here first. From now on a fault of
      // this range must be an ordinary one, since nobody reads `faults_`.
      unregisterFaults();
      return populateChunk(at + done, count - done);
    }
    return 0;
  }

  int populateChunk(uint64_t at, uint64_t count) noexcept {
    if (madvise(target_ + at, count, MADV_POPULATE_WRITE) != 0) {
      // EINVAL: a kernel before 5.14. Reserving comes first all the same, or a full file system would be a SIGBUS; and it
      // alone says ENOSPC.
      auto reserved = allocatePages(fd_, fileOffset_ + at, count);
      if (!reserved) return reserved.error().errnum;
    }
    if (source_ != nullptr) memcpy(target_ + at, source_ + at, count);
    return 0;
  }

  const int fd_;
  const uint64_t fileOffset_;
  uint8_t* const target_;
  const uint8_t* const source_;
  const uint64_t byteLength_;
  const std::atomic<uint32_t>& stop_;
  UniqueFd faults_;
};

#ifdef __x86_64__
// One cache line past the caches, which spares reading the old one first. `target` is a multiple of 64.
void streamLine(uint8_t* target, const uint8_t* source) noexcept {
  const auto* from = reinterpret_cast<const __m128i*>(source);
  auto* to = reinterpret_cast<__m128i*>(target);
  const __m128i a = _mm_loadu_si128(from);
  const __m128i b = _mm_loadu_si128(from + 1);
  const __m128i c = _mm_loadu_si128(from + 2);
  const __m128i d = _mm_loadu_si128(from + 3);
  _mm_stream_si128(to, a);
  _mm_stream_si128(to + 1, b);
  _mm_stream_si128(to + 2, c);
  _mm_stream_si128(to + 3, d);
}

// Four pages by turns keep more of the memory busy. glibc's memcpy does the same, but only from a size on that it
// takes from the cache's (100 MB on the machine of docs/performance.md), and musl's never does.
void streamBytes(uint8_t* target, const uint8_t* source, uint64_t byteLength) noexcept {
  constexpr uint64_t lineBytes = 64;
  constexpr uint64_t pages = 4;
  const uint64_t toLine = (lineBytes - reinterpret_cast<uintptr_t>(target) % lineBytes) % lineBytes;
  const uint64_t lead = toLine < byteLength ? toLine : byteLength;
  memcpy(target, source, lead);
  uint64_t done = lead;
  for (; done + pages * kPageBytes <= byteLength; done += pages * kPageBytes) {
    for (uint64_t line = done; line < done + kPageBytes; line += lineBytes) {
      for (uint64_t page = 0; page < pages; page++) {
        streamLine(target + line + page * kPageBytes, source + line + page * kPageBytes);
      }
    }
  }
  memcpy(target + done, source + done, byteLength - done);
  _mm_sfence();
}
#else
void streamBytes(uint8_t* target, const uint8_t* source, uint64_t byteLength) noexcept {
  memcpy(target, source, byteLength);
}
#endif

struct Copier {
  uint8_t* target;
  const uint8_t* source;

  int chunk(uint64_t at, uint64_t count) noexcept {
    streamBytes(target + at, source + at, count);
    return 0;
  }
};

const std::atomic<uint32_t> neverStopped{0};

// Through the file, without faults: cheapest for little data, and right for what is less than a page.
Result<void> writeOrAllocate(int fd, uint64_t fileOffset, const uint8_t* source, uint64_t byteLength) noexcept {
  if (byteLength == 0) return {};
  if (source == nullptr) return allocatePages(fd, fileOffset, byteLength);
  return writeAllAt(fd, source, byteLength, fileOffset);
}

}  // namespace

Result<void> fillFresh(const FreshPages& pages, const uint8_t* source) noexcept {
  const auto& [fd, fileOffset, target, byteLength] = pages;
  if (byteLength < kSmallBytes) return writeOrAllocate(fd, fileOffset, source, byteLength);
  auto filled = Filler(pages, source, neverStopped).run(threadsFor(byteLength, kParallelBytes));
  if (!filled) return filled;
  const uint64_t whole = byteLength / kPageBytes * kPageBytes;
  return writeOrAllocate(fd, fileOffset + whole, source == nullptr ? nullptr : source + whole, byteLength - whole);
}

Result<void> fillFreshUntil(const FreshPages& pages, const std::atomic<uint32_t>& stop) noexcept {
  return Filler(pages, nullptr, stop).run(1);
}

void copyBytes(uint8_t* target, const uint8_t* source, uint64_t byteLength) noexcept {
  if (byteLength < kStreamedBytes) {
    memcpy(target, source, byteLength);
    return;
  }
  Copier copier{target, source};
  static_cast<void>(Chunks(copier, byteLength).run(threadsFor(byteLength, kParallelCopyBytes)));
}

}  // namespace ndshm
