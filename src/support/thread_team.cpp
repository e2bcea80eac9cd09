#include "support/thread_team.h"

#include <sched.h>

#include <thread>
#include <vector>

namespace hearth {
namespace {

inline void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int usable_processors() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

// Long enough to bridge the gaps between the operations of a pass (a pause takes 10 to 40 ns),
// short enough that an idle team costs nothing. With more threads than processors a spinning thread
// only delays the one it waits for.
constexpr int kSpins = 4000;
constexpr int kSpinsWhenCrowded = 16;

}  // namespace

// One run is: the caller publishes the task, bumps `generation` (release) and works; the others,
// who watch `generation` (acquire), work and count `pending` down (release); the caller watches
// `pending` (acquire). Who has spun long enough announces itself in `sleepers` and sleeps in the
// kernel; the waker looks at `sleepers` after its own store. Both sides use sequentially consistent
// operations on the pair (flag, value), so at least one of them sees the other.
struct ThreadTeam::Impl {
  explicit Impl(int threads) : size(threads) {
    spins = threads <= usable_processors() ? kSpins : kSpinsWhenCrowded;
    workers.reserve(static_cast<std::size_t>(threads - 1));
    try {
      for (int thread = 1; thread < threads; ++thread) {
        workers.emplace_back([this, thread] { work(thread); });
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
    task = nullptr;
    release_workers();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }

  void release_workers() noexcept {
    generation.fetch_add(1);
    if (sleepers.load() > 0) generation.notify_all();
  }

  void work(int thread) noexcept {
    std::uint32_t seen = 0;
    for (;;) {
      wait_while(generation, seen, sleepers);
      ++seen;
      if (task == nullptr) return;
      task(context, thread);
      if (pending.fetch_sub(1) == 1 && caller_sleeps.load() > 0) pending.notify_one();
    }
  }

  // Returns when `value` differs from `old`.
  void wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old,
                  std::atomic<int>& sleeping) const noexcept {
    for (int spin = 0; spin < spins; ++spin) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause_cpu();
    }
    sleeping.fetch_add(1);
    while (value.load() == old) value.wait(old);
    sleeping.fetch_sub(1);
  }

  const int size;
  int spins = kSpins;
  std::vector<std::thread> workers;
  Task task = nullptr;
  void* context = nullptr;
  // Apart, so that counting down does not disturb those who still watch for the start.
  alignas(64) std::atomic<std::uint32_t> generation{0};
  std::atomic<int> sleepers{0};
  alignas(64) std::atomic<std::uint32_t> pending{0};
  std::atomic<int> caller_sleeps{0};
};

ThreadTeam::ThreadTeam(int threads) : impl_(std::make_unique<Impl>(threads < 1 ? 1 : threads)) {}

ThreadTeam::~ThreadTeam() = default;

int ThreadTeam::size() const noexcept { return impl_->size; }

void ThreadTeam::run_task(Task task, void* context) noexcept {
  Impl& team = *impl_;
  if (team.size == 1) {
    task(context, 0);
    return;
  }
  team.task = task;
  team.context = context;
  team.pending.store(static_cast<std::uint32_t>(team.size - 1), std::memory_order_relaxed);
  team.release_workers();
  task(context, 0);
  for (;;) {
    const std::uint32_t left = team.pending.load(std::memory_order_acquire);
    if (left == 0) return;
    team.wait_while(team.pending, left, team.caller_sleeps);
  }
}

}  // namespace hearth
