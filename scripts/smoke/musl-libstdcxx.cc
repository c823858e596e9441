// Completes the libstdc++ of GCC 10 to what Node and Bun for musl import from later ones. The newer builds of it for
// musl that can be had use relative relocations, which Debian 12's musl does not know. Only for the test's hosts: the
// addon itself imports nothing of libstdc++.
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

template std::string std::stringbuf::str() const&;

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { abort(); }
[[noreturn]] void __glibcxx_assert_fail(const char*, int, const char*, const char*) { abort(); }
}  // namespace std

// std::string::_M_replace_cold: replaces `length` bytes at `at` by `count` bytes that may lie in the same string, with
// `rest` bytes to be kept behind them. The buffer has room.
extern "C" void replaceInPlace(std::string*, char* at, size_t length, const char* source, size_t count, size_t rest) __asm__(
    "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE15_M_replace_coldEPcmPKcmm");
void replaceInPlace(std::string*, char* at, size_t length, const char* source, size_t count, size_t rest) {
  const std::string copy(source, count);
  std::memmove(at + count, at + length, rest);
  std::memcpy(at, copy.data(), count);
}
