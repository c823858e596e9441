// The JavaScript handle of a core Reservoir: translates, decides nothing.
#pragma once

#include <napi.h>

#include "../core/reservoir.h"

namespace ndshm {

class ReservoirObject : public Napi::ObjectWrap<ReservoirObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ReservoirObject(const Napi::CallbackInfo& info);
  // Runs at collection or when the environment ends. Buffers over the pages may live on.
  ~ReservoirObject() override;
  ReservoirObject(const ReservoirObject&) = delete;
  ReservoirObject& operator=(const ReservoirObject&) = delete;

 private:
  friend class PrefaultJob;
  Napi::Value fill(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value prefault(const Napi::CallbackInfo& info);
  Napi::Value punch(const Napi::CallbackInfo& info);
  Napi::Value map(const Napi::CallbackInfo& info);
  Napi::Value unmap(const Napi::CallbackInfo& info);
  Napi::Value isLeased(const Napi::CallbackInfo& info);
  Napi::Value faulted(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  void prefaulted(double number, const Napi::Value& outcome);

  Reservoir* reservoir_;
};

}  // namespace ndshm
