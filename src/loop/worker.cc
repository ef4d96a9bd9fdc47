#include "loop/worker.h"

#include "base/quiet_thread.h"

namespace gd2fs {

void Job::deliver() {
  loop_->complete(done, std::move(result_));
}

void InlineWorker::submit(Loop& loop, Job& job) {
  loop.complete(job.done, job.run());
}

ThreadWorker::ThreadWorker(std::string name) : name_(std::move(name)) {
  thread_ = start_quiet_thread(name_.c_str(), [this] { run(); });
}

ThreadWorker::~ThreadWorker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ThreadWorker::submit(Loop& loop, Job& job) {
  {
    std::lock_guard lock(mutex_);
    if (jobs_waiting_ < kJobsMax) {
      job.loop_ = &loop;
      job.mail_.bind<&Job::deliver>(&job);
      jobs_.push_back(job);
      ++jobs_waiting_;
      wake_.notify_one();
      return;
    }
  }
  loop.complete(job.done, Status(StatusCode::busy, name_ + ": jobs_max reached"));
}

void ThreadWorker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    Job* job = jobs_.pop_front();
    if (job == nullptr) {
      if (stopping_) return;
      wake_.wait(lock);
      continue;
    }
    --jobs_waiting_;
    lock.unlock();
    job->result_ = job->run();
    job->loop_->post(job->mail_);
    lock.lock();
  }
}

}  // namespace gd2fs
