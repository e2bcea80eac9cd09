// A team of threads that work in lock step: run(body) executes body(thread) on every thread, the
// caller being thread 0, and returns when all are done. Starting and joining costs one barrier, of
// a fraction of a microsecond while the threads are awake; threads that wait longer sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

namespace hearth {

class ThreadTeam {
 public:
  /// Starts threads - 1 threads (1 <= threads <= kMaxThreads; numbers outside are clamped).
  /// Thread i > 0 is kept on the processor with the system's number processors[i] where there is
  /// such an entry (machine/topology.h makes the list); the system chooses among the processors
  /// that the process may use for the others, and for the caller always, whose thread is not the
  /// team's to bind.
  explicit ThreadTeam(int threads, std::span<const int> processors = {});
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam();

  static constexpr int kMaxThreads = 1 << 14;

  [[nodiscard]] int size() const noexcept;

  /// Executes body(int thread) exactly once on every thread. It must not throw. Allocates nothing.
  /// Calls must not overlap or nest.
  template <class Body>
  void run(Body&& body) noexcept {
    run_task(&call<std::remove_reference_t<Body>>, context_of(body), true);
  }

  /// Executes body(int thread) on the caller and, at most once each, on those threads that arrive
  /// before it has returned there: for bodies that take their work piece by piece from a shared
  /// counter until none is left. A thread that the system keeps from running (because of another
  /// program, or because it sleeps) is not waited for.
  template <class Body>
  void share(Body&& body) noexcept {
    run_task(&call<std::remove_reference_t<Body>>, context_of(body), false);
  }

  /// body(begin, end, thread) over [0, count) in chunks that the threads take one by one from a
  /// shared counter.
  template <class Body>
  void for_chunks(std::int64_t count, std::int64_t chunk, Body&& body) noexcept {
    if (count <= chunk || size() == 1) {
      if (count > 0) body(std::int64_t{0}, count, 0);
      return;
    }
    std::atomic<std::int64_t> next{0};
    share([&](int thread) noexcept {
      for (;;) {
        const std::int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= count) return;
        body(begin, begin + chunk < count ? begin + chunk : count, thread);
      }
    });
  }

 private:
  using Task = void (*)(void* context, int thread) noexcept;
  template <class Body>
  static void* context_of(Body& body) noexcept {
    return const_cast<void*>(static_cast<const void*>(&body));
  }
  template <class Body>
  static void call(void* context, int thread) noexcept {
    (*static_cast<Body*>(context))(thread);
  }
  void run_task(Task task, void* context, bool everyone) noexcept;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth
