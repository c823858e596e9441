// Between core's results and JavaScript values. Arguments have been checked in TypeScript.
#pragma once

#include <napi.h>

#include "../core/result.h"

namespace ndshm {

// A failed call returns this object; TypeScript makes the error of it, since errors made here are of another realm
// under jest and fail `instanceof`.
Napi::Value toFailure(Napi::Env env, const Error& error);
Napi::Value toOutcome(Napi::Env env, const Result<void>& result);  // undefined, or a failure

// A segment name or descriptor label, copied out of a JavaScript string.
class Name {
 public:
  explicit Name(const Napi::Value& value);
  const char* text() const noexcept { return text_; }

 private:
  char text_[512];  // names are at most 255 bytes; a longer one is cut here and refused by core
};

struct Bytes {
  uint8_t* data = nullptr;
  size_t byteLength = 0;
};
Bytes toBytes(const Napi::Value& value);  // of a Uint8Array; empty for null
uint64_t toUnsigned(const Napi::Value& value);

}  // namespace ndshm
