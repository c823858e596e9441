// The limit: what the kernel alone takes to attach a file and read one element of it.
//
//   attach PATH ELEMENT ATTACHES     prints the times in microseconds, as JSON

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure.h"

#define HEADER_BYTES 4096

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const char *path = argv[1];
  size_t element = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
  double *attached = new_samples(count), *closed = new_samples(count);
  volatile double sum = 0;

  for (size_t n = 0; n < count; n++) {
    double start = microseconds();
    int fd = (int)must("open", open(path, O_RDWR | O_CLOEXEC));
    struct stat stat;
    must("fstat", fstat(fd, &stat));
    size_t size = (size_t)stat.st_size;
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED) must("mmap", -1);
    sum = sum + ((double *)(map + HEADER_BYTES))[element];
    attached[n] = microseconds() - start;
    must("munmap", munmap(map, size));
    must("close", close(fd));
    closed[n] = microseconds() - start;
  }
  double first = attached[0];
  printf("{\"first\": %f, \"median\": %f, \"p90\": %f, \"whole\": %f}\n", first, quantile(attached, count, 0.5),
         quantile(attached, count, 0.9), quantile(closed, count, 0.5));
  return 0;
}
