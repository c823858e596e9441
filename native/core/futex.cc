#include "futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace ndshm {

uint64_t monotonicNs() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}

bool futexWait(const std::atomic<uint32_t>& word, uint32_t expected, uint64_t untilNs, uint32_t classes) noexcept {
  timespec until{};
  until.tv_sec = static_cast<time_t>(untilNs / 1'000'000'000U);
  until.tv_nsec = static_cast<long>(untilNs % 1'000'000'000U);
  const long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, untilNs == kForever ? nullptr : &until,
                              nullptr, classes);
  return result == 0 || errno != ETIMEDOUT;
}

int futexWake(const std::atomic<uint32_t>& word, int count, uint32_t classes) noexcept {
  return static_cast<int>(syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, classes));
}

void SpinBudget::pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // about as long as x86's pause; `yield` does nothing on most cores
#endif
}

namespace {

// Asked once: it reads a file. Threads that ask at the same time get the same answer.
bool hasOneProcessor() noexcept {
  static std::atomic<long> processors{0};
  long count = processors.load(std::memory_order_relaxed);
  if (count == 0) {
    count = sysconf(_SC_NPROCESSORS_ONLN);
    processors.store(count, std::memory_order_relaxed);
  }
  return count == 1;
}

}  // namespace

uint64_t SpinBudget::budgetNs(uint64_t now) const noexcept {
  if (hasOneProcessor()) return 0;
  if (failures_ == 0) return kOrdinaryNs;
  if (failures_ < kMaxFailures && pace_.patientNs > 0) return pace_.patientNs;
  if (now % kProbeEveryNs < kProbeForNs) return kProbeNs;
  return failures_ < kMaxFailures ? kOrdinaryNs : 0;
}

bool SpinBudget::learn(bool succeeded) noexcept {
  failures_ = succeeded ? 0 : failures_ + 1;
  return succeeded;
}

}  // namespace ndshm
