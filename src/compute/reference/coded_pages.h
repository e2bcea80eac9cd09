// Reading cells of raw and coded pages alike.
#pragma once

#include <optional>
#include <vector>

#include "compute/reference/access.h"
#include "quant/kv_coder.h"

namespace hearth::compute::reference {

/// The keys or the values of one KV head. Keeps the page that it decoded last.
class CellReader {
 public:
  /// `coded` may be absent.
  CellReader(KvPart part, const Tensor& raw, const Tensor& coded, const quant::KvCode& code,
             std::int64_t head);
  /// Element i of the cell at `slot` of a page as a page table names it.
  [[nodiscard]] double at(std::int64_t page, std::int64_t slot, std::int64_t i) noexcept;

 private:
  KvPart part_;
  Tensor raw_, coded_;
  std::int64_t head_;
  std::optional<quant::KvCoder> coder_;
  std::vector<float> cells_;
  std::int64_t decoded_ = -1;
};

}  // namespace hearth::compute::reference
