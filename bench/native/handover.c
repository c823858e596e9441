// Two processes pass a token to and fro through a futex. `bare`: each sleeps at once, and each is woken by the other.
// `spinning`: each looks for some microseconds before it sleeps, and only who sleeps is woken.
//
//   handover bare|spinning ROUNDS PROCESSORS PROCESSORS     prints the round trip in microseconds, as JSON
//
// PROCESSORS: where the one and the other process may run, as in 0,1

#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "shared_lock.h"

enum { LOOKS = 2000 };

static struct table {
  uint32_t turn __attribute__((aligned(64)));
  uint32_t asleep __attribute__((aligned(64)));
} *table;

static void pass_to(uint32_t other, int looks) {
  __atomic_store_n(&table->turn, other, __ATOMIC_SEQ_CST);
  // Who sets `asleep` afterwards finds the new turn when the kernel compares it.
  if (looks != 0 && __atomic_load_n(&table->asleep, __ATOMIC_SEQ_CST) == 0) return;
  __atomic_store_n(&table->asleep, 0, __ATOMIC_SEQ_CST);
  syscall(SYS_futex, &table->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void await_turn(uint32_t mine, int looks) {
  for (int n = 0; n < looks; n++) {
    if (__atomic_load_n(&table->turn, __ATOMIC_SEQ_CST) == mine) return;
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
  }
  while (__atomic_load_n(&table->turn, __ATOMIC_SEQ_CST) != mine) {
    __atomic_store_n(&table->asleep, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &table->turn, FUTEX_WAIT, 1 - mine, NULL, NULL, 0);
  }
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int looks = strcmp(argv[1], "spinning") == 0 ? LOOKS : 0;
  size_t rounds = strtoull(argv[2], NULL, 10);
  table = shared_memory(sizeof *table);
  if (must("fork", fork()) == 0) {
    run_on(argv[4]);
    for (size_t n = 0; n < rounds; n++) {
      await_turn(1, looks);
      pass_to(0, looks);
    }
    return 0;
  }
  run_on(argv[3]);
  double *times = new_samples(rounds);
  double last = microseconds();
  for (size_t n = 0; n < rounds; n++) {
    pass_to(1, looks);
    await_turn(0, looks);
    double now = microseconds();
    times[n] = now - last;
    last = now;
  }
  while (wait(NULL) > 0) continue;
  printf("{\"p50\": %f, ", quantile(times, rounds, 0.5));
  printf("\"p99\": %f}\n", quantile(times, rounds, 0.99));
  return 0;
}
