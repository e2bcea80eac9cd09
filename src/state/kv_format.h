// The formats of one memory's pages: what was asked for, as far as this memory can have it.
//
// Rows are stored in raw pages. In a coded memory, whole pages that are neither among the first
// (attention sinks: Xiao et al. 2023, arXiv:2309.17453) nor among the youngest ones are then coded,
// and their raw page is used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "quant/kv_code.h"
#include "spec/kv_format.h"
#include "spec/model_spec.h"
#include "tensor/dtype.h"

namespace hearth::state {

/// The ladder: whole pages at the beginning, and cells at the end, that stay raw.
inline constexpr std::int64_t kSinkPages = 1;
inline constexpr std::int64_t kRecentCells = 128;

/// Why a memory keeps what it keeps.
enum class KvChoice : std::uint8_t {
  kAsked,     // as asked for
  kEdge,      // the ladder: 8 bits in the first and the last layer
  kWindow,    // bounded by its window anyway: 8 bits
  kEncoder,   // of an encoder's output, bounded as well: 8 bits
  kSelected,  // operations that choose cells read it, too, and know plain pages only: 8 bits
  kSize,      // there are no codes for heads of this size: 8 or 16 bits
  kFloat32,   // single precision, whatever is asked for
};
[[nodiscard]] std::string_view reason(KvChoice choice) noexcept;

/// How the keys, or the values, of one memory are kept.
struct PartPages {
  std::int64_t size = 0;                    // elements per cell and head; 0: the memory has none
  tensor::DType raw = tensor::DType::kF16;  // of raw pages
  quant::KvCode code{};                     // of coded ones

  /// Bytes of a page of one head.
  [[nodiscard]] std::size_t raw_bytes() const noexcept;
  [[nodiscard]] std::size_t coded_bytes() const noexcept;
};

struct MemoryFormat {
  PartPages keys, values;
  bool coded = false;  // else all pages are raw
  KvChoice choice = KvChoice::kAsked;
  /// Bytes of a page of all heads, as it is kept in the long run.
  [[nodiscard]] std::size_t page_bytes(std::int64_t kv_heads) const noexcept;
};

/// Throws Error when keys or values of these sizes cannot be kept so.
[[nodiscard]] MemoryFormat memory_format(const spec::KvMemory& memory, const spec::KvFormat& asked);

/// Bytes of KV that every token of a long context adds: those of memories without a window. Not
/// whole where a cell stands for several tokens, or a page has more than its cells.
[[nodiscard]] double kv_bytes_per_token(const spec::ModelSpec& spec, const spec::KvFormat& asked);

}  // namespace hearth::state
