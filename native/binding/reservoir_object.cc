#include "reservoir_object.h"

#include <new>

#include "convert.h"
#include "segment_object.h"
#include "wait_threads.h"

namespace ndshm {

namespace {

// Runs once for every buffer: a tick after its detachment, when it is collected, or when the environment ends.
void finalizeRange(napi_env /*env*/, void* /*data*/, void* hint) {
  auto* range = static_cast<MappedRange*>(hint);
  Reservoir& reservoir = range->reservoir;
  reservoir.unmap(*range);
  delete range;
  reservoir.release();
}

}  // namespace

class PrefaultJob : public Job {
 public:
  PrefaultJob(ReservoirObject& handle, Reservoir& reservoir, double number, uint64_t offset, uint64_t byteLength) noexcept
      : handle_(handle), reservoir_(reservoir), number_(number), offset_(offset), byteLength_(byteLength) {
    reservoir_.retain();
  }
  // The handle may be gone by now.
  ~PrefaultJob() override {
    end();
    reservoir_.release();
  }
  void run(const StopFlag& /*stop*/) noexcept override { outcome_ = reservoir_.prefault(offset_, byteLength_); }
  // A job is stopped only by the environment's end, and that is the reservoir's, too.
  void disturb() noexcept override { reservoir_.stopPrefaults(); }
  void settle(napi_env env) override {
    end();  // first: whoever is told may use the pages at once
    handle_.prefaulted(number_, toOutcome(env, outcome_));
  }

 private:
  void end() noexcept {
    if (!std::exchange(ended_, true)) reservoir_.endPrefault(offset_);
  }

  ReservoirObject& handle_;
  Reservoir& reservoir_;
  double number_;
  uint64_t offset_;
  uint64_t byteLength_;
  Result<void> outcome_;
  bool ended_ = false;
};

Napi::Function ReservoirObject::define(Napi::Env env) {
  return DefineClass(env, "Reservoir",
                     {
                         InstanceMethod<&ReservoirObject::fill>("fill"),
                         InstanceMethod<&ReservoirObject::write>("write"),
                         InstanceMethod<&ReservoirObject::prefault>("prefault"),
                         InstanceMethod<&ReservoirObject::punch>("punch"),
                         InstanceMethod<&ReservoirObject::map>("map"),
                         InstanceMethod<&ReservoirObject::unmap>("unmap"),
                         InstanceMethod<&ReservoirObject::isLeased>("isLeased"),
                         InstanceMethod<&ReservoirObject::faulted>("faulted"),
                         InstanceMethod<&ReservoirObject::close>("close"),
                     });
}

// Reservoir(segment, dataOffset, dataBytes)
ReservoirObject::ReservoirObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ReservoirObject>(info),
      reservoir_(new Reservoir(
          Napi::ObjectWrap<SegmentObject>::Unwrap(info[0].As<Napi::Object>())->segment()->takeDescriptor(),
          toUnsigned(info[1]), toUnsigned(info[2]))) {}

ReservoirObject::~ReservoirObject() {
  reservoir_->close();
  reservoir_->release();
}

// fill(offset, byteLength, source)
Napi::Value ReservoirObject::fill(const Napi::CallbackInfo& info) {
  const Bytes source = toBytes(info[2]);
  return toOutcome(info.Env(),
                   reservoir_->fill(toUnsigned(info[0]), toUnsigned(info[1]), source.data, source.byteLength));
}

// write(offset, source)
Napi::Value ReservoirObject::write(const Napi::CallbackInfo& info) {
  const Bytes source = toBytes(info[1]);
  return toOutcome(info.Env(), reservoir_->write(toUnsigned(info[0]), source.data, source.byteLength));
}

// prefault(number, offset, byteLength)
Napi::Value ReservoirObject::prefault(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto begun = reservoir_->beginPrefault(toUnsigned(info[1]), toUnsigned(info[2]));
  if (!begun) return toFailure(env, begun.error());
  auto* job = new PrefaultJob(*this, *reservoir_, info[0].As<Napi::Number>().DoubleValue(), toUnsigned(info[1]),
                              toUnsigned(info[2]));
  if (!env.GetInstanceData<WaitThreads>()->start(job, false)) {
    return toFailure(env, systemError("pthread_create"));
  }
  Ref();  // not to be collected before prefaulted()
  return env.Undefined();
}

void ReservoirObject::prefaulted(double number, const Napi::Value& outcome) {
  const Napi::Object self = Value();
  Unref();
  // Where the environment is about to end (worker.terminate()) these calls fail, and nobody is left to be told.
  napi_value function = nullptr;
  napi_value arguments[] = {nullptr, outcome};
  if (napi_create_double(Env(), number, &arguments[0]) != napi_ok) return;
  if (napi_get_named_property(Env(), self, "onPrefaulted", &function) != napi_ok) return;
  static_cast<void>(napi_call_function(Env(), self, function, 2, arguments, nullptr));
}

Napi::Value ReservoirObject::punch(const Napi::CallbackInfo& info) {
  return toOutcome(info.Env(), reservoir_->punch(toUnsigned(info[0]), toUnsigned(info[1])));
}

// map(offset, byteLength, shared, leased) → an ArrayBuffer, a failure, or undefined
Napi::Value ReservoirObject::map(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto mapped = reservoir_->map(toUnsigned(info[0]), toUnsigned(info[1]), info[2].As<Napi::Boolean>(), info[3].As<Napi::Boolean>());
  if (!mapped) return toFailure(env, mapped.error());
  MappedRange* range = *mapped;
  reservoir_->retain();
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, range->mapping.data(), static_cast<size_t>(range->mapping.byteLength()), finalizeRange, range, &buffer);
  if (status == napi_ok) return Napi::Value(env, buffer);
  // As in SegmentObject::buffer(): only then has the finalizer not been taken.
  if (status == napi_no_external_buffers_allowed) finalizeRange(env, nullptr, range);
  if (env.IsExceptionPending()) static_cast<void>(env.GetAndClearPendingException());
  return env.Undefined();
}

// unmap(buffer): if its memory has moved on to another buffer (transfer), that one's finalizer does it.
Napi::Value ReservoirObject::unmap(const Napi::CallbackInfo& info) {
  auto buffer = info[0].As<Napi::ArrayBuffer>();
  const void* address = buffer.Data();
  if (reservoir_->mappedAt(address) == nullptr) return info.Env().Undefined();
  if (napi_detach_arraybuffer(info.Env(), buffer) != napi_ok) return info.Env().Undefined();
  // Looked for again: Bun runs the finalizer inside the detachment.
  MappedRange* range = reservoir_->mappedAt(address);
  if (range != nullptr) reservoir_->unmap(*range);
  return info.Env().Undefined();
}

Napi::Value ReservoirObject::isLeased(const Napi::CallbackInfo& info) {
  auto leased = reservoir_->isLeased(toUnsigned(info[0]), toUnsigned(info[1]));
  if (!leased) return toFailure(info.Env(), leased.error());
  return Napi::Boolean::New(info.Env(), *leased);
}

Napi::Value ReservoirObject::faulted(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), reservoir_->faulted());
}

Napi::Value ReservoirObject::close(const Napi::CallbackInfo& info) {
  reservoir_->close();
  return info.Env().Undefined();
}

}  // namespace ndshm
