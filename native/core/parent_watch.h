// Ends this process when its parent is gone, however busy its threads are.
//
// The parent holds one end of a socket pair, this process the other. The kernel closes the parent's end however it
// dies, and a thread of its own waits for that here: no event loop has to come round to it, and no pid is asked for,
// which may be another process's by then. Nothing is kept of a call: a second one is a second watch, and whichever end
// is closed first ends the process. A watch ends with its process only, not with the thread that began it.
#pragma once

#include "result.h"

namespace ndshm {

// `socket` is watched through a descriptor of the watch's own, so the caller may close it. It is never read.
//
// When the other end is closed, or shut down for writing, the name `store` and those of its members (`store.…`) are
// removed from kDirectory (nothing, if it is null), and `graceMs` later the process ends, as by SIGKILL: no handler runs,
// nothing is written back. With 0 that is at once; otherwise it has so long to end by itself. All
// processes of one parent do so at the same time, in any order. Also a process that is stopped (SIGSTOP), if its parent
// is who started it.
//
// What may be left, for gc():
// - The note of where the store's objects lie on disk, NAME.spill.0: gc() removes these by it.
// - A replacement that was about to get its name. Its temporary name does not say whose it is.
// - A segment that another thread of this process makes in the microseconds between the removal and the end. What
//   another process makes then, that one removes: each looks for itself after the parent's end.
//
// Errors: EBADF, ENOTSOCK, EMFILE, EAGAIN (no thread is to be had).
Result<void> endWithParent(int socket, const char* store, uint32_t graceMs) noexcept;

}  // namespace ndshm
