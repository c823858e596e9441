// A segment: one open file, the mapping of its elements, and the peer that this attachment is.
//
// Life of a new one: allocate() makes it complete but nameless; publish() links it under its name. Life of an
// existing one: open() looks at the file, the caller reads and judges the header, attach() maps it and joins the peers.
// Either ends with close(). Not for use by two threads at a time.
#pragma once

#include <atomic>
#include <cstdint>

#include "fault_guard.h"
#include "layout.h"
#include "peers.h"
#include "posix.h"
#include "shm_name.h"

namespace ndshm {

struct NewSegment {
  const uint8_t* header;    // kHeaderBytes bytes of .npy header; null = a plain file: nothing but the data, no peers
  uint64_t dataBytes;
  uint32_t flags;           // ControlFlags
  const uint8_t* source;    // dataBytes bytes to start with, or null for zeros
  bool anonymous;           // on a memfd: it can never be published
  bool sparse;              // the elements are neither reserved nor mapped
  const uint8_t* memberOf;  // 16 bytes: the segmentId of the segment that this one belongs to; null = to none
};

struct Attachment {
  Mode mode;
  uint64_t dataOffset;
  uint64_t dataBytes;
  bool foreign;  // not of our making: no control block is looked for
  bool guard;    // map mode kReadOnly PROT_READ, to find stray stores
};

class Segment {
 public:
  // `forkable`: for a process that forks without exec. Mappings are inherited then, and with a mapping the open file
  // description that it was made from; so they are made from one that holds no locks.
  explicit Segment(bool forkable = false) noexcept : forkable_(forkable) {}
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  // Unmaps and leaves, but takes no name away: whoever lets a segment be collected has not said that it is over.
  ~Segment() = default;

  // Shared by the binding's handle and by the buffer over the mapped pages; the last to let go deletes.
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;

  Result<void> allocate(const NewSegment& spec) noexcept;
  // The only name it will ever have; `replace` swaps it with what is there. The segment stays usable on failure.
  Result<void> publish(const char* name, bool replace) noexcept;

  // For reading and writing, or, unless `needWrite`, for reading alone where permissions allow no more.
  Result<void> open(const char* name, bool needWrite) noexcept;
  Result<void> openDescriptor(int fd, bool needWrite) noexcept;
  Result<void> attach(const Attachment& how) noexcept;

  // Takes the name away, if it still means this segment; else kReplaced.
  Result<void> unlink() noexcept;

  // In a forked process: becomes a peer of its own, which the parent's was until now. The mappings stay. On failure it
  // is no peer, and has no descriptor.
  Result<void> rejoin() noexcept;

  // A descriptor of its own for a child process to inherit.
  Result<UniqueFd> share() noexcept;
  // The descriptor of an opened segment that is not going to be attached; the segment is closed by it.
  UniqueFd takeDescriptor() noexcept { return std::move(fd_); }

  const FileFacts& facts() const noexcept { return facts_; }
  Result<size_t> read(void* into, size_t byteLength, uint64_t offset) const noexcept;
  // Verifies the control block of an opened segment; false = it has none.
  Result<bool> readControl(uint64_t dataOffset, uint64_t dataBytes, ControlRecord& record) const noexcept;

  uint8_t* data() const noexcept { return data_.data(); }
  uint64_t dataBytes() const noexcept { return data_.byteLength(); }
  int descriptor() const noexcept { return fd_.get(); }
  // The peer that this attachment is; kReadOnlyPeer where permissions allow no more.
  uint32_t slot() const noexcept { return slot_; }
  bool ephemeral() const noexcept { return ephemeral_; }
  bool faulted() const noexcept { return dataGuard_.faulted() || controlGuard_.faulted(); }

  // Maps the control block, read-only for a read-only peer. Not done when attaching, since most attachments take no
  // lock. False = the file has none. It stays mapped until each user has let go, or until unmapControl().
  Result<bool> mapControl(uint32_t users) noexcept;
  ControlBlock& control() const noexcept { return *reinterpret_cast<ControlBlock*>(control_.data()); }
  void letGoOfControl() noexcept;
  void unmapControl() noexcept;

  // Leaves the peers and closes the file; the last peer of an ephemeral segment takes its name away. The elements
  // stay mapped until unmapData(), since a buffer may still look at them. Both may be called again.
  void close() noexcept;
  void unmapData() noexcept;

 private:
  static constexpr uint32_t kNoPeer = UINT32_MAX;

  Result<void> opened(Result<UniqueFd> fd, bool writable) noexcept;
  Result<void> allocateControl(const NewSegment& spec, int fd, uint64_t controlAt) noexcept;
  Result<Mapping> mapFile(int fd, uint64_t offset, uint64_t byteLength, int protection, int flags) const noexcept;
  Result<void> mapData(const Attachment& how) noexcept;
  Result<void> join(const Attachment& how) noexcept;

  const bool forkable_;
  std::atomic<uint32_t> references_{1};
  Mode mode_ = Mode::kReadWrite;
  bool writable_ = false;
  bool anonymous_ = false;
  bool ephemeral_ = false;
  bool sparse_ = false;
  bool reapable_ = false;  // ephemeral, or a member of another segment
  uint32_t slot_ = kNoPeer;
  uint64_t controlAt_ = 0;
  ShmPath path_;
  FileFacts facts_;
  // Destroyed from below: the guard before the mapping that it knows, the mapping before the descriptor.
  UniqueFd fd_;
  Mapping data_;
  FaultGuard dataGuard_;
  Mapping control_;
  FaultGuard controlGuard_;
  uint32_t controlUsers_ = 0;
};

}  // namespace ndshm
