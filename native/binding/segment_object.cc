#include "segment_object.h"

#include <unistd.h>

#include <new>

#include "convert.h"

namespace ndshm {

namespace {

// Runs once for every buffer: a tick after its detachment, when it is collected, or when the environment ends.
//
// V8 counts the pages as external memory that collecting garbage might free. That is left as it is: correcting it by
// napi_adjust_external_memory aborts the process on Node 24 and later, where the count must never fall below zero and
// V8 takes a buffer's bytes off before any finalizer of ours runs (docs/design.md, 'External memory').
void finalizeBuffer(napi_env /*env*/, void* /*data*/, void* hint) {
  auto* segment = static_cast<Segment*>(hint);
  segment->unmapData();
  segment->release();
}

Napi::String toHex(Napi::Env env, const uint8_t (&id)[16]) {
  char text[2 * sizeof id];
  size_t at = 0;
  for (const uint8_t byte : id) {
    text[at++] = "0123456789abcdef"[byte >> 4];
    text[at++] = "0123456789abcdef"[byte & 15];
  }
  return Napi::String::New(env, text, sizeof text);
}

}  // namespace

Napi::Function SegmentObject::define(Napi::Env env) {
  return DefineClass(env, "Segment",
                     {
                         InstanceMethod<&SegmentObject::allocate>("allocate"),
                         InstanceMethod<&SegmentObject::publish>("publish"),
                         InstanceMethod<&SegmentObject::open>("open"),
                         InstanceMethod<&SegmentObject::openDescriptor>("openDescriptor"),
                         InstanceMethod<&SegmentObject::facts>("facts"),
                         InstanceMethod<&SegmentObject::read>("read"),
                         InstanceMethod<&SegmentObject::attach>("attach"),
                         InstanceMethod<&SegmentObject::buffer>("buffer"),
                         InstanceMethod<&SegmentObject::control>("control"),
                         InstanceMethod<&SegmentObject::peers>("peers"),
                         InstanceMethod<&SegmentObject::share>("share"),
                         InstanceMethod<&SegmentObject::faulted>("faulted"),
                         InstanceMethod<&SegmentObject::ephemeral>("ephemeral"),
                         InstanceMethod<&SegmentObject::unlink>("unlink"),
                         InstanceMethod<&SegmentObject::close>("close"),
                     });
}

SegmentObject::SegmentObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SegmentObject>(info), segment_(new Segment()) {}

SegmentObject::~SegmentObject() { segment_->release(); }

Napi::Value SegmentObject::allocate(const Napi::CallbackInfo& info) {
  NewSegment spec{};
  spec.header = toBytes(info[0]).data;
  spec.dataBytes = toUnsigned(info[1]);
  spec.flags = static_cast<uint32_t>(toUnsigned(info[2]));
  spec.source = toBytes(info[3]).data;
  spec.anonymous = info[4].As<Napi::Boolean>();
  spec.sparse = info[5].As<Napi::Boolean>();
  spec.memberOf = toBytes(info[6]).data;
  return toOutcome(info.Env(), segment_->allocate(spec));
}

Napi::Value SegmentObject::publish(const Napi::CallbackInfo& info) {
  return toOutcome(info.Env(), segment_->publish(Name(info[0]).text(), info[1].As<Napi::Boolean>()));
}

// open(name, needWrite, facts, header) → how many bytes of the file's beginning were put into `header`, or a failure.
Napi::Value SegmentObject::open(const Napi::CallbackInfo& info) {
  return describeOpened(info, segment_->open(Name(info[0]).text(), info[1].As<Napi::Boolean>()));
}

Napi::Value SegmentObject::openDescriptor(const Napi::CallbackInfo& info) {
  return describeOpened(info,
                        segment_->openDescriptor(info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Boolean>()));
}

Napi::Value SegmentObject::describeOpened(const Napi::CallbackInfo& info, const Result<void>& opened) {
  if (!opened) return toFailure(info.Env(), opened.error());
  writeFacts(info[2]);
  const Bytes header = toBytes(info[3]);
  auto count = segment_->read(header.data, header.byteLength, 0);
  if (!count) return toFailure(info.Env(), count.error());
  return Napi::Number::New(info.Env(), static_cast<double>(*count));
}

Napi::Value SegmentObject::facts(const Napi::CallbackInfo& info) {
  writeFacts(info[0]);
  return info.Env().Undefined();
}

// In the order that binding.d.ts names.
void SegmentObject::writeFacts(const Napi::Value& target) {
  auto into = target.As<Napi::Float64Array>();
  const FileFacts& facts = segment_->facts();
  const double values[] = {static_cast<double>(facts.size),      static_cast<double>(facts.allocatedBytes),
                           static_cast<double>(facts.owner),     static_cast<double>(facts.permissions),
                           static_cast<double>(facts.links),     static_cast<double>(facts.inode),
                           static_cast<double>(facts.modifiedAtNs) / 1e6, facts.owner == geteuid() ? 1.0 : 0.0};
  for (size_t index = 0; index < sizeof values / sizeof *values && index < into.ElementLength(); index++) {
    into[index] = values[index];
  }
}

Napi::Value SegmentObject::read(const Napi::CallbackInfo& info) {
  const Bytes into = toBytes(info[0]);
  auto count = segment_->read(into.data, into.byteLength, toUnsigned(info[1]));
  if (!count) return toFailure(info.Env(), count.error());
  return Napi::Number::New(info.Env(), static_cast<double>(*count));
}

Napi::Value SegmentObject::attach(const Napi::CallbackInfo& info) {
  Attachment how{};
  how.mode = static_cast<Mode>(toUnsigned(info[0]));
  how.dataOffset = toUnsigned(info[1]);
  how.dataBytes = toUnsigned(info[2]);
  how.foreign = info[3].As<Napi::Boolean>();
  how.guard = info[4].As<Napi::Boolean>();
  return toOutcome(info.Env(), segment_->attach(how));
}

Napi::Value SegmentObject::buffer(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const auto byteLength = static_cast<size_t>(segment_->dataBytes());
  if (byteLength == 0) return Napi::ArrayBuffer::New(env, 0);
  segment_->retain();
  napi_value buffer = nullptr;
  const napi_status status =
      napi_create_external_arraybuffer(env, segment_->data(), byteLength, finalizeBuffer, segment_, &buffer);
  if (status == napi_ok) return Napi::Value(env, buffer);
  // A runtime that forbids external buffers (Electron) has not taken the finalizer. Any other failure (too many bytes
  // for Node 20) runs it, a tick later.
  if (status == napi_no_external_buffers_allowed) segment_->release();
  if (env.IsExceptionPending()) static_cast<void>(env.GetAndClearPendingException());
  return env.Undefined();
}

// control(dataOffset, dataBytes) → undefined where there is none, [flags, createdAtMs, id, memberOf], or a failure.
Napi::Value SegmentObject::control(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  ControlRecord record;
  auto found = segment_->readControl(toUnsigned(info[0]), toUnsigned(info[1]), record);
  if (!found) return toFailure(env, found.error());
  if (!*found) return env.Undefined();
  const ControlHeader& header = record.header;
  Napi::Array values = Napi::Array::New(env, 4);
  values.Set(0U, Napi::Number::New(env, header.flags));
  values.Set(1U, Napi::Number::New(env, static_cast<double>(header.createdAtNs) / 1e6));
  values.Set(2U, toHex(env, header.segmentId));
  values.Set(3U, record.isMember() ? Napi::Value(toHex(env, record.memberOf)) : env.Null());
  return values;
}

// peers(dataOffset, dataBytes) → an array of rows as `PeerRow` in binding.d.ts says, or a failure.
Napi::Value SegmentObject::peers(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  LivePeer peers[kPeerSlots + 1];
  auto count =
      listPeers(segment_->descriptor(), controlOffset(toUnsigned(info[0]), toUnsigned(info[1])), peers);
  if (!count) return toFailure(env, count.error());
  Napi::Array list = Napi::Array::New(env, *count);
  for (uint32_t index = 0; index < *count; index++) {
    const LivePeer& peer = peers[index];
    Napi::Array row = Napi::Array::New(env, 8);
    row.Set(0U, Napi::Number::New(env, peer.slot));
    row.Set(1U, Napi::Number::New(env, peer.mode));
    row.Set(2U, Napi::Number::New(env, static_cast<double>(peer.pid)));
    row.Set(3U, Napi::Number::New(env, peer.tid));
    row.Set(4U, Napi::Number::New(env, static_cast<double>(peer.attachedAtNs) / 1e6));
    row.Set(5U, Napi::Number::New(env, peer.generation));
    row.Set(6U, Napi::Number::New(env, peer.readerFlag));
    row.Set(7U, Napi::Number::New(env, peer.waitingFor));
    list.Set(index, row);
  }
  return list;
}

Napi::Value SegmentObject::share(const Napi::CallbackInfo& info) {
  auto fd = segment_->share();
  if (!fd) return toFailure(info.Env(), fd.error());
  return Napi::Number::New(info.Env(), fd->release());
}

Napi::Value SegmentObject::faulted(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), segment_->faulted());
}

Napi::Value SegmentObject::ephemeral(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), segment_->ephemeral());
}

Napi::Value SegmentObject::unlink(const Napi::CallbackInfo& info) {
  return toOutcome(info.Env(), segment_->unlink());
}

// close(buffer): leaves the peers, and unmaps if this very buffer could be detached. If its memory has moved on to
// another buffer (transfer), the pages stay until that one's finalizer.
Napi::Value SegmentObject::close(const Napi::CallbackInfo& info) {
  if (info[0].IsArrayBuffer()) {
    auto buffer = info[0].As<Napi::ArrayBuffer>();
    if (segment_->data() != nullptr && buffer.Data() == segment_->data()) {
      if (napi_detach_arraybuffer(info.Env(), buffer) == napi_ok) segment_->unmapData();
    }
  } else {
    segment_->unmapData();  // no buffer was ever made
  }
  segment_->close();
  return info.Env().Undefined();
}

}  // namespace ndshm
