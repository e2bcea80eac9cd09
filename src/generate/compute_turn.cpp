#include "generate/compute_turn.h"

namespace hearth::generate {

void ComputeTurn::lock() {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = asked_++;
  next_.wait(lock, [&] { return serving_ == ticket; });
}

void ComputeTurn::unlock() noexcept {
  {
    const std::lock_guard lock(mutex_);
    ++serving_;
  }
  // All wake up to look at the number; there are as many as there are models, which is few.
  next_.notify_all();
}

int ComputeTurn::waiting() const noexcept {
  const std::lock_guard lock(mutex_);
  const std::uint64_t unserved = asked_ - serving_;
  return unserved > 1 ? static_cast<int>(unserved - 1) : 0;
}

}  // namespace hearth::generate
