#include "model/convert/families.h"

#include <array>

namespace hearth::model::convert {
namespace {

constexpr ConvertibleFamily kFamilies[] = {
    {"bert", convert_bert},
    {"deepseek_v2", convert_deepseek2},
    {"deepseek_v3", convert_deepseek2},
    {"gemma", convert_gemma},
    {"gemma2", convert_gemma2},
    {"gemma3", convert_gemma3},
    {"gemma3_text", convert_gemma3},
    {"granite", convert_granite},
    {"lfm2", convert_lfm2},
    {"llama", convert_llama},
    {"ministral3", convert_mistral3},
    {"mistral", convert_llama},
    {"mixtral", convert_mixtral},
    {"olmo2", convert_olmo2},
    {"olmo3", convert_olmo2},
    {"phi3", convert_phi3},
    {"qwen2", convert_qwen2},
    {"qwen3", convert_qwen3},
    {"qwen3_5", convert_qwen35},
    {"qwen3_5_text", convert_qwen35},
    {"qwen3_moe", convert_qwen3moe},
    {"smollm3", convert_smollm3},
};

}  // namespace

std::span<const ConvertibleFamily> convertible_families() noexcept { return kFamilies; }

}  // namespace hearth::model::convert
