#include "segment.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fill.h"

namespace ndshm {

void Segment::release() noexcept {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

Result<void> Segment::allocate(const NewSegment& spec) noexcept {
  auto created = spec.anonymous ? memoryFile("ndshm") : openFile(kDirectory, O_TMPFILE | O_RDWR | O_NOFOLLOW, 0600);
  if (!created) return created.error();
  const bool plain = spec.header == nullptr;
  const uint64_t dataAt = plain ? 0 : kHeaderBytes;
  const uint64_t controlAt = controlOffset(dataAt, spec.dataBytes);
  const uint64_t fileBytes = plain ? spec.dataBytes : controlAt + kControlBytes;
  auto room = checkRoom(created->get(), spec.sparse ? kHeaderBytes + kControlBytes : fileBytes);
  if (!room) return room;
  if (ftruncate(created->get(), static_cast<off_t>(fileBytes)) != 0) return systemError("ftruncate");

  // Nothing from here on is visible to anybody: whatever fails or dies, the kernel frees the file.
  if (!plain) {
    auto reserved = allocatePages(created->get(), controlAt, kControlBytes);
    if (!reserved) return reserved;
    auto written = writeAllAt(created->get(), spec.header, kHeaderBytes, 0);
    if (!written) return written;
  }
  Mapping data;
  if (spec.dataBytes > 0 && !spec.sparse) {
    auto mapped = mapFile(created->get(), dataAt, spec.dataBytes, PROT_READ | PROT_WRITE, MAP_SHARED);
    if (!mapped) return mapped.error();
    auto filled = fillFresh({created->get(), dataAt, mapped->data(), spec.dataBytes}, spec.source);
    if (!filled) return filled;
    data = std::move(*mapped);
  }
  if (!plain) {
    auto made = allocateControl(spec, created->get(), controlAt);
    if (!made) return made;
  }
  auto facts = factsOf(created->get());
  if (!facts) return facts.error();

  facts_ = *facts;
  writable_ = true;
  anonymous_ = spec.anonymous;
  ephemeral_ = (spec.flags & kEphemeral) != 0;
  data_ = std::move(data);
  if (data_.valid()) dataGuard_ = FaultGuard(data_);
  fd_ = std::move(*created);
  return {};
}

Result<void> Segment::allocateControl(const NewSegment& spec, int fd, uint64_t controlAt) noexcept {
  ControlRecord record{};
  ControlHeader& header = record.header;
  auto drawn = randomBytes(header.segmentId, sizeof header.segmentId);
  if (!drawn) return drawn;
  memcpy(header.magic, kMagic, sizeof kMagic);
  header.layoutVersion = kLayoutVersion;
  header.controlBytes = kControlBytes;
  header.dataOffset = kHeaderBytes;
  header.dataBytes = spec.dataBytes;
  header.flags = spec.flags | (spec.sparse ? kSparse : 0U);
  header.peerSlots = kPeerSlots;
  header.createdAtNs = realTimeNs();
  if (spec.memberOf != nullptr) memcpy(record.memberOf, spec.memberOf, sizeof record.memberOf);
  auto written = writeAllAt(fd, &record, sizeof record, controlAt);
  if (!written) return written;
  auto claimed = claimSlot(fd, controlAt, Mode::kReadWrite, 0);
  if (!claimed) return claimed.error();
  slot_ = *claimed;
  controlAt_ = controlAt;
  return {};
}

Result<void> Segment::publish(const char* name, bool replace) noexcept {
  if (!fd_.valid() || anonymous_ || !path_.empty()) return failure(Status::kClosed);
  auto path = ShmPath::of(name);
  if (!path) return path.error();
  auto linked = replace ? linkReplacing(fd_.get(), *path) : linkNameless(fd_.get(), *path);
  if (!linked) return linked;
  path_ = *path;
  return {};
}

Result<void> Segment::opened(Result<UniqueFd> fd, bool writable) noexcept {
  if (!fd) return fd.error();
  auto facts = factsOf(fd->get());
  if (!facts) return facts.error();
  // A FIFO, a device or a directory would block, act or make no sense when mapped.
  if (!facts->regular) return systemError("mmap", ENODEV);
  facts_ = *facts;
  fd_ = std::move(*fd);
  writable_ = writable;
  return {};
}

Result<void> Segment::open(const char* name, bool needWrite) noexcept {
  auto path = ShmPath::of(name);
  if (!path) return path.error();
  // No following of symbolic links, which another user could point anywhere; no waiting for a FIFO's other end.
  constexpr int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  bool writable = true;
  auto fd = openFile(path->text(), O_RDWR | flags);
  if (!fd && !needWrite && (fd.error().errnum == EACCES || fd.error().errnum == EROFS || fd.error().errnum == EPERM)) {
    writable = false;
    fd = openFile(path->text(), O_RDONLY | flags);
  }
  auto done = opened(std::move(fd), writable);
  if (done) path_ = *path;
  return done;
}

Result<void> Segment::openDescriptor(int fd, bool needWrite) noexcept {
  anonymous_ = true;
  bool writable = true;
  // The number comes from the environment: it may mean a FIFO or a terminal by now.
  constexpr int flags = O_NONBLOCK | O_NOCTTY;
  auto own = reopen(fd, O_RDWR | flags);
  if (!own && !needWrite) {
    writable = false;
    own = reopen(fd, O_RDONLY | flags);
  }
  return opened(std::move(own), writable);
}

Result<size_t> Segment::read(void* into, size_t byteLength, uint64_t offset) const noexcept {
  if (!fd_.valid()) return failure(Status::kClosed);
  return readAt(fd_.get(), into, byteLength, offset);
}

Result<bool> Segment::readControl(uint64_t dataOffset, uint64_t dataBytes, ControlRecord& record) const noexcept {
  const uint64_t at = controlOffset(dataOffset, dataBytes);
  if (facts_.size < at + sizeof record) return false;
  auto count = read(&record, sizeof record, at);
  if (!count) return count.error();
  const ControlHeader& header = record.header;
  if (*count < sizeof record || memcmp(header.magic, kMagic, sizeof kMagic) != 0) return false;
  if (header.layoutVersion != kLayoutVersion) {
    return failure(Status::kControlVersion, header.layoutVersion, kLayoutVersion);
  }
  if (header.controlBytes != kControlBytes) return failure(Status::kControlCorrupt, header.controlBytes, kControlBytes);
  if (header.peerSlots != kPeerSlots) return failure(Status::kControlCorrupt, header.peerSlots, kPeerSlots);
  if (header.dataOffset != dataOffset) return failure(Status::kControlCorrupt, header.dataOffset, dataOffset);
  if (header.dataBytes != dataBytes) return failure(Status::kControlCorrupt, header.dataBytes, dataBytes);
  if (facts_.size != at + kControlBytes) return failure(Status::kControlCorrupt, facts_.size, at + kControlBytes);
  return true;
}

Result<void> Segment::attach(const Attachment& how) noexcept {
  if (!fd_.valid()) return failure(Status::kClosed);
  bool hasControl = false;
  if (!how.foreign) {
    ControlRecord record;
    auto found = readControl(how.dataOffset, how.dataBytes, record);
    if (!found) return found.error();
    hasControl = *found;
    ephemeral_ = hasControl && (record.header.flags & kEphemeral) != 0;
    reapable_ = hasControl && (ephemeral_ || record.isMember());
    sparse_ = hasControl && (record.header.flags & kSparse) != 0;
  }
  if (hasControl) {
    // Before the elements are mapped: once we are a peer, nobody reaps the file under us.
    auto joined = join(how);
    if (!joined) return joined;
  }
  auto mapped = mapData(how);
  if (!mapped) return mapped;
  if (!hasControl) fd_.reset();  // nothing to hold on to: no locks live here
  return {};
}

Result<void> Segment::join(const Attachment& how) noexcept {
  const uint64_t controlAt = controlOffset(how.dataOffset, how.dataBytes);
  auto peer = writable_ ? claimSlot(fd_.get(), controlAt, how.mode, likelyFreeSlot()) : joinReadOnly(fd_.get());
  if (!peer) return peer.error();
  slot_ = *peer;
  controlAt_ = controlAt;
  mode_ = how.mode;
  if (anonymous_ || !reapable_) return {};
  auto now = factsOf(fd_.get());
  if (!now) return now.error();
  if (now->links == 0) return failure(Status::kReplaced);
  return {};
}

Result<void> Segment::mapData(const Attachment& how) noexcept {
  if (how.dataBytes == 0) return {};
  int protection = PROT_READ | PROT_WRITE;
  int flags = 0;
  switch (how.mode) {
    case Mode::kReadOnly:
      // Private, so that a stray store reaches nobody; live all the same: until such a store the pages are the
      // file's own. NORESERVE, since those copies are not expected to happen.
      flags = how.guard ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;
      if (how.guard) protection = PROT_READ;
      break;
    case Mode::kReadWrite:
      flags = MAP_SHARED;
      // A sparse file (Python's SharedMemory) would fail by SIGBUS when the file system is full: reserve it now. Not one
      // of ours, whose holes are not to be filled by whoever looks at it.
      if (!sparse_ && facts_.allocatedBytes < facts_.size) {
        auto room = checkRoom(fd_.get(), how.dataBytes > facts_.allocatedBytes ? how.dataBytes - facts_.allocatedBytes : 0);
        if (!room) return room;
        auto reserved = allocatePages(fd_.get(), how.dataOffset, how.dataBytes);
        if (!reserved) return reserved;
      }
      break;
    case Mode::kCopyOnWrite:
      flags = MAP_PRIVATE;
      break;
  }
  auto mapped = mapFile(fd_.get(), how.dataOffset, how.dataBytes, protection, flags);
  if (!mapped) return mapped.error();
  data_ = std::move(*mapped);
  dataGuard_ = FaultGuard(data_);
  return {};
}

Result<Mapping> Segment::mapFile(int fd, uint64_t offset, uint64_t byteLength, int protection,
                                 int flags) const noexcept {
  if (!forkable_) return Mapping::map(fd, offset, byteLength, protection, flags);
  const bool needsWrite = (flags & MAP_SHARED) != 0 && (protection & PROT_WRITE) != 0;
  auto own = reopen(fd, needsWrite ? O_RDWR : O_RDONLY);
  if (!own) return own.error();
  return Mapping::map(own->get(), offset, byteLength, protection, flags);
}

// The parent's descriptor goes last: as long as anybody has it, the parent's peer lives, and nobody reaps the file.
Result<void> Segment::rejoin() noexcept {
  if (!fd_.valid()) return failure(Status::kClosed);
  slot_ = kNoPeer;
  UniqueFd parents = std::move(fd_);
  auto own = reopen(parents.get(), writable_ ? O_RDWR : O_RDONLY);
  if (!own) return own.error();
  auto peer = writable_ ? claimSlot(own->get(), controlAt_, mode_, likelyFreeSlot()) : joinReadOnly(own->get());
  if (!peer) return peer.error();
  slot_ = *peer;
  fd_ = std::move(*own);
  return {};
}

Result<void> Segment::unlink() noexcept {
  if (path_.empty()) return failure(Status::kClosed);
  return unlinkName(path_, &facts_);
}

Result<UniqueFd> Segment::share() noexcept {
  if (!fd_.valid()) return failure(Status::kClosed);
  return reopen(fd_.get(), writable_ ? O_RDWR : O_RDONLY);
}

void Segment::close() noexcept {
  if (!fd_.valid()) return;
  if (ephemeral_ && writable_ && !path_.empty() && slot_ != kNoPeer) {
    auto left = tryLock(fd_.get(), Lock::kNone, kSlotLock, kLockBytes);
    // Where this fails the next reaper does it.
    if (left) static_cast<void>(unlinkIfAbandoned(fd_.get(), path_));
  }
  slot_ = kNoPeer;
  fd_.reset();
}

Result<bool> Segment::mapControl(uint32_t users) noexcept {
  if (!fd_.valid() || slot_ == kNoPeer) return false;
  const int protection = slot_ == kReadOnlyPeer ? PROT_READ : PROT_READ | PROT_WRITE;
  auto mapped = mapFile(fd_.get(), controlAt_, kControlBytes, protection, MAP_SHARED);
  if (!mapped) return mapped.error();
  control_ = std::move(*mapped);
  controlGuard_ = FaultGuard(control_);
  controlUsers_ = users;
  return true;
}

void Segment::letGoOfControl() noexcept {
  if (controlUsers_ > 0 && --controlUsers_ == 0) unmapControl();
}

void Segment::unmapControl() noexcept {
  controlGuard_.reset();
  control_.reset();
}

void Segment::unmapData() noexcept {
  dataGuard_.reset();
  data_.reset();
}

}  // namespace ndshm
