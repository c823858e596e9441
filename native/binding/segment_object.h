// The JavaScript handle of a core Segment: translates, decides nothing.
#pragma once

#include <napi.h>

#include "../core/segment.h"

namespace ndshm {

class SegmentObject : public Napi::ObjectWrap<SegmentObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SegmentObject(const Napi::CallbackInfo& info);
  // Runs at collection or when the environment ends. Only lets go: buffers over the pages may live on.
  ~SegmentObject() override;
  SegmentObject(const SegmentObject&) = delete;
  SegmentObject& operator=(const SegmentObject&) = delete;

  Segment* segment() const noexcept { return segment_; }

 private:
  Napi::Value allocate(const Napi::CallbackInfo& info);
  Napi::Value publish(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value openDescriptor(const Napi::CallbackInfo& info);
  Napi::Value facts(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value attach(const Napi::CallbackInfo& info);
  Napi::Value buffer(const Napi::CallbackInfo& info);
  Napi::Value control(const Napi::CallbackInfo& info);
  Napi::Value peers(const Napi::CallbackInfo& info);
  Napi::Value share(const Napi::CallbackInfo& info);
  Napi::Value faulted(const Napi::CallbackInfo& info);
  Napi::Value ephemeral(const Napi::CallbackInfo& info);
  Napi::Value unlink(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Value describeOpened(const Napi::CallbackInfo& info, const Result<void>& opened);
  void writeFacts(const Napi::Value& target);

  Segment* segment_;
};

}  // namespace ndshm
