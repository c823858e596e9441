// A reservoir: a segment made sparse, whose pages are filled, mapped, leased and given back range by range. Offsets are
// counted from its first element; offsets and lengths are multiples of kPageBytes unless said otherwise, and lie within
// the segment: TypeScript has checked them.
//
// Life: the binding's handle has it open until close(). The descriptor, to whose description the leases belong, and the
// writer's mapping stay until the last leased range is unmapped and the last prefault() has returned. All of it belongs
// to one thread, but prefault() and stopPrefaults().
#pragma once

#include <atomic>
#include <cstdint>

#include "fault_guard.h"
#include "layout.h"
#include "posix.h"
#include "sorted.h"

namespace ndshm {

class Reservoir;

// A mapping of some of the pages.
struct MappedRange {
  MappedRange(Reservoir& owner, Mapping&& pages) noexcept
      : reservoir(owner), mapping(std::move(pages)), guard(mapping) {}

  Reservoir& reservoir;
  // Destroyed from below: the guard before the mapping that it knows.
  Mapping mapping;
  FaultGuard guard;
  bool leased = false;
  uint64_t firstPage = 0;
};

// Pages with an open file description of their own, which their lease belongs to: it is everybody's who has the mapping, a
// forked child too, and ends with the last of them.
struct OwnPages {
  // Once, of writable ones: what is stored from now on reaches nobody. At the same addresses; the lease stays.
  Result<void> seal() noexcept;

  uint64_t fileOffset = 0;
  UniqueFd fd;  // of writable ones, until they are sealed
  // Destroyed from below: the guard before the mapping that it knows.
  Mapping mapping;
  FaultGuard guard;
};

class Reservoir {
 public:
  Reservoir(UniqueFd fd, uint64_t dataOffset, uint64_t dataBytes) noexcept
      : dataOffset_(dataOffset), dataBytes_(dataBytes), fd_(std::move(fd)) {}
  Reservoir(const Reservoir&) = delete;
  Reservoir& operator=(const Reservoir&) = delete;

  // Shared by the binding's handle, by the buffers over mapped ranges and by running prefaults.
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;

  // Into pages that are holes. Blocks. If it fails (ENOSPC) they are holes again.
  Result<void> fill(uint64_t offset, uint64_t byteLength, const uint8_t* source, uint64_t sourceBytes) noexcept;
  // Into pages that exist; any offset and length. Blocks.
  Result<void> write(uint64_t offset, const uint8_t* source, uint64_t byteLength) noexcept;
  Result<void> punch(uint64_t offset, uint64_t byteLength) noexcept;

  // fill() with zeros for another thread, between beginPrefault() and endPrefault() on this one, when the range is leased:
  // whoever gives it to others meanwhile finds that out. ECANCELED soon after stopPrefaults() or close().
  Result<void> beginPrefault(uint64_t offset, uint64_t byteLength) noexcept;
  Result<void> prefault(uint64_t offset, uint64_t byteLength) noexcept;
  void endPrefault(uint64_t offset) noexcept;
  void stopPrefaults() noexcept { stopped_.store(1, std::memory_order_relaxed); }

  // `shared`: writable for everybody; else private, as a mode 'r' array is mapped. `leased`: isLeased() for everybody,
  // until it is unmapped. Ranges that one reservoir has leased are the same or do not overlap.
  Result<MappedRange*> map(uint64_t offset, uint64_t byteLength, bool shared, bool leased) noexcept;
  // map() for a process that forks without exec: what is leased so is nobody's to end but by unmapping it. `writable`: for
  // everybody; else read-only.
  Result<OwnPages> mapOwn(uint64_t offset, uint64_t byteLength, bool writable, bool leased) const noexcept;
  // The range that is mapped at this address; null if none is.
  MappedRange* mappedAt(const void* address) const noexcept;
  // Ends the lease. The range itself is deleted by its owner; may be called again.
  void unmap(MappedRange& range) noexcept;
  Result<bool> isLeased(uint64_t offset, uint64_t byteLength) const noexcept;

  // Whether pages were lost because somebody truncated the file.
  bool faulted() const noexcept;
  void close() noexcept;

 private:
  struct Lease {
    uint64_t pages;
    uint32_t ranges;  // mapped over it
  };

  ~Reservoir() = default;
  // The writer's mapping. Pages written through it stay in its page table, so that using them again costs a copy alone.
  Result<uint8_t*> writable() noexcept;
  Result<bool> checkFile(uint64_t end) noexcept;
  Result<void> fillWith(uint64_t offset, uint64_t byteLength, const uint8_t* source, uint64_t sourceBytes) noexcept;
  Result<void> lease(uint64_t firstPage, uint64_t pages) noexcept;
  void endLease(uint64_t firstPage) noexcept;
  void letGo() noexcept;

  std::atomic<uint32_t> references_{1};
  std::atomic<uint32_t> stopped_{0};
  std::atomic<bool> lostPages_{false};
  const uint64_t dataOffset_;
  const uint64_t dataBytes_;
  bool open_ = true;
  uint64_t users_ = 1;  // of the descriptor: whoever has it open, leased ranges, prefaults
  Sorted<Lease> leases_;
  Sorted<MappedRange*> ranges_;
  // Destroyed from below: the guard before the mapping that it knows.
  UniqueFd fd_;
  Mapping writer_;
  FaultGuard writerGuard_;
};

}  // namespace ndshm
