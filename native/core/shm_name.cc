#include "shm_name.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layout.h"

namespace ndshm {

namespace {

constexpr int kPatience = 2000;  // times pauseBriefly(): 0.1 s, where the other side needs some microseconds

// Keeps reapers away from a name while it is moved or removed: between a reaper's look at the name and its unlink,
// the name must not come to mean another file. A reaper holds the whole lock range of the old file exclusively, we
// hold one byte of it shared; the kernel drops either when its holder dies.
class NameHold {
 public:
  // False = nothing has this name.
  Result<bool> take(const ShmPath& path) noexcept {
    for (int attempt = 0; attempt < kPatience; attempt++) {
      auto opened = openFile(path.text(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if (!opened && opened.error().errnum == ENOENT) return false;
      if (!opened && opened.error().errnum == EMFILE) return opened.error();
      if (!opened) return true;  // not ours to open: then no reaper of ours opens it either
      auto locked = tryLock(opened->get(), Lock::kShared, kNameLock, 1);
      if (!locked) return locked.error();
      if (*locked) {
        auto held = factsOf(opened->get());
        auto named = factsAt(path.text());
        if (!held) return held.error();
        if (!named || !named->sameFile(*held)) continue;  // moved while we locked: hold the present one
        fd_ = std::move(*opened);
        return true;
      }
      pauseBriefly();
    }
    return failure(Status::kBusyName);
  }

 private:
  UniqueFd fd_;
};

Result<void> renameOver(const ShmPath& from, const ShmPath& to) noexcept {
  constexpr unsigned noReplace = 1;  // RENAME_NOREPLACE
  for (int attempt = 0; attempt < kPatience; attempt++) {
    NameHold hold;
    auto taken = hold.take(to);
    if (!taken) return taken.error();
    // A free name has to be free still: who got it meanwhile must be held before losing it.
    const unsigned flags = *taken ? 0 : noReplace;
    if (syscall(SYS_renameat2, AT_FDCWD, from.text(), AT_FDCWD, to.text(), flags) == 0) return {};
    if (errno != EEXIST) return systemError("rename");
  }
  return failure(Status::kBusyName);
}

// False = the file has no control block that we know.
Result<bool> readRecord(int fd, const FileFacts& facts, ControlRecord& record) noexcept {
  if (!facts.regular || facts.size < kControlBytes) return false;
  auto count = readAt(fd, &record, sizeof record, facts.size - kControlBytes);
  if (!count) return count.error();
  const ControlHeader& header = record.header;
  return *count == sizeof record && memcmp(header.magic, kMagic, sizeof kMagic) == 0 &&
         header.layoutVersion == kLayoutVersion && header.controlBytes == kControlBytes;
}

Result<bool> isOrphan(const ControlRecord& member, const ShmPath& path) noexcept {
  auto parent = path.parent();
  if (!parent) return false;  // renamed by hand: nobody can tell what it belonged to
  auto opened = openFile(parent->text(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!opened && opened.error().errnum == ENOENT) return true;
  if (!opened) return opened.error();  // not ours to look at
  auto facts = factsOf(opened->get());
  if (!facts) return facts.error();
  ControlRecord record;
  auto found = readRecord(opened->get(), *facts, record);
  if (!found) return found.error();
  return !*found || memcmp(record.header.segmentId, member.memberOf, sizeof member.memberOf) != 0;
}

Result<bool> isReapable(int fd, const FileFacts& facts, const ShmPath& path) noexcept {
  if (!facts.regular || facts.owner != geteuid()) return false;
  if (path.isTemporary()) return true;
  ControlRecord record;
  auto found = readRecord(fd, facts, record);
  if (!found || !*found) return found;
  if ((record.header.flags & kEphemeral) != 0) return true;
  if (!record.isMember()) return false;
  return isOrphan(record, path);
}

}  // namespace

Result<ShmPath> ShmPath::of(const char* name) noexcept {
  const size_t length = strlen(name);
  if (length == 0 || length > kMaxNameBytes) return systemError("open", ENAMETOOLONG);
  if (strchr(name, '/') != nullptr) return systemError("open", EINVAL);
  ShmPath path;
  memcpy(path.text_, kDirectory, sizeof kDirectory - 1);
  memcpy(path.text_ + sizeof kDirectory - 1, name, length + 1);
  return path;
}

Result<ShmPath> ShmPath::temporary() noexcept {
  uint8_t random[12];
  auto drawn = randomBytes(random, sizeof random);
  if (!drawn) return drawn.error();
  char name[sizeof kTemporaryPrefix + 2 * sizeof random];
  memcpy(name, kTemporaryPrefix, sizeof kTemporaryPrefix);
  char* at = name + sizeof kTemporaryPrefix - 1;
  for (const uint8_t byte : random) {
    *at++ = "0123456789abcdef"[byte >> 4];
    *at++ = "0123456789abcdef"[byte & 15];
  }
  *at = 0;
  return of(name);
}

Result<ShmPath> ShmPath::parent() const noexcept {
  constexpr size_t start = sizeof kDirectory - 1;
  ShmPath path = *this;
  for (int component = 0; component < 2; component++) {
    char* dot = strrchr(path.text_ + start, '.');
    if (dot == nullptr) return systemError("open", EINVAL);
    *dot = 0;
  }
  return of(path.text_ + start);
}

bool ShmPath::isTemporary() const noexcept {
  return strncmp(text_ + sizeof kDirectory - 1, kTemporaryPrefix, sizeof kTemporaryPrefix - 1) == 0;
}

Result<void> linkNameless(int fd, const ShmPath& path) noexcept { return linkDescriptor(fd, path.text()); }

Result<void> linkReplacing(int fd, const ShmPath& path) noexcept {
  auto linked = linkNameless(fd, path);
  if (linked || linked.error().errnum != EEXIST) return linked;
  auto temporary = ShmPath::temporary();
  if (!temporary) return temporary.error();
  linked = linkNameless(fd, *temporary);
  if (!linked) return linked;
  // Die here, and a complete segment is left under a temporary name, with its creator's lock gone: reapable.
  auto renamed = renameOver(*temporary, path);
  if (!renamed) unlink(temporary->text());
  return renamed;
}

Result<void> unlinkName(const ShmPath& path, const FileFacts* only) noexcept {
  NameHold hold;
  auto held = hold.take(path);
  if (!held) return held.error();
  if (only != nullptr) {
    auto named = factsAt(path.text());
    if (!named) return named.error();
    if (!named->sameFile(*only)) return failure(Status::kReplaced);
  }
  if (unlink(path.text()) != 0) return systemError("unlink");
  return {};
}

Result<bool> unlinkIfAbandoned(int fd, const ShmPath& path) noexcept {
  auto alone = tryLock(fd, Lock::kExclusive, kSlotLock, kLockBytes);
  if (!alone || !*alone) return alone;
  // Nobody lives here. An opener that comes now finds its slot's byte locked until we close `fd`, and then a file
  // without a name: it opens again.
  auto held = factsOf(fd);
  auto named = factsAt(path.text());
  bool removed = false;
  if (held && named && named->sameFile(*held)) removed = unlink(path.text()) == 0;
  auto unlocked = tryLock(fd, Lock::kNone, kSlotLock, kLockBytes);
  if (!unlocked) return unlocked;
  return removed;
}

Result<bool> isLeftover(const ShmPath& path) noexcept {
  // For writing, as reap() does: what it may not open so it does not remove.
  auto opened = openFile(path.text(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (!opened) return false;
  auto facts = factsOf(opened->get());
  if (!facts) return facts.error();
  auto reapable = isReapable(opened->get(), *facts, path);
  if (!reapable) return reapable;
  if (!*reapable) {
    // A member goes with its parent.
    ControlRecord record;
    auto found = readRecord(opened->get(), *facts, record);
    if (!found || !*found || !record.isMember()) return false;
    auto parent = path.parent();
    if (!parent) return false;
    auto orphanedSoon = isLeftover(*parent);
    if (!orphanedSoon || !*orphanedSoon) return orphanedSoon;
  }
  auto peer = findLock(opened->get(), kSlotLock, kLockBytes);
  if (!peer) return peer.error();
  return !peer->found;
}

Result<bool> reap(const ShmPath& path) noexcept {
  auto opened = openFile(path.text(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (!opened) return false;
  auto facts = factsOf(opened->get());
  if (!facts) return facts.error();
  auto reapable = isReapable(opened->get(), *facts, path);
  if (!reapable || !*reapable) return reapable;
  return unlinkIfAbandoned(opened->get(), path);
}

}  // namespace ndshm
