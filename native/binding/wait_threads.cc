#include "wait_threads.h"

#include <signal.h>

#include <new>

namespace ndshm {

struct WaitThread {
  pthread_t thread{};
  std::atomic<uint32_t> bell{0};  // futex: rung when `job` or `quit` is set
  Job* job = nullptr;
  bool quit = false;
  napi_threadsafe_function finished = nullptr;
  WaitThread* nextIdle = nullptr;
  WaitThread* nextOfAll = nullptr;

  static void* main(void* self) noexcept {
    static_cast<WaitThread*>(self)->loop();
    return nullptr;
  }

  void ring() noexcept {
    bell.fetch_add(1);
    futexWake(bell, 1, kAnyClass);
  }

  void loop() noexcept {
    for (uint32_t heard = 0;; heard++) {
      while (bell.load() == heard) futexWait(bell, heard, kForever, kAnyClass);
      if (quit) return;
      Job* done = job;
      done->run(done->stop_);
      // Only the call below lets the event loop delete the job, so it is still there; and whoever stopped it may give
      // this thread its next job meanwhile, which it then finds by its bell.
      done->finished_.store(1);
      futexWake(done->finished_, 1, kAnyClass);
      napi_call_threadsafe_function(finished, done, napi_tsfn_blocking);
    }
  }
};

bool WaitThreads::prepare() noexcept {
  if (finished_ != nullptr) return true;
  napi_value name = nullptr;
  if (napi_create_string_utf8(env_, "ndshm wait", NAPI_AUTO_LENGTH, &name) != napi_ok) return false;
  if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, onFinished,
                                      &finished_) != napi_ok) {
    return false;
  }
  napi_unref_threadsafe_function(env_, finished_);
  // After the function, whose own clean-up then comes after ours.
  napi_add_env_cleanup_hook(env_, cleanUp, this);
  return true;
}

WaitThread* WaitThreads::idleThread() noexcept {
  if (idle_ != nullptr) {
    WaitThread* thread = idle_;
    idle_ = thread->nextIdle;
    return thread;
  }
  auto* thread = new (std::nothrow) WaitThread();
  if (thread == nullptr) return nullptr;
  thread->finished = finished_;
  // Signals are for the program's own threads; only what a faulting instruction raises has to be taken where it happens.
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const int errnum = pthread_create(&thread->thread, nullptr, WaitThread::main, thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (errnum != 0) {
    delete thread;
    errno = errnum;
    return nullptr;
  }
  thread->nextOfAll = all_;
  all_ = thread;
  return thread;
}

bool WaitThreads::start(Job* job, bool keepsAlive) noexcept {
  errno = EAGAIN;
  WaitThread* thread = prepare() ? idleThread() : nullptr;
  if (thread == nullptr) {
    delete job;
    return false;
  }
  job->thread_ = thread;
  job->next_ = jobs_;
  jobs_ = job;
  keepAlive(*job, keepsAlive);
  thread->job = job;
  thread->ring();
  return true;
}

void WaitThreads::stop(Job& job) noexcept {
  if (job.stopped_) return;
  job.stopped_ = true;
  job.stop_.store(1);
  while (job.finished_.load() == 0) {
    job.disturb();
    futexWait(job.finished_, 0, monotonicNs() + 100'000, kAnyClass);
  }
  retire(job);
}

void WaitThreads::retire(Job& job) noexcept {
  job.thread_->nextIdle = idle_;
  idle_ = job.thread_;
  keepAlive(job, false);
  for (Job** link = &jobs_; *link != nullptr; link = &(*link)->next_) {
    if (*link != &job) continue;
    *link = job.next_;
    break;
  }
}

void WaitThreads::keepAlive(Job& job, bool keeps) noexcept {
  if (job.keepsAlive_ == keeps) return;
  job.keepsAlive_ = keeps;
  keepingAlive_ += keeps ? 1 : -1;
  if (keeps && keepingAlive_ == 1) napi_ref_threadsafe_function(env_, finished_);
  if (!keeps && keepingAlive_ == 0) napi_unref_threadsafe_function(env_, finished_);
}

void WaitThreads::onFinished(napi_env env, napi_value /*callback*/, void* self, void* data) {
  Job* job = static_cast<Job*>(data);
  if (env != nullptr && !job->stopped_) {
    static_cast<WaitThreads*>(self)->retire(*job);
    job->settle(env);
  }
  delete job;
}

void WaitThreads::cleanUp(void* data) noexcept {
  auto* self = static_cast<WaitThreads*>(data);
  while (self->jobs_ != nullptr) self->stop(*self->jobs_);
  for (WaitThread* thread = self->all_; thread != nullptr;) {
    thread->quit = true;
    thread->ring();
    pthread_join(thread->thread, nullptr);
    WaitThread* next = thread->nextOfAll;
    delete thread;
    thread = next;
  }
  self->all_ = self->idle_ = nullptr;
  napi_release_threadsafe_function(self->finished_, napi_tsfn_abort);
  self->finished_ = nullptr;
}

WaitThreads::~WaitThreads() {
  if (finished_ == nullptr) return;
  napi_remove_env_cleanup_hook(env_, cleanUp, this);
  cleanUp(this);
}

}  // namespace ndshm
