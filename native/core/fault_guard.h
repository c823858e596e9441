// Survives the truncation of a mapped file.
//
// Touching a page beyond the end of its file raises SIGBUS, which would end the process although some other process
// shrank the file. The handler knows our mappings: it puts zero pages where the fault happened, up to the mapping's
// end (behind a new end of file everything is gone), and counts the fault, so that the next call on the array can
// report it. Any other bus error goes to the handler that was there before, or to the default action.
//
// This is the addon's only process-wide state: a signal's disposition is the process's own. Threads may add and
// remove mappings at any time; the handler takes no lock and allocates nothing.
#pragma once

#include <atomic>
#include <cstdint>

#include "posix.h"

namespace ndshm {

struct GuardedRange;

class FaultGuard {
 public:
  FaultGuard() noexcept = default;
  explicit FaultGuard(const Mapping& mapping) noexcept;
  FaultGuard(FaultGuard&& other) noexcept;
  FaultGuard& operator=(FaultGuard&& other) noexcept;
  ~FaultGuard() { reset(); }

  bool faulted() const noexcept;
  // To be called before the pages are unmapped: afterwards the addresses may be somebody else's.
  void reset() noexcept;

  // How many faults there were in this process; watched by TypeScript to notice one without a call.
  static std::atomic<uint32_t>& faultCount() noexcept;

 private:
  GuardedRange* range_ = nullptr;
};

}  // namespace ndshm
