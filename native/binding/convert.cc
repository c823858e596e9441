#include "convert.h"

namespace ndshm {

Napi::Value toFailure(Napi::Env env, const Error& error) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("status", Napi::Number::New(env, static_cast<double>(error.status)));
  object.Set("errno", Napi::Number::New(env, error.errnum));
  object.Set("syscall", Napi::String::New(env, error.call));
  object.Set("found", Napi::Number::New(env, static_cast<double>(error.found)));
  object.Set("expected", Napi::Number::New(env, static_cast<double>(error.expected)));
  return object;
}

Napi::Value toOutcome(Napi::Env env, const Result<void>& result) {
  return result ? env.Undefined() : toFailure(env, result.error());
}

Name::Name(const Napi::Value& value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(value.Env(), value, text_, sizeof text_, &length) != napi_ok) length = 0;
  text_[length] = 0;
}

Bytes toBytes(const Napi::Value& value) {
  if (!value.IsTypedArray()) return {};
  auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

uint64_t toUnsigned(const Napi::Value& value) {
  const double number = value.As<Napi::Number>().DoubleValue();
  return number > 0 ? static_cast<uint64_t>(number) : 0;
}

}  // namespace ndshm
