// Threads that handle requests: made when they are needed, kept for later ones.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hearth::serve {

class Workers {
 public:
  explicit Workers(int most) : most_(most) {}
  /// Waits for the tasks that run; none is waiting then.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Runs the task on a thread of its own. False when `most` tasks run already, or no thread can be
  /// made. Tasks must not throw.
  [[nodiscard]] bool run(std::function<void()> task);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  int most_;
  int idle_ = 0;  // threads that wait, less the tasks they were woken for
  bool stopping_ = false;
};

}  // namespace hearth::serve
