// Putting bytes into fresh pages: reserved for certain, and as fast as this machine does it (bench/native/fill.c
// measures the ways).
#pragma once

#include <cstdint>

#include "posix.h"

namespace ndshm {

// Reserves the pages of `data` (mapped writable and shared from `fd` at `offset`) and copies `source` into them, or
// leaves them zero where `source` is null. ENOSPC if they do not fit; then the file has to be thrown away.
Result<void> fillFresh(int fd, uint64_t offset, const Mapping& data, const uint8_t* source) noexcept;

}  // namespace ndshm
