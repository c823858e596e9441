// Memory and locks that processes share, and where and when those processes run.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

// Zeroed, and shared with the children forked later.
static inline void *shared_memory(size_t length) {
  void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) must("mmap", -1);
  return memory;
}

static inline void init_robust_mutex(pthread_mutex_t *mutex) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (pthread_mutex_init(mutex, &attributes) != 0) abort();
}

// `list`: numbers of processors with commas between; an empty one leaves the choice to the scheduler.
static inline void run_on(const char *list) {
  if (*list == '\0') return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const char *at = list; at != NULL; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) CPU_SET(atoi(at), &set);
  must("sched_setaffinity", sched_setaffinity(0, sizeof set, &set));
}
