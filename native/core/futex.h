// futex(2) on words that several processes map, and the little around waiting.
//
// Never FUTEX_PRIVATE_FLAG: a private wake-up does not cross processes.
#pragma once

#include <atomic>
#include <cstdint>

namespace ndshm {

inline constexpr uint64_t kForever = UINT64_MAX;

uint64_t monotonicNs() noexcept;

// Who sleeps on a word, so that one kind can be woken alone.
enum WaiterClass : uint32_t { kWriterClass = 1, kReaderClass = 2, kAnyClass = 3 };

// Sleeps while `word` is `expected`, until woken or `untilNs` (of monotonicNs()). False = the time is up. Also returns
// when woken for no reason. A read-only mapping will do.
bool futexWait(const std::atomic<uint32_t>& word, uint32_t expected, uint64_t untilNs, uint32_t classes) noexcept;
int futexWake(const std::atomic<uint32_t>& word, int count, uint32_t classes) noexcept;
inline constexpr int kEverybody = INT32_MAX;

// How long to watch a word before sleeping on it. Sleeping costs two switches and the wake-up of a processor, so that
// watching pays where another processor runs the one we wait for; where it does not (one processor, or both sides
// bound to the same), watching is what keeps the other side from running. Learnt from what came of it, since no system
// call tells where the other side runs.
//
// Two sides that answer each other stay in step only while both watch. Once both have given up, each would sleep
// longer than the other watches, and never find out that it pays again: so all processes try it at the same times of
// the clock, and then for longer than a wake-up takes.
class SpinBudget {
 public:
  struct Pace {
    // How long to watch, twice, after the ordinary time was in vain for once.
    uint64_t patientNs;
    // Processor pauses before the first look, and between looks at most. Each look takes the cache line from the other side.
    uint32_t firstPauses;
    uint32_t mostPauses;
  };
  // For who waits for an answer: looks often, and for longer than a wake-up takes.
  static constexpr Pace kAnswer{200'000, 1, 16};
  // For who waits for a lock, whose owner may not be running: looks seldom. An owner that is left alone does a hundred
  // short turns in the time in which one that is watched closely does ten.
  static constexpr Pace kLock{0, 128, 1024};
  // For who waits for readers to leave, each of whom writes a line of its own.
  static constexpr Pace kLeaving{0, 1, 16};

  explicit SpinBudget(Pace pace) noexcept : pace_(pace) {}

  // Watches until `ready()` is true or the budget is used up; the looks come further and further apart. Whether it was.
  template <class Ready>
  bool spin(Ready ready) noexcept {
    const uint64_t begun = monotonicNs();
    const uint64_t budget = budgetNs(begun);
    if (budget == 0) return false;
    const uint64_t end = begun + budget;
    for (uint32_t pauses = pace_.firstPauses;; pauses = pauses < pace_.mostPauses ? pauses * 2 : pauses) {
      for (uint32_t n = 0; n < pauses; n++) pause();
      if (ready()) return learn(true);
      if (monotonicNs() >= end) return learn(false);
    }
  }

 private:
  static constexpr uint64_t kOrdinaryNs = 20'000;
  static constexpr uint32_t kMaxFailures = 3;  // in a row, until it does not pay
  static constexpr uint64_t kProbeEveryNs = 64'000'000;
  static constexpr uint64_t kProbeForNs = 1'000'000;
  static constexpr uint64_t kProbeNs = 200'000;

  static void pause() noexcept;
  uint64_t budgetNs(uint64_t now) const noexcept;
  bool learn(bool succeeded) noexcept;

  Pace pace_;
  uint32_t failures_ = 0;
};

}  // namespace ndshm
