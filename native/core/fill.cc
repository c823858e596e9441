#include "fill.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "layout.h"

namespace ndshm {

namespace {

constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
// Below this the set-up of the parallel ways costs more than they save; from the second on, a thread pays.
constexpr uint64_t kSmallBytes = kChunkBytes;
constexpr uint64_t kParallelBytes = uint64_t{32} << 20;
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

// Fresh whole pages of one file, filled chunk by chunk by several threads that take the next chunk each.
class Filler {
 public:
  Filler(int fd, uint64_t fileOffset, const Mapping& data, const uint8_t* source) noexcept
      : fd_(fd),
        fileOffset_(fileOffset),
        target_(data.data()),
        source_(source),
        // The last, partial page is left to fillTail(): copying a whole page would read beyond the source.
        byteLength_(data.byteLength() / kPageBytes * kPageBytes) {}

  Result<void> run() noexcept {
    auto registered = registerFaults();
    pthread_t threads[kMaxThreads];
    uint32_t started = 0;
    if (byteLength_ >= kParallelBytes) {
      const uint32_t wanted = availableProcessors() < kMaxThreads ? availableProcessors() : kMaxThreads;
      // This thread is one of them; where another cannot be started, there are fewer.
      while (started + 1 < wanted && pthread_create(&threads[started], nullptr, work, this) == 0) started++;
    }
    work(this);
    for (uint32_t n = 0; n < started; n++) pthread_join(threads[n], nullptr);
    if (registered) unregisterFaults();
    const int errnum = error_.load(std::memory_order_relaxed);
    if (errnum != 0) return systemError("write", errnum);
    return {};
  }

 private:
  static void* work(void* self) noexcept {
    static_cast<Filler*>(self)->fillChunks();
    return nullptr;
  }

  void fillChunks() noexcept {
    for (;;) {
      const uint64_t at = next_.fetch_add(kChunkBytes, std::memory_order_relaxed);
      if (at >= byteLength_ || error_.load(std::memory_order_relaxed) != 0) return;
      const uint64_t count = byteLength_ - at < kChunkBytes ? byteLength_ - at : kChunkBytes;
      const int errnum = faults_.valid() ? resolveChunk(at, count) : populateChunk(at, count);
      if (errnum != 0) error_.store(errnum, std::memory_order_relaxed);
    }
  }

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
    faults_ = std::move(faults);
    if ((range.ioctls & needed) != 0) return true;
    unregisterFaults();
    return false;
  }

  void unregisterFaults() noexcept {
    uffdio_range range{reinterpret_cast<uint64_t>(target_), byteLength_};
    ioctl(faults_.get(), UFFDIO_UNREGISTER, &range);
    faults_.reset();
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
      return whyNoPages(at + done, count - done, failed);
    }
    return 0;
  }

  int populateChunk(uint64_t at, uint64_t count) noexcept {
    if (madvise(target_ + at, count, MADV_POPULATE_WRITE) != 0) {
      // EINVAL: a kernel before 5.14. Reserving comes first all the same, or a full file system would be a SIGBUS.
      auto reserved = allocatePages(fd_, fileOffset_ + at, count);
      if (!reserved) return reserved.error().errnum;
    }
    if (source_ != nullptr) memcpy(target_ + at, source_ + at, count);
    return 0;
  }

  // A full file system is ENOMEM to userfaultfd; posix_fallocate of the same pages tells the truth.
  int whyNoPages(uint64_t at, uint64_t count, int otherwise) noexcept {
    auto reserved = allocatePages(fd_, fileOffset_ + at, count);
    return reserved ? otherwise : reserved.error().errnum;
  }

  const int fd_;
  const uint64_t fileOffset_;
  uint8_t* const target_;
  const uint8_t* const source_;
  const uint64_t byteLength_;
  UniqueFd faults_;
  std::atomic<uint64_t> next_{0};
  std::atomic<int> error_{0};
};

// Through the file, without faults: cheapest for little data, and right for what is less than a page.
Result<void> writeOrAllocate(int fd, uint64_t fileOffset, const uint8_t* source, uint64_t byteLength) noexcept {
  if (byteLength == 0) return {};
  if (source == nullptr) return allocatePages(fd, fileOffset, byteLength);
  return writeAllAt(fd, source, byteLength, fileOffset);
}

}  // namespace

Result<void> fillFresh(int fd, uint64_t offset, const Mapping& data, const uint8_t* source) noexcept {
  const uint64_t byteLength = data.byteLength();
  if (byteLength < kSmallBytes) return writeOrAllocate(fd, offset, source, byteLength);
  auto filled = Filler(fd, offset, data, source).run();
  if (!filled) return filled;
  const uint64_t whole = byteLength / kPageBytes * kPageBytes;
  return writeOrAllocate(fd, offset + whole, source == nullptr ? nullptr : source + whole, byteLength - whole);
}

}  // namespace ndshm
