#include "fault_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <utility>

namespace ndshm {

// One guarded mapping. Records are linked once and never freed, only reused, so that the handler can walk the list
// at any moment. A record is in use while `end` is not 0.
struct GuardedRange {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<uint32_t> faulted{0};
  GuardedRange* next = nullptr;      // all records; set before the record is published, then constant
  GuardedRange* nextFree = nullptr;  // guarded by freeListBusy
};

namespace {

std::atomic<GuardedRange*> allRanges{nullptr};
GuardedRange* freeRanges = nullptr;
std::atomic_flag freeListBusy = ATOMIC_FLAG_INIT;
std::atomic<uint32_t> faults{0};
bool installed = false;  // guarded by freeListBusy
struct sigaction previousAction;

class FreeListLock {
 public:
  FreeListLock() noexcept {
    while (freeListBusy.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~FreeListLock() { freeListBusy.clear(std::memory_order_release); }
};

struct FoundRange {
  GuardedRange* range = nullptr;
  uintptr_t end = 0;
};

FoundRange findRange(uintptr_t address) noexcept {
  for (auto* range = allRanges.load(std::memory_order_acquire); range != nullptr; range = range->next) {
    // `end` is cleared before `begin` changes and set after it. Another thread may reuse the record while we look:
    // only a `begin` read between two equal looks at `end` belongs to it.
    const uintptr_t end = range->end.load(std::memory_order_acquire);
    const uintptr_t begin = range->begin.load(std::memory_order_acquire);
    if (address < begin || address >= end) continue;
    if (range->end.load(std::memory_order_relaxed) == end) return {range, end};
  }
  return {};
}

bool repair(uintptr_t address) noexcept {
  const auto [range, end] = findRange(address);
  if (range == nullptr) return false;
  const uintptr_t page = address / pageSize() * pageSize();
  const int savedErrno = errno;
  void* zeros = mmap(reinterpret_cast<void*>(page), end - page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  errno = savedErrno;
  if (zeros == MAP_FAILED) return false;
  range->faulted.store(1, std::memory_order_release);
  faults.fetch_add(1, std::memory_order_release);
  return true;
}

void onBusError(int signal, siginfo_t* info, void* context) noexcept {
  // BUS_ADRERR only: a hardware memory error (BUS_MCEERR_*) must not be papered over with zeros.
  if (info->si_code == BUS_ADRERR && repair(reinterpret_cast<uintptr_t>(info->si_addr))) return;
  if ((previousAction.sa_flags & SA_SIGINFO) != 0) {
    previousAction.sa_sigaction(signal, info, context);
  } else if (previousAction.sa_handler == SIG_IGN && info->si_code <= 0) {
    // Sent by kill(2) to a process that ignores it. A real fault cannot be ignored.
  } else if (previousAction.sa_handler != SIG_DFL && previousAction.sa_handler != SIG_IGN) {
    previousAction.sa_handler(signal);
  } else {
    // Back to the default action; the faulting instruction runs again and ends the process as it would have.
    struct sigaction byDefault {};
    byDefault.sa_handler = SIG_DFL;
    sigaction(SIGBUS, &byDefault, nullptr);
    if (info->si_code <= 0) raise(SIGBUS);  // sent by kill(2): no instruction will repeat it
  }
}

// Under the lock, so that no thread goes on to use its mapping before the handler is there.
void installOnce() noexcept {
  FreeListLock lock;
  if (std::exchange(installed, true)) return;
  struct sigaction action {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, nullptr, &previousAction);  // first, so that the handler never sees it unset
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

FaultGuard::FaultGuard(const Mapping& mapping) noexcept {
  installOnce();
  {
    FreeListLock lock;
    range_ = freeRanges;
    if (range_ != nullptr) freeRanges = range_->nextFree;
  }
  if (range_ == nullptr) {
    range_ = new (std::nothrow) GuardedRange();
    if (range_ == nullptr) return;  // unguarded, as without this class
    range_->next = allRanges.load(std::memory_order_relaxed);
    while (!allRanges.compare_exchange_weak(range_->next, range_, std::memory_order_acq_rel)) {
    }
  }
  const auto begin = reinterpret_cast<uintptr_t>(mapping.base());
  range_->faulted.store(0, std::memory_order_relaxed);
  range_->begin.store(begin, std::memory_order_release);
  range_->end.store((begin + mapping.mappedBytes() + pageSize() - 1) / pageSize() * pageSize(),
                    std::memory_order_release);
}

FaultGuard::FaultGuard(FaultGuard&& other) noexcept : range_(std::exchange(other.range_, nullptr)) {}

FaultGuard& FaultGuard::operator=(FaultGuard&& other) noexcept {
  if (this != &other) {
    reset();
    range_ = std::exchange(other.range_, nullptr);
  }
  return *this;
}

bool FaultGuard::faulted() const noexcept {
  return range_ != nullptr && range_->faulted.load(std::memory_order_acquire) != 0;
}

void FaultGuard::reset() noexcept {
  if (range_ == nullptr) return;
  range_->end.store(0, std::memory_order_release);
  FreeListLock lock;
  range_->nextFree = freeRanges;
  freeRanges = std::exchange(range_, nullptr);
}

std::atomic<uint32_t>& FaultGuard::faultCount() noexcept { return faults; }

}  // namespace ndshm
