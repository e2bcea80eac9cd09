#include "model/quantize/file_type.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace hearth::model::quantize {
namespace {

using tensor::DType;

constexpr std::array kTypes = {
    FileTypeInfo{FileType::kF32, "F32", DType::kF32, "32-bit floats"},
    FileTypeInfo{FileType::kF16, "F16", DType::kF16, "16-bit floats"},
    FileTypeInfo{FileType::kBF16, "BF16", DType::kBF16, "16-bit floats of a wide range"},
    FileTypeInfo{FileType::kQ8_0, "Q8_0", DType::kQ8_0, "8.5 bits: as good as the original"},
    FileTypeInfo{FileType::kQ6_K, "Q6_K", DType::kQ6_K, "6.6 bits: hardly a difference"},
    FileTypeInfo{FileType::kQ5_1, "Q5_1", DType::kQ5_1, "6.0 bits; older, prefer Q5_K_M"},
    FileTypeInfo{FileType::kQ5_K_M, "Q5_K_M", DType::kQ5_K, "5.7 bits: very good"},
    FileTypeInfo{FileType::kQ5_K_S, "Q5_K_S", DType::kQ5_K, "5.6 bits"},
    FileTypeInfo{FileType::kQ5_0, "Q5_0", DType::kQ5_0, "5.6 bits; older, prefer Q5_K_S"},
    FileTypeInfo{FileType::kQ4_1, "Q4_1", DType::kQ4_1, "5.1 bits; older, prefer Q4_K_M"},
    FileTypeInfo{FileType::kQ4_K_M, "Q4_K_M", DType::kQ4_K, "4.9 bits: the usual choice"},
    FileTypeInfo{FileType::kQ4_K_S, "Q4_K_S", DType::kQ4_K, "4.7 bits"},
    FileTypeInfo{FileType::kQ4_0, "Q4_0", DType::kQ4_0, "4.7 bits; older, prefer Q4_K_S"},
    FileTypeInfo{FileType::kIQ4_NL, "IQ4_NL", DType::kIQ4_NL, "4.7 bits, for odd widths"},
    FileTypeInfo{FileType::kNVFP4, "NVFP4", DType::kNVFP4, "4.6 bits, 4-bit floats"},
    FileTypeInfo{FileType::kIQ4_XS, "IQ4_XS", DType::kIQ4_XS, "4.4 bits"},
    FileTypeInfo{FileType::kQ3_K_L, "Q3_K_L", DType::kQ3_K, "4.3 bits"},
    FileTypeInfo{FileType::kQ3_K_M, "Q3_K_M", DType::kQ3_K, "4.0 bits: where memory is short"},
    FileTypeInfo{FileType::kIQ3_M, "IQ3_M", DType::kIQ3_S, "3.8 bits"},
    FileTypeInfo{FileType::kIQ3_S, "IQ3_S", DType::kIQ3_S, "3.7 bits"},
    FileTypeInfo{FileType::kQ3_K_S, "Q3_K_S", DType::kQ3_K, "3.6 bits"},
    FileTypeInfo{FileType::kIQ3_XS, "IQ3_XS", DType::kIQ3_S, "3.5 bits, needs --imatrix"},
    FileTypeInfo{FileType::kIQ3_XXS, "IQ3_XXS", DType::kIQ3_XXS, "3.3 bits, needs --imatrix"},
    FileTypeInfo{FileType::kQ2_K, "Q2_K", DType::kQ2_K, "3.2 bits"},
    FileTypeInfo{FileType::kQ2_K_S, "Q2_K_S", DType::kQ2_K, "3.0 bits, needs --imatrix"},
    FileTypeInfo{FileType::kIQ2_M, "IQ2_M", DType::kIQ2_S, "2.9 bits, needs --imatrix"},
    FileTypeInfo{FileType::kIQ2_S, "IQ2_S", DType::kIQ2_XS, "2.7 bits, needs --imatrix"},
    FileTypeInfo{FileType::kQ2_0, "Q2_0", DType::kQ2_0, "2.7 bits, for models of four levels"},
    FileTypeInfo{FileType::kIQ2_XS, "IQ2_XS", DType::kIQ2_XS, "2.6 bits, needs --imatrix"},
    FileTypeInfo{FileType::kTQ2_0, "TQ2_0", DType::kTQ2_0, "2.5 bits, for ternary models"},
    FileTypeInfo{FileType::kIQ2_XXS, "IQ2_XXS", DType::kIQ2_XXS, "2.4 bits, needs --imatrix"},
    FileTypeInfo{FileType::kTQ1_0, "TQ1_0", DType::kTQ1_0, "2.2 bits, for ternary models"},
    FileTypeInfo{FileType::kIQ1_M, "IQ1_M", DType::kIQ1_M, "2.1 bits, needs --imatrix"},
    FileTypeInfo{FileType::kIQ1_S, "IQ1_S", DType::kIQ1_S, "2.0 bits, needs --imatrix"},
    FileTypeInfo{FileType::kQ1_0, "Q1_0", DType::kQ1_0, "1.5 bits, for models of two levels"},
    FileTypeInfo{FileType::kMXFP4_MOE, "MXFP4_MOE", DType::kMXFP4,
                 "experts 4.25 bits, the rest 8.5"},
    FileTypeInfo{FileType::kQ2_EXPERTS, "Q2_EXPERTS", DType::kQ8_0,
                 "routed experts about 2 bits, the rest Q8_0"},
    FileTypeInfo{FileType::kCopy, "COPY", DType::kF32, "no change but what --tensor-type says"},
};

constexpr std::array<std::pair<std::string_view, FileType>, 4> kShortNames = {{
    {"Q3_K", FileType::kQ3_K_M},
    {"Q4_K", FileType::kQ4_K_M},
    {"Q5_K", FileType::kQ5_K_M},
    {"MXFP4", FileType::kMXFP4_MOE},
}};

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::toupper(x) == std::toupper(y);
  });
}

}  // namespace

std::span<const FileTypeInfo> all_file_types() noexcept { return kTypes; }

const FileTypeInfo& info(FileType type) noexcept {
  return *std::find_if(kTypes.begin(), kTypes.end(),
                       [type](const FileTypeInfo& entry) { return entry.type == type; });
}

std::optional<FileType> file_type_from_name(std::string_view name) noexcept {
  for (const FileTypeInfo& entry : kTypes) {
    if (same_ignoring_case(entry.name, name)) return entry.type;
  }
  for (const auto& [short_name, type] : kShortNames) {
    if (same_ignoring_case(short_name, name)) return type;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> file_type_key(FileType type, bool with_importance) noexcept {
  constexpr std::uint32_t kGuessed = 1024;
  if (type == FileType::kCopy) return std::nullopt;
  if (type == FileType::kQ2_EXPERTS) {
    return kGuessed |
           static_cast<std::uint32_t>(with_importance ? FileType::kIQ2_XXS : FileType::kQ2_K);
  }
  return static_cast<std::uint32_t>(type);
}

}  // namespace hearth::model::quantize
