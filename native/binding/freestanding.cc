// What node-addon-api and the compiler expect of a C++ standard library, so that the addon can be linked without one.
//
// The addon needs nothing of libstdc++ at run time and leaves the few C functions it calls to the process that loads
// it. One binary therefore loads on every glibc from 2.28 on and on musl. There are no exceptions: what would throw
// aborts, as it does in any program built without them.
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>

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

namespace std {
[[noreturn]] void __throw_length_error(const char*) { abort(); }
[[noreturn]] void __throw_logic_error(const char*) { abort(); }
[[noreturn]] void __throw_out_of_range_fmt(const char*, ...) { abort(); }
[[noreturn]] void __throw_bad_function_call() { abort(); }
}  // namespace std

extern "C" [[noreturn]] void __cxa_pure_virtual() { abort(); }

// node-addon-api's error messages are std::strings; its bodies are compiled here instead of linked.
template class std::basic_string<char>;
