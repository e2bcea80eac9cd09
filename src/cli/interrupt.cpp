#include "cli/interrupt.h"

namespace hearth::cli {
namespace {

// A signal handler can reach nothing but static storage.
std::atomic<bool> interrupt_flag{false};
std::atomic<bool> second_interrupt_ends{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_interrupt(int signal_number) {
  if (interrupt_flag.exchange(true) && second_interrupt_ends.load()) {
    std::signal(signal_number, SIG_DFL);
    std::raise(signal_number);
  }
}

}  // namespace

InterruptGuard::InterruptGuard(bool second_ends) {
  interrupt_flag.store(false);
  second_interrupt_ends.store(second_ends);
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &previous_, nullptr); }

const std::atomic<bool>& InterruptGuard::flag() noexcept { return interrupt_flag; }

void InterruptGuard::clear() noexcept { interrupt_flag.store(false); }

}  // namespace hearth::cli
