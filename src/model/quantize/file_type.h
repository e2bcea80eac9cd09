// The mixes of tensor types that quantized files come in: Q4_K_M, IQ2_XXS and so on (reference:
// quant-recipes.md section 1).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tensor/dtype.h"

namespace hearth::model::quantize {

/// The values are those of general.file_type, but for the last two, which are ours.
enum class FileType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 7,
  kQ5_0 = 8,
  kQ5_1 = 9,
  kQ2_K = 10,
  kQ3_K_S = 11,
  kQ3_K_M = 12,
  kQ3_K_L = 13,
  kQ4_K_S = 14,
  kQ4_K_M = 15,
  kQ5_K_S = 16,
  kQ5_K_M = 17,
  kQ6_K = 18,
  kIQ2_XXS = 19,
  kIQ2_XS = 20,
  kQ2_K_S = 21,
  kIQ3_XS = 22,
  kIQ3_XXS = 23,
  kIQ1_S = 24,
  kIQ4_NL = 25,
  kIQ3_S = 26,
  kIQ3_M = 27,
  kIQ2_S = 28,
  kIQ2_M = 29,
  kIQ4_XS = 30,
  kIQ1_M = 31,
  kBF16 = 32,
  kTQ1_0 = 36,
  kTQ2_0 = 37,
  kMXFP4_MOE = 38,
  kNVFP4 = 39,
  kQ1_0 = 40,
  kQ2_0 = 41,
  kQ2_EXPERTS = 0x10000,
  kCopy = 0x10001,
};

struct FileTypeInfo {
  FileType type;
  std::string_view name;
  tensor::DType base;      // of everything that no rule treats specially
  std::string_view about;  // a few words for people who choose
};

/// All types, from large to small (those for experts, and copies, last). Bits in `about` are those
/// of a whole 8-billion Llama.
[[nodiscard]] std::span<const FileTypeInfo> all_file_types() noexcept;
[[nodiscard]] const FileTypeInfo& info(FileType type) noexcept;
/// The type called `name` (case-insensitive), also by the short names "Q3_K", "Q4_K", "Q5_K" of
/// medium mixes and "MXFP4". Nothing for other names.
[[nodiscard]] std::optional<FileType> file_type_from_name(std::string_view name) noexcept;

/// What general.file_type says in a file of this type. `with_importance`: an importance matrix was
/// used. Nothing for copies, which keep what they say. Our own mix calls itself the nearest usual
/// one and sets the bit 1024, which says that the field was guessed.
[[nodiscard]] std::optional<std::uint32_t> file_type_key(FileType type,
                                                         bool with_importance) noexcept;

}  // namespace hearth::model::quantize
