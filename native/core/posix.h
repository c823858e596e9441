// System calls with their interruptions handled, and the owners of what they return.
//
// The shipped binary runs on glibc 2.28 and on musl, so what either of them lacks goes through syscall(2).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "result.h"

namespace ndshm {

class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { reset(); }

  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }
  int release() noexcept;
  void reset() noexcept;

 private:
  int fd_ = -1;
};

struct FileFacts {
  uint64_t size = 0;
  uint64_t allocatedBytes = 0;
  uint64_t links = 0;
  uint64_t inode = 0;
  uint64_t device = 0;
  uint64_t modifiedAtNs = 0;
  uint32_t owner = 0;
  uint32_t permissions = 0;
  bool regular = false;

  bool sameFile(const FileFacts& other) const noexcept {
    return inode == other.inode && device == other.device;
  }
};

// The machine's, at least kPageBytes: arm64 kernels may have 64 KiB.
uint64_t pageSize() noexcept;

// A byte range mapped from a file. `view` is what was asked for; the pages around it are ours to unmap.
class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { reset(); }

  static Result<Mapping> map(int fd, uint64_t offset, uint64_t byteLength, int protection, int flags) noexcept;

  uint8_t* data() const noexcept { return base_ == nullptr ? nullptr : base_ + lead_; }
  uint64_t byteLength() const noexcept { return byteLength_; }
  uint8_t* base() const noexcept { return base_; }
  uint64_t mappedBytes() const noexcept { return lead_ + byteLength_; }
  bool valid() const noexcept { return base_ != nullptr; }
  void reset() noexcept;

 private:
  uint8_t* base_ = nullptr;
  uint64_t lead_ = 0;  // bytes between the page boundary and the first byte asked for
  uint64_t byteLength_ = 0;
};

Result<UniqueFd> openFile(const char* path, int flags, unsigned permissions = 0) noexcept;
Result<UniqueFd> memoryFile(const char* label) noexcept;
// A new open file description of the same file: OFD locks belong to descriptions, so a shared one would share them.
Result<UniqueFd> reopen(int fd, int flags) noexcept;
// linkat(2) of a nameless file (O_TMPFILE): it has that name from now on, or EEXIST.
Result<void> linkDescriptor(int fd, const char* path) noexcept;
Result<FileFacts> factsOf(int fd) noexcept;
Result<FileFacts> factsAt(const char* path) noexcept;
Result<size_t> readAt(int fd, void* into, size_t byteLength, uint64_t offset) noexcept;
Result<void> writeAllAt(int fd, const void* from, size_t byteLength, uint64_t offset) noexcept;
// ENOSPC if the file system of `fd` has no room for so many bytes. To be asked before they are reserved: until it fails,
// reserving takes all the memory there is from everybody else.
Result<void> checkRoom(int fd, uint64_t byteLength) noexcept;
Result<void> allocatePages(int fd, uint64_t offset, uint64_t byteLength) noexcept;
// The opposite: they read as zeros from then on, for whoever has them mapped, and take no memory.
Result<void> punchPages(int fd, uint64_t offset, uint64_t byteLength) noexcept;
Result<void> randomBytes(void* into, size_t byteLength) noexcept;
uint64_t realTimeNs() noexcept;
void pauseBriefly() noexcept;  // about 50 µs

// OFD locks. `try` is immediate: false = somebody else holds a conflicting one.
enum class Lock : short { kShared, kExclusive, kNone };
Result<bool> tryLock(int fd, Lock lock, int64_t offset, int64_t byteLength) noexcept;
// The first byte in [offset, offset + byteLength) that another description has locked, and for how many bytes.
struct LockedRange {
  bool found = false;
  int64_t offset = 0;
  int64_t byteLength = 0;
  bool exclusive = false;
};
Result<LockedRange> findLock(int fd, int64_t offset, int64_t byteLength) noexcept;

}  // namespace ndshm
