// Names of segments: where they live, and how one is given, moved and taken away.
#pragma once

#include <cstddef>
#include <cstdint>

#include "posix.h"

namespace ndshm {

inline constexpr char kDirectory[] = "/dev/shm/";
// A replacement is complete under such a name for the instant before it is renamed over the old one. User names
// never start with a dot, so a crash in that instant leaves something that a reaper recognises.
inline constexpr char kTemporaryPrefix[] = ".ndshm-";
inline constexpr size_t kMaxNameBytes = 255;

class ShmPath {
 public:
  ShmPath() noexcept { text_[0] = 0; }
  // The caller has checked the name; this only refuses what would not fit or would leave the directory.
  static Result<ShmPath> of(const char* name) noexcept;
  static Result<ShmPath> temporary() noexcept;

  const char* text() const noexcept { return text_; }
  bool empty() const noexcept { return text_[0] == 0; }
  bool isTemporary() const noexcept;
  // Of the segment that a member of this name belongs to; EINVAL if it cannot be a member's.
  Result<ShmPath> parent() const noexcept;

 private:
  char text_[sizeof(kDirectory) + kMaxNameBytes + 1];
};

// Gives the nameless file a name in one step; EEXIST if it is taken.
Result<void> linkNameless(int fd, const ShmPath& path) noexcept;
// Gives the nameless file a name that may be taken, in which case the old file loses it in the same step.
Result<void> linkReplacing(int fd, const ShmPath& path) noexcept;
// With `only`: kReplaced, and nothing removed, if the name means another file.
Result<void> unlinkName(const ShmPath& path, const FileFacts* only = nullptr) noexcept;
// Removes the name if no peer of that file lives and the name still means it. `fd` must be open for writing and hold
// no slot of its own. True = removed.
Result<bool> unlinkIfAbandoned(int fd, const ShmPath& path) noexcept;
// Removes what a crash has left under this name: a temporary name, or a segment without peers that is ephemeral or an
// orphan. False = the name is in use, not ours to judge, or gone already.
//
// An orphan is a member whose parent's name is gone or means another segment. The parent's name is the member's without
// its last two components, each with its dot. A segmentId is never given twice, so who is an orphan once remains one.
Result<bool> reap(const ShmPath& path) noexcept;
// Whether reap() would remove it, once it has been through all names in their order. Locks nothing.
Result<bool> isLeftover(const ShmPath& path) noexcept;

}  // namespace ndshm
