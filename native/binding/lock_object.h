// The JavaScript handle of a core RwLock: translates, decides nothing.
//
// Waits that do not block run as jobs. When one is over, the handle's own property `onEntered` or `onChange`, which
// TypeScript has set, is called with the outcome. (Properties, since a reference from here to those functions, which
// refer to the handle, would keep both for ever.)
#pragma once

#include <napi.h>

#include "../core/segment.h"
#include "wait_threads.h"

namespace ndshm {

class LockJob;

class LockObject : public Napi::ObjectWrap<LockObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit LockObject(const Napi::CallbackInfo& info);
  // Runs at collection, which a pending job prevents, or when the environment ends and all jobs are over.
  ~LockObject() override;
  LockObject(const LockObject&) = delete;
  LockObject& operator=(const LockObject&) = delete;

  // A job of this handle is over, on the JavaScript thread.
  void settled(LockJob& job, const char* callback, const Napi::Value& outcome);

 private:
  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value slot(const Napi::CallbackInfo& info);
  Napi::Value registerReader(const Napi::CallbackInfo& info);
  Napi::Value enter(const Napi::CallbackInfo& info);
  Napi::Value enterLater(const Napi::CallbackInfo& info);
  Napi::Value stopEntering(const Napi::CallbackInfo& info);
  Napi::Value leaveWrite(const Napi::CallbackInfo& info);
  Napi::Value wakeDrainer(const Napi::CallbackInfo& info);
  Napi::Value changesSoon(const Napi::CallbackInfo& info);
  Napi::Value awaitChange(const Napi::CallbackInfo& info);
  Napi::Value awaitChangeLater(const Napi::CallbackInfo& info);
  Napi::Value stopAwaiting(const Napi::CallbackInfo& info);
  Napi::Value notifyChange(const Napi::CallbackInfo& info);
  Napi::Value keepAwaiting(const Napi::CallbackInfo& info);
  Napi::Value isDead(const Napi::CallbackInfo& info);
  Napi::Value abandon(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Value start(Napi::Env env, LockJob* job, LockJob*& place, bool keepsAlive);
  Napi::Value stop(Napi::Env env, LockJob*& place);

  Segment* segment_;
  RwLock* lock_ = nullptr;  // while open
  // One of each at a time.
  LockJob* entering_ = nullptr;
  LockJob* awaiting_ = nullptr;
};

}  // namespace ndshm
