#include "parent_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "futex.h"
#include "posix.h"
#include "shm_name.h"

namespace ndshm {

namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // glibc takes the thread-local variables of all libraries from it
constexpr char kSpillNote[] = ".spill.0";
constexpr int kStatus = 128 + SIGKILL;  // as shells say it

struct Watch {
  UniqueFd socket;
  ShmPath store;
  bool hasStore;
  uint64_t graceNs;
  std::atomic<uint32_t> begun{0};  // futex
};

bool isToGo(const char* name, const char* store) noexcept {
  const size_t length = strlen(store);
  if (strncmp(name, store, length) != 0) return false;
  const char* label = name + length;
  return *label == 0 || (*label == '.' && strcmp(label, kSpillNote) != 0);
}

void removeNames(const ShmPath& store) noexcept {
  DIR* directory = opendir(kDirectory);
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) {
    // Not found: somebody else who has lost this parent was faster.
    if (isToGo(entry->d_name, store.text() + sizeof kDirectory - 1)) unlinkat(dirfd(directory), entry->d_name, 0);
  }
  closedir(directory);
}

void* awaitEnd(void* argument) noexcept {
  Watch& watch = *static_cast<Watch*>(argument);
  // So that a stopped process goes on and sees its parent's end. The kernel forgets this wish with the thread that had
  // it, so it is this thread's. Where a sandbox forbids it, whoever continues the process will do that.
  prctl(PR_SET_PDEATHSIG, SIGCONT);
  watch.begun.store(1);
  futexWake(watch.begun, 1, kAnyClass);
  // Any answer is the end, also that the descriptor is no more: who cannot tell whether its parent lives, must not
  // go on.
  pollfd end{watch.socket.get(), POLLRDHUP, 0};
  while (poll(&end, 1, -1) != 1) pauseBriefly();
  if (watch.hasStore) removeNames(watch.store);
  const uint64_t endNs = monotonicNs() + watch.graceNs;
  while (watch.graceNs != 0 && monotonicNs() < endNs) pauseBriefly();
  // Not kill(): the first process of a pid namespace is immune to its own SIGKILL.
  syscall(SYS_exit_group, kStatus);
  return nullptr;
}

Result<void> start(Watch* watch) noexcept {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  // Signals are for the program's own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_t thread;
  const int errnum = pthread_create(&thread, &attributes, awaitEnd, watch);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (errnum != 0) return systemError("pthread_create", errnum);
  return {};
}

}  // namespace

Result<void> endWithParent(int socket, const char* store, uint32_t graceMs) noexcept {
  auto path = ShmPath::of(store == nullptr ? "-" : store);
  if (!path) return path.error();
  // Of anything but a socket the end would never be told.
  int type = 0;
  socklen_t typeBytes = sizeof type;
  if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &typeBytes) != 0) return systemError("getsockopt");
  UniqueFd own(fcntl(socket, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return systemError("fcntl");
  auto* watch = new (std::nothrow) Watch{std::move(own), *path, store != nullptr, uint64_t{graceMs} * 1'000'000};
  if (watch == nullptr) return systemError("malloc", ENOMEM);
  auto started = start(watch);
  if (!started) {
    delete watch;
    return started;
  }
  while (watch->begun.load() == 0) futexWait(watch->begun, 0, kForever, kAnyClass);
  return {};
}

}  // namespace ndshm
