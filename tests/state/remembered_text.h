// A model of no weights: what a sequence remembers of a text is a function of its tokens, so that
// it can be seen whether a memory is the right one.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "compute/reference/reference_backend.h"
#include "state/memory.h"
#include "state/sequence.h"

namespace hearth::testing {

enum class Kind { kDense, kWindow, kRecurrent, kHybrid };

class RememberedText {
 public:
  static constexpr std::int64_t kWindow = 100;

  explicit RememberedText(Kind kind, std::int64_t context = 4096, std::int64_t sequences = 4,
                          std::int64_t snapshots = 64, std::int64_t window = kWindow,
                          std::int64_t prefix_cells = -1)
      : kind_(kind) {
    spec::ModelSpec spec;
    if (kind != Kind::kRecurrent) spec.kv_memories.push_back({1, 2, 2, {}});
    if (windowed()) spec.kv_memories.push_back({1, 2, 2, {1, window, false}});
    if (recurrent()) spec.recurrent_memories.push_back({2, 3, 1, 2, 2});
    state::MemoryLimits limits;
    limits.context = context;
    limits.sequences = sequences;
    limits.batch_rows = 512;
    limits.kv_type = tensor::DType::kF32;
    limits.snapshots = snapshots;
    // A window lies in three pages.
    limits.prefix_cells = prefix_cells >= 0 ? prefix_cells : snapshots * 3 * state::kPageCells;
    pool_ = std::make_unique<state::MemoryPool>(*backend_, spec, limits);
  }

  [[nodiscard]] state::MemoryPool& pool() { return *pool_; }
  [[nodiscard]] bool windowed() const { return kind_ == Kind::kWindow || kind_ == Kind::kHybrid; }
  [[nodiscard]] bool recurrent() const {
    return kind_ == Kind::kRecurrent || kind_ == Kind::kHybrid;
  }

  /// One pass: the tokens of `text` from sequence.length() to `until`.
  void evaluate(state::SequenceState& sequence, std::span<const std::int32_t> text,
                std::int64_t until) {
    const std::int64_t begin = sequence.length();
    sequence.grow(until - begin);
    for (std::int64_t cell = begin; cell < until; ++cell) {
      const float value = value_after(text, cell + 1);
      for (std::size_t m = 0; m < memories(); ++m) write_cell(sequence, m, cell, value);
    }
    if (recurrent()) {
      const float value = value_after(text, until);
      const std::vector<float> values(4, value);
      backend_->write(pool_->scan(0).rows(sequence.next_slot(), 1), values.data());
    }
    sequence.commit();
  }

  /// Whether everything that the next row reads is as if `text` had been evaluated.
  [[nodiscard]] bool right(const state::SequenceState& sequence,
                           std::span<const std::int32_t> text) {
    const std::int64_t length = sequence.length();
    for (std::size_t m = 0; m < memories(); ++m) {
      const std::int64_t window = pool_->groups()[pool_->group_of(static_cast<int>(m))].window;
      const std::int64_t first = window == 0 ? 0 : std::max<std::int64_t>(0, length - window + 1);
      for (std::int64_t cell = first; cell < length; ++cell) {
        if (read_cell(sequence, m, cell) != value_after(text, cell + 1)) return false;
      }
    }
    if (!recurrent() || length == 0) return true;
    std::vector<float> values(4);
    backend_->read(pool_->scan(0).rows(sequence.state_slot(), 1), values.data());
    return values[3] == value_after(text, length);
  }

  /// Everything that was taken was given back.
  [[nodiscard]] bool all_free() const {
    for (std::size_t g = 0; g < pool_->groups().size(); ++g) {
      if (pool_->free_pages(g) != pool_->pages(g)) return false;
    }
    return pool_->free_slots() == pool_->slots();
  }

  static std::vector<std::int32_t> random_text(std::size_t size, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::int32_t> text(size);
    for (std::int32_t& token : text) token = static_cast<std::int32_t>(random() % 5000);
    return text;
  }

 private:
  [[nodiscard]] std::size_t memories() const {
    return (kind_ == Kind::kRecurrent ? 0U : 1U) + (windowed() ? 1U : 0U);
  }

  /// A hash of the first `length` tokens that a float holds exactly.
  float value_after(std::span<const std::int32_t> text, std::int64_t length) {
    if (!std::equal(hashed_.begin(), hashed_.end(), text.begin(), text.end())) {
      hashed_.assign(text.begin(), text.end());
      values_ = {1};
      for (const std::int32_t token : text)
        values_.push_back((values_.back() * 69069U + static_cast<std::uint32_t>(token) + 1) &
                          0xFFFFFFU);
    }
    return static_cast<float>(values_[static_cast<std::size_t>(length)]);
  }

  tensor::Tensor slot(const state::SequenceState& sequence, std::size_t memory,
                      std::int64_t cell) const {
    const auto group = pool_->group_of(static_cast<int>(memory));
    const std::int32_t page =
        sequence.pages(group)[static_cast<std::size_t>(cell / state::kPageCells)];
    const tensor::Tensor keys = pool_->keys(static_cast<int>(memory));
    const auto index =
        static_cast<std::size_t>((page * state::kPageCells + cell % state::kPageCells) * 2);
    return tensor::Tensor::contiguous(keys.buffer, keys.offset + index * sizeof(float),
                                      tensor::DType::kF32, {2});
  }
  void write_cell(const state::SequenceState& sequence, std::size_t memory, std::int64_t cell,
                  float value) {
    const float values[2] = {value, value + static_cast<float>(memory)};
    backend_->write(slot(sequence, memory, cell), values);
  }
  float read_cell(const state::SequenceState& sequence, std::size_t memory, std::int64_t cell) {
    float values[2] = {};
    backend_->read(slot(sequence, memory, cell), values);
    return values[1] == values[0] + static_cast<float>(memory) ? values[0] : -1;
  }

  Kind kind_;
  std::unique_ptr<compute::Backend> backend_ = compute::make_reference_backend();
  std::unique_ptr<state::MemoryPool> pool_;
  std::vector<std::int32_t> hashed_;
  std::vector<std::uint32_t> values_;
};

}  // namespace hearth::testing
