#include "lock_object.h"

#include <new>
#include <utility>

#include "convert.h"
#include "segment_object.h"

namespace ndshm {

namespace {

// When the environment ends this comes before the waiting threads are stopped, so that the words stay for them: the
// handle, which outlives its jobs, is their other user.
void finalizeWords(napi_env /*env*/, void* /*data*/, void* hint) {
  auto* segment = static_cast<Segment*>(hint);
  segment->letGoOfControl();
  segment->release();
}

template <class Outcome>
Napi::Value toNumber(Napi::Env env, Result<Outcome>& outcome) {
  if (!outcome) return toFailure(env, outcome.error());
  return Napi::Number::New(env, static_cast<double>(*outcome));
}

uint64_t toDeadline(const Napi::Value& timeoutMs) {
  const double milliseconds = timeoutMs.As<Napi::Number>().DoubleValue();
  if (!(milliseconds < 1e12)) return kForever;
  return monotonicNs() + static_cast<uint64_t>(milliseconds > 0 ? milliseconds * 1e6 : 0);
}

// Peers as JavaScript lists them: slot and generation by turns.
class PeerIds {
 public:
  explicit PeerIds(const Napi::Value& value) {
    auto pairs = value.As<Napi::Uint32Array>();
    const auto count = static_cast<uint32_t>(pairs.ElementLength() / 2);
    if (count == 0) return;
    ids_ = new (std::nothrow) PeerId[count];
    if (ids_ == nullptr) return;  // the death of these peers is then noticed by others, or at the next wait
    count_ = count;
    for (uint32_t n = 0; n < count; n++) ids_[n] = {pairs[2 * n], pairs[2 * n + 1]};
  }
  PeerIds(const PeerIds&) = delete;
  PeerIds& operator=(const PeerIds&) = delete;
  ~PeerIds() { delete[] ids_; }

  const PeerId* ids() const noexcept { return ids_; }
  uint32_t count() const noexcept { return count_; }

 private:
  PeerId* ids_ = nullptr;
  uint32_t count_ = 0;
};

const StopFlag neverStopped{0};

}  // namespace

class LockJob : public Job {
 public:
  LockJob(LockObject& handle, RwLock& lock) noexcept : handle_(handle), lock_(lock) {}
  void disturb() noexcept override { lock_.disturb(); }
  virtual Napi::Value outcome(Napi::Env env) = 0;

 protected:
  LockObject& handle_;
  RwLock& lock_;
};

namespace {

class EnterJob : public LockJob {
 public:
  EnterJob(LockObject& handle, RwLock& lock, Access access) noexcept : LockJob(handle, lock), access_(access) {}
  void run(const StopFlag& stop) noexcept override { entry_ = lock_.enter(access_, kForever, stop, false); }
  void settle(napi_env env) override { handle_.settled(*this, "onEntered", outcome(env)); }
  Napi::Value outcome(Napi::Env env) override { return toNumber(env, entry_); }

 private:
  Access access_;
  Result<Entry> entry_ = Entry::kNotYet;
};

class ChangeJob : public LockJob {
 public:
  ChangeJob(LockObject& handle, RwLock& lock, uint32_t signal, const Napi::Value& watched)
      : LockJob(handle, lock), signal_(signal), watched_(watched) {}
  void run(const StopFlag& stop) noexcept override {
    change_ = lock_.awaitChange(signal_, watched_.ids(), watched_.count(), kForever, stop);
  }
  void settle(napi_env env) override { handle_.settled(*this, "onChange", outcome(env)); }
  Napi::Value outcome(Napi::Env env) override { return toNumber(env, change_); }

 private:
  uint32_t signal_;
  PeerIds watched_;
  Result<Change> change_ = Change::kNotYet;
};

}  // namespace

Napi::Function LockObject::define(Napi::Env env) {
  return DefineClass(env, "Lock",
                     {
                         InstanceMethod<&LockObject::open>("open"),
                         InstanceMethod<&LockObject::slot>("slot"),
                         InstanceMethod<&LockObject::registerReader>("registerReader"),
                         InstanceMethod<&LockObject::enter>("enter"),
                         InstanceMethod<&LockObject::enterLater>("enterLater"),
                         InstanceMethod<&LockObject::stopEntering>("stopEntering"),
                         InstanceMethod<&LockObject::leaveWrite>("leaveWrite"),
                         InstanceMethod<&LockObject::wakeDrainer>("wakeDrainer"),
                         InstanceMethod<&LockObject::changesSoon>("changesSoon"),
                         InstanceMethod<&LockObject::awaitChange>("awaitChange"),
                         InstanceMethod<&LockObject::awaitChangeLater>("awaitChangeLater"),
                         InstanceMethod<&LockObject::stopAwaiting>("stopAwaiting"),
                         InstanceMethod<&LockObject::notifyChange>("notifyChange"),
                         InstanceMethod<&LockObject::isDead>("isDead"),
                         InstanceMethod<&LockObject::abandon>("abandon"),
                         InstanceMethod<&LockObject::keepAwaiting>("keepAwaiting"),
                         InstanceMethod<&LockObject::close>("close"),
                     });
}

LockObject::LockObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<LockObject>(info),
      segment_(Napi::ObjectWrap<SegmentObject>::Unwrap(info[0].As<Napi::Object>())->segment()) {
  segment_->retain();
}

LockObject::~LockObject() {
  if (lock_ != nullptr) segment_->letGoOfControl();
  delete lock_;
  segment_->release();
}

// open() → the control block as an ArrayBuffer; undefined where there is none, or a failure. Once.
Napi::Value LockObject::open(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto mapped = segment_->mapControl(2);  // the buffer, and this handle
  if (!mapped) return toFailure(env, mapped.error());
  if (!*mapped) return env.Undefined();
  lock_ = new (std::nothrow) RwLock(segment_->control(), segment_->descriptor(), segment_->slot());
  if (lock_ == nullptr) return toFailure(env, systemError("malloc", ENOMEM));
  segment_->retain();
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env, &segment_->control(), kControlBytes, finalizeWords,
                                                              segment_, &buffer);
  if (status == napi_ok) return Napi::Value(env, buffer);
  segment_->release();
  return toFailure(env, systemError("mmap", ENOTSUP));
}

Napi::Value LockObject::slot(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), segment_->slot()); }

Napi::Value LockObject::registerReader(const Napi::CallbackInfo& info) {
  lock_->registerReader();
  return info.Env().Undefined();
}

// enter(access, timeoutMs, comesAgain) → Entry, or a failure
Napi::Value LockObject::enter(const Napi::CallbackInfo& info) {
  const auto access = static_cast<Access>(toUnsigned(info[0]));
  auto entry = lock_->enter(access, toDeadline(info[1]), neverStopped, info[2].As<Napi::Boolean>());
  return toNumber(info.Env(), entry);
}

Napi::Value LockObject::enterLater(const Napi::CallbackInfo& info) {
  return start(info.Env(), new EnterJob(*this, *lock_, static_cast<Access>(toUnsigned(info[0]))), entering_, true);
}

Napi::Value LockObject::stopEntering(const Napi::CallbackInfo& info) { return stop(info.Env(), entering_); }

Napi::Value LockObject::leaveWrite(const Napi::CallbackInfo& info) {
  return toOutcome(info.Env(), lock_->leaveWrite(info[0].As<Napi::Boolean>()));
}

Napi::Value LockObject::wakeDrainer(const Napi::CallbackInfo& info) {
  lock_->wakeDrainer();
  return info.Env().Undefined();
}

Napi::Value LockObject::changesSoon(const Napi::CallbackInfo& info) {
  const auto signal = static_cast<uint32_t>(info[0].As<Napi::Number>().Int32Value());
  return Napi::Boolean::New(info.Env(), lock_->changesSoon(signal));
}

// awaitChange(signal, watched, timeoutMs) → Change, or a failure
Napi::Value LockObject::awaitChange(const Napi::CallbackInfo& info) {
  const PeerIds watched(info[1]);
  const auto signal = static_cast<uint32_t>(info[0].As<Napi::Number>().Int32Value());
  auto change = lock_->awaitChange(signal, watched.ids(), watched.count(), toDeadline(info[2]), neverStopped);
  return toNumber(info.Env(), change);
}

// awaitChangeLater(signal, watched, keepsAlive)
Napi::Value LockObject::awaitChangeLater(const Napi::CallbackInfo& info) {
  const auto signal = static_cast<uint32_t>(info[0].As<Napi::Number>().Int32Value());
  return start(info.Env(), new ChangeJob(*this, *lock_, signal, info[1]), awaiting_, info[2].As<Napi::Boolean>());
}

Napi::Value LockObject::keepAwaiting(const Napi::CallbackInfo& info) {
  if (awaiting_ != nullptr) info.Env().GetInstanceData<WaitThreads>()->keepAlive(*awaiting_, info[0].As<Napi::Boolean>());
  return info.Env().Undefined();
}

Napi::Value LockObject::abandon(const Napi::CallbackInfo& info) {
  lock_->abandon();
  return info.Env().Undefined();
}

Napi::Value LockObject::stopAwaiting(const Napi::CallbackInfo& info) { return stop(info.Env(), awaiting_); }

Napi::Value LockObject::notifyChange(const Napi::CallbackInfo& info) {
  lock_->notifyChange(info[0].IsNumber() ? info[0].As<Napi::Number>().Int32Value() : kEverybody);
  return info.Env().Undefined();
}

// isDead(slot, generation) → boolean, or a failure
Napi::Value LockObject::isDead(const Napi::CallbackInfo& info) {
  auto dead = lock_->isDead({static_cast<uint32_t>(toUnsigned(info[0])), static_cast<uint32_t>(toUnsigned(info[1]))});
  if (!dead) return toFailure(info.Env(), dead.error());
  return Napi::Boolean::New(info.Env(), *dead);
}

Napi::Value LockObject::start(Napi::Env env, LockJob* job, LockJob*& place, bool keepsAlive) {
  if (!env.GetInstanceData<WaitThreads>()->start(job, keepsAlive)) {
    return toFailure(env, systemError("pthread_create"));
  }
  place = job;
  Ref();  // not to be collected while somebody waits
  return env.Undefined();
}

// → the outcome, which may be that the wait had ended already; undefined if there was none.
Napi::Value LockObject::stop(Napi::Env env, LockJob*& place) {
  if (place == nullptr) return env.Undefined();
  LockJob* job = std::exchange(place, nullptr);
  env.GetInstanceData<WaitThreads>()->stop(*job);
  Unref();
  return job->outcome(env);
}

void LockObject::settled(LockJob& job, const char* callback, const Napi::Value& outcome) {
  if (entering_ == &job) entering_ = nullptr;
  if (awaiting_ == &job) awaiting_ = nullptr;
  const Napi::Object self = Value();
  Unref();
  // Where the environment is about to end (worker.terminate()) both calls fail, and nobody is left to be told. What
  // the callback throws is reported by the environment.
  napi_value function = nullptr;
  const napi_value argument = outcome;
  if (napi_get_named_property(Env(), self, callback, &function) != napi_ok) return;
  static_cast<void>(napi_call_function(Env(), self, function, 1, &argument, nullptr));
}

// close(words): ends all waits, and unmaps the words if this buffer could be detached. Before the segment's own close.
Napi::Value LockObject::close(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  stop(env, entering_);
  stop(env, awaiting_);
  delete std::exchange(lock_, nullptr);
  if (napi_detach_arraybuffer(env, info[0]) == napi_ok) segment_->unmapControl();
  return env.Undefined();
}

}  // namespace ndshm
