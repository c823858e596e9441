// What node-addon-api expects of a C++ standard library beyond native/core/freestanding.cc.
#include <cstdlib>
#include <string>

namespace std {
[[noreturn]] void __throw_length_error(const char*) { abort(); }
[[noreturn]] void __throw_logic_error(const char*) { abort(); }
[[noreturn]] void __throw_out_of_range_fmt(const char*, ...) { abort(); }
[[noreturn]] void __throw_bad_function_call() { abort(); }
}  // namespace std

// node-addon-api's error messages are std::strings; its bodies are compiled here instead of linked.
template class std::basic_string<char>;
