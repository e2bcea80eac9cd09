#include "serve/waiting_line.h"

#include <chrono>
#include <string>

#include "generate/scheduler.h"

namespace hearth::serve {
namespace {

/// How soon whoever waits notices that its client is gone.
constexpr std::chrono::milliseconds kStep{200};
/// What is asked of clients that find the line full.
constexpr std::chrono::seconds kRetryAfter{5};

}  // namespace

WaitingLine::Turn WaitingLine::wait(const std::function<void()>& check) {
  std::unique_lock lock(mutex_);
  if (places_.size() > most_) {
    throw generate::QueueFull(std::to_string(most_) + " requests wait already", kRetryAfter);
  }
  const auto place = places_.insert(places_.end(), 0);
  while (place != places_.begin()) {
    left_.wait_for(lock, kStep);
    lock.unlock();
    try {
      if (check) check();
    } catch (...) {
      leave(place);
      throw;
    }
    lock.lock();
  }
  return Turn(*this, place);
}

void WaitingLine::leave(std::list<char>::iterator place) noexcept {
  {
    const std::lock_guard lock(mutex_);
    places_.erase(place);
  }
  left_.notify_all();
}

}  // namespace hearth::serve
