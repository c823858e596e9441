// What the small measuring programs share.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double microseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

// Ends the program if a system call failed; else passes its result on.
static inline long must(const char *what, long result) {
  if (result >= 0) return result;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// The values end up sorted.
static inline double quantile(double *values, size_t count, double q) {
  qsort(values, count, sizeof *values, by_value);
  size_t at = (size_t)((double)count * q);
  return values[at < count ? at : count - 1];
}

static inline double *new_samples(size_t count) {
  double *samples = calloc(count, sizeof *samples);
  if (samples == NULL) abort();
  return samples;
}
