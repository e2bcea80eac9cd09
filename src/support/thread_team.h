// A team of threads that work in lock step: run(body) executes body(thread) once on every thread,
// the caller being thread 0, and returns when all are done. Starting and joining costs one spinning
// barrier; threads that wait longer sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace hearth {

class ThreadTeam {
 public:
  /// Starts threads - 1 threads. `threads` >= 1.
  explicit ThreadTeam(int threads);
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam();

  [[nodiscard]] int size() const noexcept;

  /// body(int thread) must not throw. Allocates nothing. Calls must not overlap or nest.
  template <class Body>
  void run(Body&& body) noexcept {
    run_task(
        [](void* context, int thread) noexcept {
          (*static_cast<std::remove_reference_t<Body>*>(context))(thread);
        },
        &body);
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
    run([&](int thread) noexcept {
      for (;;) {
        const std::int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= count) return;
        body(begin, begin + chunk < count ? begin + chunk : count, thread);
      }
    });
  }

 private:
  using Task = void (*)(void* context, int thread) noexcept;
  void run_task(Task task, void* context) noexcept;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth
