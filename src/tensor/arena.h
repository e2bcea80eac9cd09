// A bump allocator for the activations of one pass: allocation is a pointer increment, a Scope
// gives back everything allocated since it was opened. The high-water mark is what the counting
// backend reports and the planner budgets.
#pragma once

#include <cstddef>
#include <initializer_list>

#include "tensor/tensor.h"

namespace hearth::tensor {

class Arena {
 public:
  /// Uses all of `buffer`, which must outlive the arena.
  explicit Arena(Buffer& buffer) : buffer_(&buffer) {}

  /// A contiguous, uninitialised tensor aligned to 64 bytes. Throws Error when the arena is too
  /// small, which means that the plan that sized it was wrong.
  [[nodiscard]] Tensor allocate(DType dtype, std::initializer_list<std::int64_t> shape);

  [[nodiscard]] std::size_t used() const noexcept { return used_; }
  [[nodiscard]] std::size_t high_water() const noexcept { return high_water_; }

  /// Gives back, on destruction, everything that was allocated since its construction.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(&arena), mark_(arena.used_) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { arena_->used_ = mark_; }

   private:
    Arena* arena_;
    std::size_t mark_;
  };

 private:
  Buffer* buffer_;
  std::size_t used_ = 0;
  std::size_t high_water_ = 0;
};

}  // namespace hearth::tensor
