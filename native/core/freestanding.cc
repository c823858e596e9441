// What the compiler and the core expect of a C++ standard library, so that both libraries can be linked without one.
//
// They need nothing of libstdc++ at run time and leave the few C functions they call to the process that loads them. One
// binary therefore loads on every glibc from 2.28 on and on musl. There are no exceptions: what would throw aborts, as it
// does in any program built without them.
#include <cstddef>
#include <cstdlib>
#include <new>

void* operator new(std::size_t size) {
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) std::abort();
  return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size > 0 ? size : 1); }
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size > 0 ? size : 1); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

const std::nothrow_t std::nothrow{};

extern "C" [[noreturn]] void __cxa_pure_virtual() { abort(); }
