// Threads that wait on behalf of JavaScript, so that neither its event loop nor libuv's four threads do.
//
// One set for each environment (main thread, worker). A thread that has nothing to wait for sleeps until it is given the
// next wait. Everything here but Job::run belongs to the JavaScript thread.
#pragma once

#include <node_api.h>
#include <pthread.h>

#include <atomic>

#include "../core/rwlock.h"

namespace ndshm {

struct WaitThread;

// One wait. Runs on its thread, then settles on the JavaScript thread, unless it has been stopped there before.
class Job {
 public:
  virtual ~Job() = default;
  // On the waiting thread. Returns soon after `stopFlag()` is set and disturb() was called.
  virtual void run(const StopFlag& stop) noexcept = 0;
  virtual void disturb() noexcept = 0;
  // On the JavaScript thread, after run(). Not called for a job that was stopped. The destructor follows; it may run
  // without an environment.
  virtual void settle(napi_env env) = 0;

 private:
  friend class WaitThreads;
  friend struct WaitThread;
  StopFlag stop_{0};
  std::atomic<uint32_t> finished_{0};
  bool stopped_ = false;
  bool keepsAlive_ = false;
  WaitThread* thread_ = nullptr;
  Job* next_ = nullptr;  // all jobs that have not been settled
};

class WaitThreads {
 public:
  explicit WaitThreads(napi_env env) noexcept : env_(env) {}
  WaitThreads(const WaitThreads&) = delete;
  WaitThreads& operator=(const WaitThreads&) = delete;
  ~WaitThreads();

  // Takes the job over. False = no thread is to be had (errno). `keepsAlive`: the event loop goes on for this wait.
  bool start(Job* job, bool keepsAlive) noexcept;
  // Returns when the job's thread no longer touches it. The job lives on until the event loop has forgotten it.
  void stop(Job& job) noexcept;
  void keepAlive(Job& job, bool keeps) noexcept;

 private:
  static void cleanUp(void* self) noexcept;
  static void onFinished(napi_env env, napi_value callback, void* self, void* job);
  bool prepare() noexcept;
  WaitThread* idleThread() noexcept;
  // The job's thread is free again.
  void retire(Job& job) noexcept;

  napi_env env_;
  napi_threadsafe_function finished_ = nullptr;
  WaitThread* idle_ = nullptr;
  WaitThread* all_ = nullptr;
  Job* jobs_ = nullptr;
  int keepingAlive_ = 0;
};

}  // namespace ndshm
