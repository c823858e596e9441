#include "reservoir.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <new>

#include "fill.h"

namespace ndshm {

namespace {

constexpr int64_t leaseByte(uint64_t page) noexcept { return kLeaseLock + static_cast<int64_t>(page); }

}  // namespace

void Reservoir::release() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void Reservoir::letGo() noexcept {
  if (--users_ > 0) return;
  if (writerGuard_.faulted()) lostPages_.store(true, std::memory_order_relaxed);
  writerGuard_.reset();
  writer_.reset();
  fd_.reset();
}

void Reservoir::close() noexcept {
  if (!std::exchange(open_, false)) return;
  stopPrefaults();
  letGo();
}

Result<uint8_t*> Reservoir::writable() noexcept {
  if (!open_) return failure(Status::kClosed);
  if (!writer_.valid()) {
    auto mapped = Mapping::map(fd_.get(), dataOffset_, dataBytes_, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!mapped) return mapped.error();
    writer_ = std::move(*mapped);
    writerGuard_ = FaultGuard(writer_);
  }
  return writer_.data();
}

// False = the file is shorter by now. To reserve pages behind its end would make it longer, and hide what was lost.
Result<bool> Reservoir::checkFile(uint64_t end) noexcept {
  auto facts = factsOf(fd_.get());
  if (!facts) return facts.error();
  if (facts->size >= dataOffset_ + end) return true;
  lostPages_.store(true, std::memory_order_release);
  FaultGuard::faultCount().fetch_add(1, std::memory_order_release);  // for TypeScript to notice
  return false;
}

Result<void> Reservoir::fill(uint64_t offset, uint64_t byteLength, const uint8_t* source, uint64_t sourceBytes) noexcept {
  auto writer = writable();
  if (!writer) return writer.error();
  auto whole = checkFile(offset + byteLength);
  if (!whole) return whole.error();
  if (!*whole) return {};  // faulted() tells
  auto room = checkRoom(fd_.get(), byteLength);
  if (!room) return room;
  auto filled = fillWith(offset, byteLength, source, sourceBytes);
  if (!filled) static_cast<void>(punch(offset, byteLength));
  return filled;
}

Result<void> Reservoir::fillWith(uint64_t offset, uint64_t byteLength, const uint8_t* source,
                                 uint64_t sourceBytes) noexcept {
  if (source == nullptr) sourceBytes = 0;
  auto filled = fillFresh({fd_.get(), dataOffset_ + offset, writer_.data() + offset, sourceBytes}, source);
  if (!filled) return filled;
  const uint64_t done = (sourceBytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  return fillFresh({fd_.get(), dataOffset_ + offset + done, writer_.data() + offset + done, byteLength - done}, nullptr);
}

Result<void> Reservoir::write(uint64_t offset, const uint8_t* source, uint64_t byteLength) noexcept {
  auto writer = writable();
  if (!writer) return writer.error();
  copyBytes(*writer + offset, source, byteLength);
  return {};
}

Result<void> Reservoir::punch(uint64_t offset, uint64_t byteLength) noexcept {
  if (!open_) return failure(Status::kClosed);
  return punchPages(fd_.get(), dataOffset_ + offset, byteLength);
}

Result<void> Reservoir::beginPrefault(uint64_t offset, uint64_t byteLength) noexcept {
  auto writer = writable();
  if (!writer) return writer.error();
  return lease(offset / kPageBytes, byteLength / kPageBytes);
}

void Reservoir::endPrefault(uint64_t offset) noexcept { endLease(offset / kPageBytes); }

Result<void> Reservoir::prefault(uint64_t offset, uint64_t byteLength) noexcept {
  auto whole = checkFile(offset + byteLength);
  if (!whole) return whole.error();
  if (!*whole) return {};
  auto room = checkRoom(fd_.get(), byteLength);
  if (!room) return room;
  auto filled =
      fillFreshUntil({fd_.get(), dataOffset_ + offset, writer_.data() + offset, byteLength}, stopped_);
  if (!filled) static_cast<void>(punchPages(fd_.get(), dataOffset_ + offset, byteLength));
  return filled;
}

Result<MappedRange*> Reservoir::map(uint64_t offset, uint64_t byteLength, bool shared, bool leased) noexcept {
  if (!open_) return failure(Status::kClosed);
  const uint64_t firstPage = offset / kPageBytes;
  if (leased) {
    auto taken = lease(firstPage, byteLength / kPageBytes);
    if (!taken) return taken.error();
  }
  auto mapped = Mapping::map(fd_.get(), dataOffset_ + offset, byteLength, PROT_READ | PROT_WRITE,
                             shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE);
  auto* range = mapped ? new (std::nothrow) MappedRange(*this, std::move(*mapped)) : nullptr;
  if (range == nullptr || !ranges_.insert(reinterpret_cast<uint64_t>(range->mapping.data()), range)) {
    delete range;
    if (leased) endLease(firstPage);
    return mapped ? systemError("malloc", ENOMEM) : mapped.error();
  }
  range->leased = leased;
  range->firstPage = firstPage;
  return range;
}

Result<void> OwnPages::seal() noexcept {
  if (!fd.valid()) return failure(Status::kClosed);
  const uint64_t lead = mapping.mappedBytes() - mapping.byteLength();
  void* sealed = mmap(mapping.base(), mapping.mappedBytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd.get(), static_cast<off_t>(fileOffset - lead));
  if (sealed == MAP_FAILED) return systemError("mmap");
  fd.reset();
  return {};
}

Result<OwnPages> Reservoir::mapOwn(uint64_t offset, uint64_t byteLength, bool writable, bool leased) const noexcept {
  if (!open_) return failure(Status::kClosed);
  auto own = reopen(fd_.get(), writable ? O_RDWR : O_RDONLY);
  if (!own) return own.error();
  if (leased) {
    const uint64_t pages = (byteLength + kPageBytes - 1) / kPageBytes;
    auto locked = tryLock(own->get(), Lock::kShared, leaseByte(offset / kPageBytes), static_cast<int64_t>(pages));
    if (!locked) return locked.error();
    if (!*locked) return failure(Status::kBusyName);  // nobody ever locks them exclusively
  }
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  auto mapped = Mapping::map(own->get(), dataOffset_ + offset, byteLength, protection, MAP_SHARED);
  if (!mapped) return mapped.error();
  OwnPages pages;
  pages.fileOffset = dataOffset_ + offset;
  if (writable) pages.fd = std::move(*own);
  pages.mapping = std::move(*mapped);
  pages.guard = FaultGuard(pages.mapping);
  return pages;
}

MappedRange* Reservoir::mappedAt(const void* address) const noexcept {
  MappedRange** range = ranges_.find(reinterpret_cast<uint64_t>(address));
  return range == nullptr ? nullptr : *range;
}

void Reservoir::unmap(MappedRange& range) noexcept {
  if (!range.mapping.valid()) return;
  if (range.guard.faulted()) lostPages_.store(true, std::memory_order_relaxed);
  ranges_.remove(reinterpret_cast<uint64_t>(range.mapping.data()));
  range.guard.reset();
  range.mapping.reset();
  // Last: whoever sees no lease may give the pages to somebody else.
  if (range.leased) endLease(range.firstPage);
}

Result<void> Reservoir::lease(uint64_t firstPage, uint64_t pages) noexcept {
  Lease* held = leases_.find(firstPage);
  if (held == nullptr) {
    if (!leases_.insert(firstPage, {pages, 0})) return systemError("malloc", ENOMEM);
    auto locked = tryLock(fd_.get(), Lock::kShared, leaseByte(firstPage), static_cast<int64_t>(pages));
    // Only somebody who does not keep to the format locks a page exclusively.
    if (locked && !*locked) locked = systemError("fcntl", EAGAIN);
    if (!locked) {
      leases_.remove(firstPage);
      return locked.error();
    }
    held = leases_.find(firstPage);
  }
  held->ranges++;
  users_++;
  return {};
}

void Reservoir::endLease(uint64_t firstPage) noexcept {
  Lease* held = leases_.find(firstPage);
  if (--held->ranges == 0) {
    const auto pages = static_cast<int64_t>(held->pages);
    leases_.remove(firstPage);
    static_cast<void>(tryLock(fd_.get(), Lock::kNone, leaseByte(firstPage), pages));
  }
  letGo();
}

Result<bool> Reservoir::isLeased(uint64_t offset, uint64_t byteLength) const noexcept {
  if (!open_) return failure(Status::kClosed);
  const uint64_t firstPage = offset / kPageBytes;
  const uint64_t endPage = firstPage + byteLength / kPageBytes;
  // The kernel does not tell a description of its own locks.
  const size_t next = leases_.firstFrom(firstPage);
  if (next < leases_.size() && leases_[next].key < endPage) return true;
  if (next > 0 && leases_[next - 1].key + leases_[next - 1].value.pages > firstPage) return true;
  auto found = findLock(fd_.get(), leaseByte(firstPage), static_cast<int64_t>(endPage - firstPage));
  if (!found) return found.error();
  return found->found;
}

bool Reservoir::faulted() const noexcept {
  if (lostPages_.load(std::memory_order_relaxed) || writerGuard_.faulted()) return true;
  for (size_t index = 0; index < ranges_.size(); index++) {
    if (ranges_[index].value->guard.faulted()) return true;
  }
  return false;
}

}  // namespace ndshm
