#include "posix.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"

namespace ndshm {

namespace {

template <class Call>
auto uninterrupted(Call call) noexcept {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

FileFacts factsFrom(const struct stat& status) noexcept {
  FileFacts facts;
  facts.size = static_cast<uint64_t>(status.st_size);
  facts.allocatedBytes = static_cast<uint64_t>(status.st_blocks) * 512;
  facts.links = status.st_nlink;
  facts.inode = status.st_ino;
  facts.device = status.st_dev;
  facts.modifiedAtNs =
      static_cast<uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(status.st_mtim.tv_nsec);
  facts.owner = status.st_uid;
  facts.permissions = status.st_mode & 07777U;
  facts.regular = S_ISREG(status.st_mode);
  return facts;
}

// "/proc/self/fd/<fd>", without printf: this binary carries no C library of its own.
struct DescriptorPath {
  explicit DescriptorPath(int fd) noexcept {
    constexpr char prefix[] = "/proc/self/fd/";
    size_t at = 0;
    for (; prefix[at] != 0; at++) text[at] = prefix[at];
    char digits[12];
    size_t count = 0;
    auto rest = static_cast<unsigned>(fd);
    do {
      digits[count++] = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest != 0);
    while (count > 0) text[at++] = digits[--count];
    text[at] = 0;
  }
  char text[32];
};

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int UniqueFd::release() noexcept {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

void UniqueFd::reset() noexcept {
  // close(2) is not repeated after EINTR: on Linux the descriptor is gone already.
  if (fd_ >= 0) ::close(release());
}

Mapping::Mapping(Mapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), lead_(other.lead_), byteLength_(std::exchange(other.byteLength_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    base_ = std::exchange(other.base_, nullptr);
    lead_ = other.lead_;
    byteLength_ = std::exchange(other.byteLength_, 0);
  }
  return *this;
}

Result<Mapping> Mapping::map(int fd, uint64_t offset, uint64_t byteLength, int protection, int flags) noexcept {
  Mapping mapping;
  mapping.lead_ = offset % pageSize();
  mapping.byteLength_ = byteLength;
  void* address = mmap(nullptr, mapping.mappedBytes(), protection, flags, fd, static_cast<off_t>(offset - mapping.lead_));
  if (address == MAP_FAILED) {
    mapping.byteLength_ = 0;
    return systemError("mmap");
  }
  mapping.base_ = static_cast<uint8_t*>(address);
  return mapping;
}

uint64_t pageSize() noexcept {
  static const auto size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void Mapping::reset() noexcept {
  if (base_ != nullptr) munmap(std::exchange(base_, nullptr), mappedBytes());
  byteLength_ = 0;
}

Result<UniqueFd> openFile(const char* path, int flags, unsigned permissions) noexcept {
  const int fd = uninterrupted([&] { return ::open(path, flags | O_CLOEXEC, permissions); });
  if (fd < 0) return systemError("open");
  return UniqueFd(fd);
}

Result<UniqueFd> memoryFile(const char* label) noexcept {
  constexpr unsigned closeOnExec = 1;  // MFD_CLOEXEC
  const auto fd = static_cast<int>(syscall(SYS_memfd_create, label, closeOnExec));
  if (fd < 0) return systemError("memfd_create");
  return UniqueFd(fd);
}

Result<UniqueFd> reopen(int fd, int flags) noexcept { return openFile(DescriptorPath(fd).text, flags); }

Result<void> linkDescriptor(int fd, const char* path) noexcept {
  if (linkat(AT_FDCWD, DescriptorPath(fd).text, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0) return systemError("linkat");
  return {};
}

Result<FileFacts> factsOf(int fd) noexcept {
  struct stat status;
  if (syscall(SYS_fstat, fd, &status) != 0) return systemError("fstat");
  return factsFrom(status);
}

Result<FileFacts> factsAt(const char* path) noexcept {
  struct stat status;
  if (syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) != 0) return systemError("stat");
  return factsFrom(status);
}

Result<size_t> readAt(int fd, void* into, size_t byteLength, uint64_t offset) noexcept {
  size_t done = 0;
  while (done < byteLength) {
    const ssize_t count = uninterrupted([&] {
      return pread(fd, static_cast<uint8_t*>(into) + done, byteLength - done, static_cast<off_t>(offset + done));
    });
    if (count < 0) return systemError("read");
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

Result<void> writeAllAt(int fd, const void* from, size_t byteLength, uint64_t offset) noexcept {
  size_t done = 0;
  while (done < byteLength) {
    const ssize_t count = uninterrupted([&] {
      return pwrite(fd, static_cast<const uint8_t*>(from) + done, byteLength - done, static_cast<off_t>(offset + done));
    });
    if (count < 0) return systemError("write");
    done += static_cast<size_t>(count);
  }
  return {};
}

Result<void> checkRoom(int fd, uint64_t byteLength) noexcept {
  struct statfs space {};
  if (uninterrupted([&] { return fstatfs(fd, &space); }) != 0) return systemError("fstatfs");
  if (space.f_blocks > 0) {
    const uint64_t room = static_cast<uint64_t>(space.f_bavail) * static_cast<uint64_t>(space.f_bsize);
    if (room < byteLength) return systemError("posix_fallocate", ENOSPC);
    return {};
  }
  // A file system without a limit of its own, such as a memfd's: the machine is the limit.
  struct sysinfo machine {};
  if (sysinfo(&machine) != 0) return systemError("sysinfo");
  const uint64_t memory = (uint64_t{machine.totalram} + machine.totalswap) * machine.mem_unit;
  if (memory < byteLength) return systemError("posix_fallocate", ENOMEM);
  return {};
}

Result<void> allocatePages(int fd, uint64_t offset, uint64_t byteLength) noexcept {
  // Piece by piece: older kernels let any signal interrupt a call, and give back all that it has reserved. Under a
  // profiler's timer one large call would start over for ever.
  constexpr uint64_t pieceBytes = uint64_t{1} << 20;
  for (uint64_t done = 0; done < byteLength;) {
    const uint64_t count = byteLength - done < pieceBytes ? byteLength - done : pieceBytes;
    const int errnum = posix_fallocate(fd, static_cast<off_t>(offset + done), static_cast<off_t>(count));
    if (errnum == EINTR) continue;
    if (errnum != 0) return systemError("posix_fallocate", errnum);
    done += count;
  }
  return {};
}

Result<void> punchPages(int fd, uint64_t offset, uint64_t byteLength) noexcept {
  constexpr int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (uninterrupted([&] { return fallocate(fd, punch, static_cast<off_t>(offset), static_cast<off_t>(byteLength)); }) != 0) {
    return systemError("fallocate");
  }
  return {};
}

Result<void> randomBytes(void* into, size_t byteLength) noexcept {
  const auto count = uninterrupted([&] { return syscall(SYS_getrandom, into, byteLength, 0); });
  if (count != static_cast<long>(byteLength)) return systemError("getrandom");
  return {};
}

uint64_t realTimeNs() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

void pauseBriefly() noexcept {
  const timespec pause{0, 50'000};
  nanosleep(&pause, nullptr);
}

Result<bool> tryLock(int fd, Lock lock, int64_t offset, int64_t byteLength) noexcept {
  struct flock range {};
  range.l_type = lock == Lock::kExclusive ? F_WRLCK : lock == Lock::kShared ? F_RDLCK : F_UNLCK;
  range.l_whence = SEEK_SET;
  range.l_start = offset;
  range.l_len = byteLength;
  if (uninterrupted([&] { return fcntl(fd, F_OFD_SETLK, &range); }) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return systemError("fcntl");
}

namespace {

// Some lock in the range: the kernel keeps them in the order of their owners, not of their offsets.
Result<LockedRange> findAnyLock(int fd, int64_t offset, int64_t byteLength) noexcept {
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = offset;
  range.l_len = byteLength;
  if (fcntl(fd, F_OFD_GETLK, &range) != 0) return systemError("fcntl");
  LockedRange found;
  if (range.l_type == F_UNLCK) return found;
  found.found = true;
  found.offset = range.l_start < offset ? offset : range.l_start;
  const int64_t end = range.l_len == 0 ? offset + byteLength : range.l_start + range.l_len;
  found.byteLength = (end > offset + byteLength ? offset + byteLength : end) - found.offset;
  found.exclusive = range.l_type == F_WRLCK;
  return found;
}

}  // namespace

Result<LockedRange> findLock(int fd, int64_t offset, int64_t byteLength) noexcept {
  LockedRange first;
  for (int64_t end = offset + byteLength; end > offset; end = first.offset) {
    auto found = findAnyLock(fd, offset, end - offset);
    if (!found) return found.error();
    if (!found->found) break;
    first = *found;
  }
  return first;
}

}  // namespace ndshm
