// How core functions report failure: no exceptions, nothing thrown away.
#pragma once

#include <cerrno>
#include <cstdint>
#include <utility>

namespace ndshm {

enum class Status : uint32_t {
  kOk = 0,
  kSystem,           // a system call failed: errnum and call say which
  kControlVersion,   // the control block is of another layout version: found, expected
  kControlCorrupt,   // the control block contradicts the file around it: found, expected
  kPeersFull,        // all peer slots are held by the living
  kReplaced,         // the file lost its name between opening and claiming: open again
  kBusyName,         // somebody has been removing or replacing this name for too long
  kClosed,
};

struct Error {
  Status status = Status::kOk;
  int errnum = 0;
  const char* call = "";
  uint64_t found = 0;
  uint64_t expected = 0;
};

inline Error systemError(const char* call, int errnum = errno) noexcept {
  return Error{Status::kSystem, errnum, call, 0, 0};
}
inline Error failure(Status status, uint64_t found = 0, uint64_t expected = 0) noexcept {
  return Error{status, 0, "", found, expected};
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) noexcept : value_(std::move(value)) {}
  Result(Error error) noexcept : error_(error) {}
  explicit operator bool() const noexcept { return error_.status == Status::kOk; }
  T& operator*() noexcept { return value_; }
  T* operator->() noexcept { return &value_; }
  const Error& error() const noexcept { return error_; }

 private:
  T value_{};
  Error error_{};
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() noexcept = default;
  Result(Error error) noexcept : error_(error) {}
  explicit operator bool() const noexcept { return error_.status == Status::kOk; }
  const Error& error() const noexcept { return error_; }

 private:
  Error error_{};
};

}  // namespace ndshm
