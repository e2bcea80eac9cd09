#include "support/thread_team.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace hearth {
namespace {

inline void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // a true delay; "yield" does nothing on most processors
#endif
}

int usable_processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Best effort: a processor may have been taken from us since the list was made.
void bind_to(std::thread& thread, int processor) noexcept {
  if (processor < 0 || processor >= CPU_SETSIZE) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
}

// A thread that waits spins for about as long as the gaps between the operations of a pass last;
// then it offers its processor to others; then it sleeps, so that an idle team costs nothing and a
// processor that waits for a thread which another program displaced becomes free to take that
// thread over (bench/thread_team.cpp measures this).
using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds kSpin{50};
constexpr std::chrono::microseconds kSpinAndYield{200};

}  // namespace

// One run is: the caller writes the task, opens the `tally`, counts `announced` up and works. The
// others, who watch `announced`, join by counting themselves into the tally; who finds it closed
// takes back the entry and waits for the next run. The caller waits until as many are done as have
// joined (all, if it needs everyone), having closed the tally. Whoever joined an open tally is
// waited for, so it may read the task; nobody else looks at it.
//
// Who has waited long enough announces itself in a counter of sleepers and sleeps in the kernel;
// the waker looks at the counter after its own store. Both sides use sequentially consistent
// operations on the pair (counter, value), so at least one of them sees the other.
struct ThreadTeam::Impl {
  // The tally: closed (1 bit), parity of the run (1 bit), threads that joined (15 bits), and of
  // these the ones that are done (15 bits).
  static constexpr std::uint32_t kDone = 1;
  static constexpr std::uint32_t kJoined = 1 << 15;
  static constexpr std::uint32_t kOdd = 1U << 30;
  static constexpr std::uint32_t kClosed = 1U << 31;
  static std::uint32_t joined(std::uint32_t tally) noexcept { return tally / kJoined % kJoined; }
  static std::uint32_t done(std::uint32_t tally) noexcept { return tally % kJoined; }

  Impl(int threads, std::span<const int> processors)
      : size(threads), crowded(threads > usable_processors()) {
    workers.reserve(static_cast<std::size_t>(threads - 1));
    try {
      for (int thread = 1; thread < threads; ++thread) {
        workers.emplace_back([this, thread] { work(thread); });
        if (static_cast<std::size_t>(thread) < processors.size()) {
          bind_to(workers.back(), processors[static_cast<std::size_t>(thread)]);
        }
      }
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void stop() noexcept {
    stopping.store(true);
    announced.fetch_add(1);
    announced.notify_all();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }

  void work(int thread) noexcept {
    std::uint32_t seen = 0;  // the number of the last run that this thread joined or missed
    const auto news = [&](std::uint32_t number) {
      // Not just "differs": this thread can have joined a run that is not yet announced. The end is
      // looked at by itself: a thread that takes back a late entry may have counted it as a run.
      return static_cast<std::int32_t>(number - seen) > 0 || stopping.load();
    };
    for (;;) {
      wait_until(news, announced, sleepers);
      if (stopping.load()) return;
      const std::uint32_t before = tally.fetch_add(kJoined);
      const std::uint32_t number = announced.load();
      if ((before & kClosed) != 0) {
        seen = number;
        leave(0U - kJoined);
        continue;
      }
      // An open run cannot pass while we are in it, and it is the announced one or the next.
      seen = (number % 2 != 0) == ((before & kOdd) != 0) ? number : number + 1;
      task(context, thread);
      leave(kDone);
    }
  }

  void leave(std::uint32_t change) noexcept {
    tally.fetch_add(change);
    if (caller_sleeps.load() > 0) tally.notify_one();
  }

  void run(Task given, void* given_context, bool everyone) noexcept {
    task = given;
    context = given_context;
    const std::uint32_t number = announced.load(std::memory_order_relaxed) + 1;
    const std::uint32_t open = number % 2 != 0 ? kOdd : 0;
    // Late ones may be about to take back their entry into the last run's tally.
    for (;;) {
      std::uint32_t closed = settled(0);
      if (tally.compare_exchange_strong(closed, open)) break;
    }
    announced.store(number);
    if (sleepers.load() > 0) announced.notify_all();
    given(given_context, 0);
    if (everyone) settled(static_cast<std::uint32_t>(size - 1));
    tally.fetch_or(kClosed);
    settled(0);
  }

  // Waits until at least `least` threads joined and all that joined are done; returns the tally.
  std::uint32_t settled(std::uint32_t least) noexcept {
    return wait_until(
        [least](std::uint32_t value) {
          return joined(value) >= least && joined(value) == done(value);
        },
        tally, caller_sleeps);
  }

  // Waits until ready(value) and returns that value. A thread may only go to sleep on a value that
  // it has looked at: between two looks the value can become ready, unready and what it was at
  // first.
  template <class Ready>
  std::uint32_t wait_until(Ready ready, const std::atomic<std::uint32_t>& value,
                           std::atomic<int>& sleeping) const noexcept {
    std::uint32_t seen = value.load();
    // With more threads than processors a spinning thread only delays the one it waits for.
    if (!ready(seen) && !crowded) seen = spin_until(ready, value);
    if (ready(seen)) return seen;
    sleeping.fetch_add(1);
    while (!ready(seen = value.load())) value.wait(seen);
    sleeping.fetch_sub(1);
    return seen;
  }

  // Returns the value that it saw last, ready or not.
  template <class Ready>
  static std::uint32_t spin_until(Ready ready, const std::atomic<std::uint32_t>& value) noexcept {
    constexpr int kLooksPerClock = 32;
    const Clock::time_point start = Clock::now();
    for (;;) {
      std::uint32_t seen = 0;
      for (int look = 0; look < kLooksPerClock; ++look) {
        seen = value.load(std::memory_order_acquire);
        if (ready(seen)) return seen;
        pause_cpu();
      }
      const auto waited = Clock::now() - start;
      if (waited > kSpinAndYield) return seen;
      if (waited > kSpin) std::this_thread::yield();
    }
  }

  const int size;
  const bool crowded;
  std::vector<std::thread> workers;
  Task task = nullptr;
  void* context = nullptr;
  std::atomic<bool> stopping{false};
  // Apart, so that counting in and out does not disturb those who still watch for the start.
  alignas(64) std::atomic<std::uint32_t> announced{0};
  std::atomic<int> sleepers{0};
  alignas(64) std::atomic<std::uint32_t> tally{kClosed};
  std::atomic<int> caller_sleeps{0};
};

ThreadTeam::ThreadTeam(int threads, std::span<const int> processors)
    : impl_(std::make_unique<Impl>(std::clamp(threads, 1, kMaxThreads), processors)) {}

ThreadTeam::~ThreadTeam() = default;

int ThreadTeam::size() const noexcept { return impl_->size; }

void ThreadTeam::run_task(Task task, void* context, bool everyone) noexcept {
  if (impl_->size == 1) {
    task(context, 0);
    return;
  }
  impl_->run(task, context, everyone);
}

}  // namespace hearth
