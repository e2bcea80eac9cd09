// One unit of attention on coded pages (coded_kernels.h): the interface of FloatTiles and PairTiles
// (attention_tiles.h), for tiles that are such pages. Scores come from products of bytes, values
// are summed in rotated space, and end() turns the sums back.
#pragma once

#include <cstdint>

#include "compute/cpu/attention_tiles.h"
#include "compute/cpu/coded_kernels.h"
#include "compute/cpu/coded_pages.h"

namespace hearth::compute::cpu {

/// What all units of a pass have in common.
struct CodedScheme {
  const CodedKernels* kernels = nullptr;
  const PageCoder* keys = nullptr;
  const PageCoder* values = nullptr;  // null: values are the first part of the keys
  bool direct = false;                // whether CodedTiles can; else pages are decoded

  /// The codes of values, and their part of a page.
  [[nodiscard]] const PageCoder& value_coder() const noexcept {
    return values != nullptr ? *values : *keys;
  }
};

class CodedTiles {
 public:
  /// Floats of memory that a unit of so many queries needs for itself, and within attend().
  [[nodiscard]] static std::int64_t own_floats(const CodedScheme& scheme,
                                               std::int64_t queries) noexcept;
  [[nodiscard]] static std::int64_t shared_floats(const CodedScheme& scheme,
                                                  std::int64_t queries) noexcept;

  CodedTiles() = default;
  CodedTiles(const AttentionUnit& unit, const CodedScheme& scheme, const KernelTable& kernels,
             Workspace& own, Workspace shared) noexcept;
  void begin(const AttentionPartial& result) noexcept;
  /// Attention to the cells [first, first + 64), a coded page; `end` is that of the chunk.
  void attend(std::int64_t first, std::int64_t end, const AttentionPartial& result) noexcept;
  void end(const AttentionPartial& result) noexcept;

 private:
  /// Whether the kernels take the codes themselves for so few queries.
  [[nodiscard]] bool takes_codes(QueryRange queries) const noexcept;
  [[nodiscard]] const std::byte* ahead(const Tensor& pool, const PageCoder& coder,
                                       std::int64_t first, std::int64_t end) const noexcept;
  void score(const std::byte* page, const std::byte* next, QueryRange queries) noexcept;
  void weigh(std::int64_t first, QueryRange queries, const AttentionPartial& result) noexcept;
  void add_values(const std::byte* page, const std::byte* next, QueryRange queries,
                  const AttentionPartial& result) noexcept;
  void add_mean(const std::byte* page, QueryRange queries, const AttentionPartial& result) noexcept;

  const AttentionUnit* unit_ = nullptr;
  const CodedScheme* scheme_ = nullptr;
  const KernelTable* kernels_ = nullptr;
  std::int64_t query_size_ = 0, runs_ = 0;
  // Own: the rotated queries, and as bytes [coordinates / 4][queries][4] with a scale and a
  // correction per run.
  float *rotated_ = nullptr, *query_scales_ = nullptr;
  std::int8_t* queries_ = nullptr;
  std::int32_t* query_corrections_ = nullptr;
  // Shared.
  std::byte *keys_ = nullptr, *values_ = nullptr;
  float *scores_ = nullptr, *start_ = nullptr, *shrink_ = nullptr, *factors_ = nullptr;
  CodedWeights weights_;
};

}  // namespace hearth::compute::cpu
