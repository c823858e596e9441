// Several processes increment one counter under a robust process-shared mutex.
//
//   contention PROCESSES MILLISECONDS     prints each process's increments and its longest stall in ms, as JSON

#define _GNU_SOURCE
#include "shared_lock.h"

enum { BATCH = 64, MOST = 64 };

static struct arena {
  pthread_mutex_t mutex __attribute__((aligned(64)));
  int64_t counter __attribute__((aligned(64)));
  int ready __attribute__((aligned(64)));
  int64_t counts[MOST] __attribute__((aligned(64)));
  double stalls[MOST];
} *arena;

static void increment(int process, int processes, double budget) {
  __atomic_add_fetch(&arena->ready, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&arena->ready, __ATOMIC_SEQ_CST) < processes) sched_yield();
  int64_t count = 0;
  double longest = 0;
  for (double start = microseconds(), last = start; last - start < budget;) {
    for (int n = 0; n < BATCH; n++) {
      pthread_mutex_lock(&arena->mutex);
      arena->counter++;
      pthread_mutex_unlock(&arena->mutex);
    }
    count += BATCH;
    double now = microseconds();
    if (now - last > longest) longest = now - last;
    last = now;
  }
  arena->counts[process] = count;
  arena->stalls[process] = longest / 1000;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int processes = atoi(argv[1]);
  if (processes < 1 || processes > MOST) return 2;
  arena = shared_memory(sizeof *arena);
  init_robust_mutex(&arena->mutex);
  for (int n = 0; n < processes; n++) {
    if (must("fork", fork()) != 0) continue;
    increment(n, processes, atof(argv[2]) * 1000);
    return 0;
  }
  while (wait(NULL) > 0) continue;

  int64_t sum = 0;
  printf("{\"members\": [");
  for (int n = 0; n < processes; n++) {
    sum += arena->counts[n];
    printf("%s{\"count\": %ld, \"longest\": %f}", n == 0 ? "" : ", ", (long)arena->counts[n], arena->stalls[n]);
  }
  printf("], \"counter\": %ld}\n", (long)arena->counter);
  return sum == arena->counter ? 0 : 1;
}
