// The limit: the system calls with which ndshm creates, closes and unlinks a small array, and nothing else. The list
// is that of `strace node bench/measured/create.mjs '{"name":"x","repeats":9}'`.
//
//   create PATH REPEATS     prints the median in microseconds, as JSON

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "measure.h"

enum { HEADER_BYTES = 4096, DATA_BYTES = 8000, CONTROL_AT = 12288, CONTROL_BYTES = 20480 };
#define FIRST_SLOT ((off_t)1 << 40)

static char *map(int fd, size_t length, off_t offset) {
  char *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  if (address == MAP_FAILED) must("mmap", -1);
  return address;
}

static void lock(int fd, short type, off_t byte) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  must("fcntl", fcntl(fd, F_OFD_SETLK, &range));
}

static void create_and_close(const char *path, const char *header) {
  struct stat stat;
  struct statfs room;
  char control[64];
  char self[32];
  int missing = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (missing >= 0) exit(1);
  int fd = (int)must("open", open("/dev/shm/", O_TMPFILE | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600));
  must("fstatfs", fstatfs(fd, &room));
  must("ftruncate", ftruncate(fd, CONTROL_AT + CONTROL_BYTES));
  must("fallocate", fallocate(fd, 0, CONTROL_AT, CONTROL_BYTES));
  must("pwrite", pwrite(fd, header, HEADER_BYTES, 0));
  char *data = map(fd, DATA_BYTES, HEADER_BYTES);
  must("fallocate", fallocate(fd, 0, HEADER_BYTES, DATA_BYTES));
  must("getrandom", getrandom(control, 16, 0));
  must("pwrite", pwrite(fd, control, sizeof control, CONTROL_AT));
  lock(fd, F_WRLCK, FIRST_SLOT);
  must("pread", pread(fd, control, sizeof control, CONTROL_AT + 4096));
  *(pid_t *)control = getpid();
  *(long *)(control + 8) = syscall(SYS_gettid);
  must("pwrite", pwrite(fd, control, sizeof control, CONTROL_AT + 4096));
  must("fstat", fstat(fd, &stat));
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  must("linkat", linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
  must("munmap", munmap(data, DATA_BYTES));
  must("close", close(fd));
}

static void unlink_by_name(const char *path) {
  struct stat opened, named;
  int fd = (int)must("open", open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  lock(fd, F_RDLCK, FIRST_SLOT + 257);
  must("fstat", fstat(fd, &opened));
  must("stat", fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW));
  must("unlink", unlink(path));
  must("close", close(fd));
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  static char header[HEADER_BYTES];
  size_t count = strtoull(argv[2], NULL, 10);
  double *times = new_samples(count);
  for (size_t n = 0; n < count; n++) {
    double start = microseconds();
    create_and_close(argv[1], header);
    unlink_by_name(argv[1]);
    times[n] = microseconds() - start;
  }
  printf("{\"median\": %f}\n", quantile(times, count, 0.5));
  return 0;
}
