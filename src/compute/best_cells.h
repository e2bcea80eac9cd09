// The choice of the cells of the largest scores. Scores of an indexer are sums of clipped products,
// so that many are equal (zero), and which of the equal ones are chosen is part of what a model
// computes. The rule here is that of a standard partial sort: candidates pass in ascending order
// through a binary heap of the best so far, whose top is the worst, and one that is strictly better
// takes the place of the top (Williams 1964, with Floyd's sift to the bottom and back up). No
// document states the rule: it was found by comparing with the reference logits of three models,
// which "the lower index wins" and "the higher index wins" do not reproduce.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace hearth::compute {

template <class Score>
class BestCells {
 public:
  struct Candidate {
    Score score = 0;
    std::int32_t index = 0;
  };

  /// Keeps the best `limit` > 0 candidates in `memory`.
  BestCells(Candidate* memory, std::int64_t limit) noexcept : heap_(memory), limit_(limit) {}

  /// Indices must ascend. NaN counts as the smallest score.
  void add(Score score, std::int32_t index) noexcept {
    if (std::isnan(score)) score = -std::numeric_limits<Score>::infinity();
    if (count_ < limit_) {
      heap_[count_++] = {score, index};
      if (count_ == limit_) {
        for (std::int64_t i = limit_ / 2 - 1; i >= 0; --i) sift(i, heap_[i]);
      }
    } else if (score > heap_[0].score) {
      sift(0, {score, index});
    }
  }
  /// Sorts by index; the chosen ones are then [begin(), end()). Nothing may be added any more.
  void finish() noexcept {
    std::sort(heap_, heap_ + count_,
              [](const Candidate& a, const Candidate& b) { return a.index < b.index; });
  }
  [[nodiscard]] const Candidate* begin() const noexcept { return heap_; }
  [[nodiscard]] const Candidate* end() const noexcept { return heap_ + count_; }

 private:
  /// Puts `value` into the heap below the free place `hole`.
  void sift(std::int64_t hole, Candidate value) noexcept {
    const std::int64_t top = hole;
    // Down to the bottom along the worse children (of equal ones the right), then up again.
    for (std::int64_t child = 2 * hole + 1; child < limit_; child = 2 * hole + 1) {
      if (child + 1 < limit_ && !(heap_[child + 1].score > heap_[child].score)) ++child;
      heap_[hole] = heap_[child];
      hole = child;
    }
    for (std::int64_t parent = (hole - 1) / 2; hole > top && heap_[parent].score > value.score;
         parent = (hole - 1) / 2) {
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = value;
  }

  Candidate* heap_;
  std::int64_t limit_, count_ = 0;
};

}  // namespace hearth::compute
