// What a format of keys and values does to vectors: written into a page and read again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/kv_coder.h"
#include "tensor/dtype.h"

namespace hearth::measure {

/// The names that KvRounding knows: those of spec::kv_format_names(), and "q4_0", blocks of 32
/// without rotation, which is there to be compared with.
[[nodiscard]] std::vector<std::string> kv_rounding_names();

/// Whole blocks of a stored type, written as a context stores them and read again.
void round_to_blocks(tensor::DType type, std::span<float> values) noexcept;

class KvRounding {
 public:
  /// `name`: one format, for keys as `part` says. Throws Error: no such format, or none for vectors
  /// of `size`.
  KvRounding(std::string_view name, quant::KvPart part, std::int64_t size);

  /// With everything counted.
  [[nodiscard]] double bits_per_value() const noexcept { return bits_; }
  /// Whole pages of 64 cells [cells][size], as attention will read them.
  void round_pages(std::span<float> cells) const;
  /// A single vector, coded by itself: without what pages share (a mean, 8-bit factors).
  /// `unbiased`: with the factor of pages, else with the one of the least squared error.
  void round_vector(std::span<const float> x, bool unbiased, std::span<float> out) const;
  /// Bits of the codes, and whether they are Lloyd-Max's; nothing for other formats.
  [[nodiscard]] std::optional<quant::KvCode> code() const noexcept;

 private:
  quant::KvPart part_;
  std::int64_t size_;
  tensor::DType type_ = tensor::DType::kF16;
  std::optional<quant::KvCoder> coder_;
  double bits_ = 0;
};

}  // namespace hearth::measure
