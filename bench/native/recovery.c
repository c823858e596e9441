// The limit: what the kernel takes from SIGKILL of a robust mutex's owner until the mutex's waiter has it.
//
//   recovery KILLS     prints the times in milliseconds, as JSON

#define _GNU_SOURCE
#include <signal.h>

#include "shared_lock.h"

static struct arena {
  pthread_mutex_t mutex;
  int held;
  int waits;
} *arena;

static void own(void) {
  if (pthread_mutex_lock(&arena->mutex) != 0) _exit(1);
  __atomic_store_n(&arena->held, 1, __ATOMIC_SEQ_CST);
  for (;;) pause();
}

// A pipe, since the waiter's time is to be taken in the waiter.
static void wait_for_it(int answers) {
  __atomic_store_n(&arena->waits, 1, __ATOMIC_SEQ_CST);
  if (pthread_mutex_lock(&arena->mutex) != EOWNERDEAD) _exit(1);
  double entered = microseconds();
  pthread_mutex_consistent(&arena->mutex);
  pthread_mutex_unlock(&arena->mutex);
  must("write", write(answers, &entered, sizeof entered));
  _exit(0);
}

static void until(int *flag) {
  while (__atomic_load_n(flag, __ATOMIC_SEQ_CST) == 0) usleep(100);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  size_t kills = strtoull(argv[1], NULL, 10);
  arena = shared_memory(sizeof *arena);
  init_robust_mutex(&arena->mutex);
  int answers[2];
  must("pipe", pipe(answers));
  double *times = new_samples(kills);
  for (size_t n = 0; n < kills; n++) {
    arena->held = arena->waits = 0;
    pid_t owner = (pid_t)must("fork", fork());
    if (owner == 0) own();
    until(&arena->held);
    if (must("fork", fork()) == 0) wait_for_it(answers[1]);
    until(&arena->waits);
    usleep(2000); // it is about to wait: let it come to that
    double killed = microseconds(), entered;
    must("kill", kill(owner, SIGKILL));
    if (read(answers[0], &entered, sizeof entered) != sizeof entered) return 1;
    times[n] = (entered - killed) / 1000;
    while (wait(NULL) > 0) continue;
  }
  printf("{\"p50\": %f, ", quantile(times, kills, 0.5));
  printf("\"p99\": %f}\n", quantile(times, kills, 0.99));
  return 0;
}
