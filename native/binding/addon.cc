// Everything that JavaScript sees of the addon; binding.d.ts declares the same.
#include <napi.h>

#include "../core/fault_guard.h"
#include "../core/layout.h"
#include "../core/shm_name.h"
#include "convert.h"
#include "segment_object.h"

namespace ndshm {

namespace {

Napi::Value unlinkByName(const Napi::CallbackInfo& info) {
  auto path = ShmPath::of(Name(info[0]).text());
  if (!path) return toFailure(info.Env(), path.error());
  return toOutcome(info.Env(), unlinkName(*path));
}

Napi::Value reapByName(const Napi::CallbackInfo& info) {
  auto path = ShmPath::of(Name(info[0]).text());
  if (!path) return toFailure(info.Env(), path.error());
  auto reaped = reap(*path);
  if (!reaped) return toFailure(info.Env(), reaped.error());
  return Napi::Boolean::New(info.Env(), *reaped);
}

Napi::Object layoutObject(Napi::Env env) {
  Napi::Object layout = Napi::Object::New(env);
  const auto set = [&](const char* name, uint64_t value) {
    layout.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set("version", kLayoutVersion);
  set("pageBytes", kPageBytes);
  set("headerBytes", kHeaderBytes);
  set("controlBytes", kControlBytes);
  set("peerSlots", kPeerSlots);
  set("ephemeralFlag", kEphemeral);
  layout.Set("directory", Napi::String::New(env, kDirectory));
  layout.Set("temporaryPrefix", Napi::String::New(env, kTemporaryPrefix));
  return layout;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("Segment", SegmentObject::define(env));
  exports.Set("unlink", Napi::Function::New<unlinkByName>(env, "unlink"));
  exports.Set("reap", Napi::Function::New<reapByName>(env, "reap"));
  exports.Set("layout", layoutObject(env));
  // The process-wide fault counter itself, for a look at it without a call. It is never unmapped.
  auto& faults = FaultGuard::faultCount();
  auto word = Napi::ArrayBuffer::New(env, &faults, sizeof faults);
  exports.Set("faults", Napi::Uint32Array::New(env, 1, word, 0));
  return exports;
}

}  // namespace

}  // namespace ndshm

// NODE_API_MODULE calls an unqualified name.
static Napi::Object initializeAddon(Napi::Env env, Napi::Object exports) { return ndshm::initialize(env, exports); }
NODE_API_MODULE(ndshm, initializeAddon)
