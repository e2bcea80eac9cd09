// The families that can be converted: how the configuration and the tensors of each are renamed and
// rearranged into what GGUF files of its architecture hold (reference: architectures.md section 3,
// tensors.md). One function per family; decoder.h has what they share.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/convert/conversion.h"

namespace hearth::model::convert {

struct ConvertibleFamily {
  std::string_view model_type;  // of config.json
  /// Writes the architecture, its keys and all tensors.
  void (*convert)(Conversion& conversion);
};

/// Ordered by model_type.
[[nodiscard]] std::span<const ConvertibleFamily> convertible_families() noexcept;

void convert_bert(Conversion& conversion);
void convert_deepseek2(Conversion& conversion);
void convert_gemma(Conversion& conversion);
void convert_gemma2(Conversion& conversion);
void convert_gemma3(Conversion& conversion);
void convert_granite(Conversion& conversion);
void convert_lfm2(Conversion& conversion);
void convert_llama(Conversion& conversion);
void convert_mistral3(Conversion& conversion);
void convert_mixtral(Conversion& conversion);
void convert_olmo2(Conversion& conversion);
void convert_phi3(Conversion& conversion);
void convert_qwen2(Conversion& conversion);
void convert_qwen3(Conversion& conversion);
void convert_qwen35(Conversion& conversion);
void convert_qwen3moe(Conversion& conversion);
void convert_smollm3(Conversion& conversion);

}  // namespace hearth::model::convert
