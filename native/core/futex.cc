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

void futexWake(const std::atomic<uint32_t>& word, int count, uint32_t classes) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, classes);
}

void SpinBudget::pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // about as long as x86's pause; `yield` does nothing on most cores
#endif
}

uint64_t SpinBudget::nextBudgetNs() noexcept {
  static const bool alone = sysconf(_SC_NPROCESSORS_ONLN) == 1;
  if (alone) return 0;
  if (budgetNs_ >= kMinNs) return budgetNs_;
  if (++skipped_ < kProbeEvery) return 0;
  skipped_ = 0;
  return kMaxNs / 4;
}

bool SpinBudget::learn(bool succeeded) noexcept {
  budgetNs_ = succeeded ? kMaxNs : budgetNs_ / 2;
  return succeeded;
}

}  // namespace ndshm
