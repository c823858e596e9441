// Parses the golden segment of layout version 1 by the structures of native/core/layout.h alone.
//   golden <file>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "../../native/core/layout.h"

using namespace ndshm;

namespace {

int wrong = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  wrong++;
}

bool isZero(const void* from, size_t byteLength) {
  const auto* bytes = static_cast<const uint8_t*>(from);
  for (size_t n = 0; n < byteLength; n++) {
    if (bytes[n] != 0) return false;
  }
  return true;
}

}  // namespace

#define EXPECT(condition) expect((condition), #condition)

constexpr uint64_t kDataBytes = 2 * 3 * sizeof(float);
constexpr uint64_t kControlAt = controlOffset(kHeaderBytes, kDataBytes);

// The file as it lies there.
struct Golden {
  char header[kHeaderBytes];
  float elements[6];
  uint8_t padding[kControlAt - kHeaderBytes - kDataBytes];
  ControlBlock control;
};
static_assert(sizeof(Golden) == kControlAt + kControlBytes);

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::FILE* file = std::fopen(argv[1], "rb");
  if (file == nullptr) return 2;
  const std::unique_ptr<Golden> golden(new Golden());
  EXPECT(std::fread(static_cast<void*>(golden.get()), sizeof(Golden), 1, file) == 1);
  EXPECT(std::fgetc(file) == EOF);
  std::fclose(file);

  EXPECT(std::memcmp(golden->header, "\x93NUMPY\x01\x00", 8) == 0);
  EXPECT(std::strstr(golden->header + 10, "'fortran_order': True") != nullptr);
  const float columns[] = {1, 4, 2, 5, 3, 6};
  EXPECT(std::memcmp(golden->elements, columns, sizeof columns) == 0);
  EXPECT(isZero(golden->padding, sizeof golden->padding));

  const ControlHeader& header = golden->control.header;
  EXPECT(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0);
  EXPECT(header.layoutVersion == 1);
  EXPECT(header.controlBytes == sizeof(ControlBlock));
  EXPECT(header.dataOffset == kHeaderBytes);
  EXPECT(header.dataBytes == kDataBytes);
  EXPECT(!isZero(header.segmentId, sizeof header.segmentId));
  EXPECT(header.flags == 0);
  EXPECT(header.peerSlots == kPeerSlots);
  EXPECT(header.createdAtNs > 1'700'000'000'000'000'000);

  EXPECT(isZero(&golden->control.lock, sizeof(LockWords)));
  EXPECT(isZero(golden->control.memberOf, sizeof golden->control.memberOf));
  EXPECT(isZero(golden->control.reserved, sizeof golden->control.reserved));

  const PeerSlot& peer = golden->control.peers[0];
  EXPECT(peer.readerFlag == 0);
  EXPECT(peer.used == 1);
  EXPECT(peer.generation == 1);
  EXPECT(peer.mode == static_cast<uint32_t>(Mode::kReadWrite));
  EXPECT(peer.pid == peer.tid && peer.pid != 0);
  EXPECT(peer.attachedAtNs >= header.createdAtNs);
  EXPECT(peer.waitingFor == 0);
  EXPECT(isZero(peer.reserved, sizeof peer.reserved));
  EXPECT(isZero(&golden->control.peers[1], (kPeerSlots - 1) * sizeof(PeerSlot)));
  return wrong == 0 ? 0 : 1;
}
