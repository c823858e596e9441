// Everything that JavaScript sees of the addon; binding.d.ts declares the same.
#include <napi.h>
#include <sched.h>

#include "../core/fault_guard.h"
#include "../core/futex.h"
#include "../core/layout.h"
#include "../core/parent_watch.h"
#include "../core/peers.h"
#include "../core/posix.h"
#include "../core/shm_name.h"
#include "convert.h"
#include "lock_object.h"
#include "reservoir_object.h"
#include "segment_object.h"

namespace ndshm {

namespace {

Napi::Value unlinkByName(const Napi::CallbackInfo& info) {
  auto path = ShmPath::of(Name(info[0]).text());
  if (!path) return toFailure(info.Env(), path.error());
  return toOutcome(info.Env(), unlinkName(*path));
}

// A question about a name: true, false, or a failure.
template <Result<bool> (*answer)(const ShmPath&) noexcept>
Napi::Value askByName(const Napi::CallbackInfo& info) {
  auto path = ShmPath::of(Name(info[0]).text());
  if (!path) return toFailure(info.Env(), path.error());
  auto answered = answer(*path);
  if (!answered) return toFailure(info.Env(), answered.error());
  return Napi::Boolean::New(info.Env(), *answered);
}

Napi::Value watchParent(const Napi::CallbackInfo& info) {
  const int socket = info[0].As<Napi::Number>().Int32Value();
  const auto graceMs = info[2].As<Napi::Number>().Uint32Value();
  if (info[1].IsNull()) return toOutcome(info.Env(), endWithParent(socket, nullptr, graceMs));
  return toOutcome(info.Env(), endWithParent(socket, Name(info[1]).text(), graceMs));
}

// Deno's own close knows nothing but what Deno has opened.
Napi::Value closeDescriptor(const Napi::CallbackInfo& info) {
  UniqueFd(info[0].As<Napi::Number>().Int32Value()).reset();
  return info.Env().Undefined();
}

// Lets whoever else wants this processor have it; returns at once where nobody does.
Napi::Value yieldProcessor(const Napi::CallbackInfo& info) {
  sched_yield();
  return info.Env().Undefined();
}

// JavaScript has no fence of its own that would order plain loads and stores on weakly ordered processors.
Napi::Value fence(const Napi::CallbackInfo& info) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return info.Env().Undefined();
}

Napi::Value monotonicMs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(monotonicNs() / 1'000'000U));
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
  set("readOnlyPeer", kReadOnlyPeer);
  Napi::Object words = Napi::Object::New(env);
  const auto setWord = [&](const char* name, size_t offset) {
    words.Set(name, Napi::Number::New(env, static_cast<double>(offset)));
  };
  constexpr size_t lock = offsetof(ControlBlock, lock);
  constexpr size_t peers = offsetof(ControlBlock, peers);
  setWord("writer", lock + offsetof(LockWords, writer));
  setWord("version", lock + offsetof(LockWords, version));
  setWord("changeSignal", lock + offsetof(LockWords, changeSignal));
  setWord("changeWaiters", lock + offsetof(LockWords, changeWaiters));
  setWord("drainWaits", lock + offsetof(LockWords, drainWaits));
  setWord("readerSlots", lock + offsetof(LockWords, readerSlots));
  setWord("readerFlag", peers + offsetof(PeerSlot, readerFlag));
  setWord("generation", peers + offsetof(PeerSlot, generation));
  layout.Set("words", words);
  set("peerBytes", sizeof(PeerSlot));
  Napi::Object bits = Napi::Object::New(env);
  const auto setBits = [&](const char* name, uint32_t value) { bits.Set(name, Napi::Number::New(env, value)); };
  setBits("owner", kOwner);
  setBits("readers", kReaders);
  setBits("abandoned", kAbandoned);
  setBits("watches", kWatches);
  layout.Set("bits", bits);
  layout.Set("directory", Napi::String::New(env, kDirectory));
  layout.Set("temporaryPrefix", Napi::String::New(env, kTemporaryPrefix));
  return layout;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("Segment", SegmentObject::define(env));
  env.SetInstanceData<WaitThreads>(new WaitThreads(env));
  exports.Set("Lock", LockObject::define(env));
  exports.Set("Reservoir", ReservoirObject::define(env));
  exports.Set("fence", Napi::Function::New<fence>(env, "fence"));
  exports.Set("unlink", Napi::Function::New<unlinkByName>(env, "unlink"));
  exports.Set("reap", Napi::Function::New<askByName<reap>>(env, "reap"));
  exports.Set("isLeftover", Napi::Function::New<askByName<isLeftover>>(env, "isLeftover"));
  exports.Set("endWithParent", Napi::Function::New<watchParent>(env, "endWithParent"));
  exports.Set("yieldProcessor", Napi::Function::New<yieldProcessor>(env, "yieldProcessor"));
  exports.Set("closeDescriptor", Napi::Function::New<closeDescriptor>(env, "closeDescriptor"));
  exports.Set("monotonicMs", Napi::Function::New<monotonicMs>(env, "monotonicMs"));
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
