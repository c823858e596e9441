// Putting bytes into pages, as fast as this machine does it (bench/native/fill.c measures the ways).
#pragma once

#include <atomic>
#include <cstdint>

#include "posix.h"

namespace ndshm {

// Pages of a file that do not exist yet, mapped writable and shared at `target`. What of them exists all the same
// keeps its bytes where no others are put there.
struct FreshPages {
  int fd;
  uint64_t fileOffset;  // of `target`, as a multiple of kPageBytes
  uint8_t* target;
  uint64_t byteLength;
};

// Reserves the pages for certain and copies `source`, of the same length, into them, or leaves them zero where it is
// null. ENOSPC if they do not fit; some of them exist then. Blocks; several threads where that pays.
Result<void> fillFresh(const FreshPages& pages, const uint8_t* source) noexcept;
// With zeros, by this thread alone, which leaves the other processors to whoever is in a hurry. ECANCELED soon after
// `stop` is not 0.
Result<void> fillFreshUntil(const FreshPages& pages, const std::atomic<uint32_t>& stop) noexcept;

// Into pages that exist. Several threads where that pays.
void copyBytes(uint8_t* target, const uint8_t* source, uint64_t byteLength) noexcept;

}  // namespace ndshm
