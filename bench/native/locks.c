// What taking and releasing a lock that nobody else wants costs in C.
//
//   locks MILLISECONDS     prints the nanoseconds of a pair for each kind of lock, as JSON

#define _GNU_SOURCE
#include "shared_lock.h"

enum { BATCH = 100000, KINDS = 4 };

static struct locks {
  pthread_mutex_t mutex;
  pthread_rwlock_t rwlock;
  int32_t word;
  long counter;
} *locks;

static void robust_mutex(void) {
  pthread_mutex_lock(&locks->mutex);
  locks->counter++;
  pthread_mutex_unlock(&locks->mutex);
}

static void rwlock_shared(void) {
  pthread_rwlock_rdlock(&locks->rwlock);
  locks->counter++;
  pthread_rwlock_unlock(&locks->rwlock);
}

static void rwlock_exclusive(void) {
  pthread_rwlock_wrlock(&locks->rwlock);
  locks->counter++;
  pthread_rwlock_unlock(&locks->rwlock);
}

static void compare_exchange(void) {
  int32_t expected = 0;
  __atomic_compare_exchange_n(&locks->word, &expected, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  locks->counter++;
}

static const struct {
  const char *name;
  void (*pair)(void);
} kinds[KINDS] = {
    {"robustMutex", robust_mutex},
    {"rwlockShared", rwlock_shared},
    {"rwlockExclusive", rwlock_exclusive},
    {"compareExchange", compare_exchange},
};

static double nanoseconds_of(void (*pair)(void)) {
  double start = microseconds();
  for (int n = 0; n < BATCH; n++) pair();
  return (microseconds() - start) * 1000 / BATCH;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  locks = shared_memory(sizeof *locks);
  init_robust_mutex(&locks->mutex);
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  if (pthread_rwlock_init(&locks->rwlock, &attributes) != 0) abort();

  double budget = atof(argv[1]) * 1000;
  double *times = new_samples((size_t)budget); // a batch takes more than a microsecond
  for (int kind = 0; kind < KINDS; kind++) {
    size_t count = 0;
    for (double start = microseconds(); count == 0 || microseconds() - start < budget;)
      times[count++] = nanoseconds_of(kinds[kind].pair);
    printf("%s\"%s\": %f", kind == 0 ? "{" : ", ", kinds[kind].name, quantile(times, count, 0.5));
  }
  printf("}\n");
  return 0;
}
