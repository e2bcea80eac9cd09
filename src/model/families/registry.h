// The table of model families: general.architecture -> the page that describes it.
#pragma once

#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "model/families/reader.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// Describes the model in `file` from its header alone. Throws Error: unknown architecture (with
/// the list of the known ones), a missing key or tensor, a shape that does not fit.
[[nodiscard]] spec::ModelSpec describe_model(const gguf::File& file, const SpecOptions& options);

/// Describes next-token-prediction block `head` (0 ..) of the model in `file` as a model of its
/// own, which reads a token and a hidden state (ModelSpec::embedding.hidden). Throws Error when
/// there is none.
[[nodiscard]] spec::ModelSpec describe_draft_head(const gguf::File& file,
                                                  const SpecOptions& options, std::int64_t head);

/// Architecture names that describe_model knows, sorted.
[[nodiscard]] std::vector<std::string_view> known_architectures();

// The pages, one function each; their first lines name the models that people know. Several
// architectures may share one.
[[nodiscard]] spec::ModelSpec describe_afmoe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_apertus(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_arcee(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_arctic(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_bailing(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_bert(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_bitnet(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_bloom(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_cohere2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_cohere2moe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_command_r(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_dbrx(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_deci(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_dream(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_eagle3(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_ernie_moe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_eurobert(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_exaone4(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_exaone_moe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_falcon(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gemma(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gemma2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gemma3(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gemma3n(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gemma4(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gemma_embedding(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_glm4(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_glm4moe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gpt2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gpt_oss(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_gptneox(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_granite(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_grok(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_grovemoe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_hunyuan(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_hy_v3(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_jais(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_laguna(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_llada(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_llada_moe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_llama(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_llama4(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_mellum(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_mimo2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_modern_bert(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_mpt(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_nanbeige(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_neo_bert(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_olmo(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_olmo2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_olmoe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_phi2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_qwen2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_qwen2moe(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_qwen3(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_rnd1(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_smallthinker(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_smollm3(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_stablelm(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_starcoder2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_step35(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_t5(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_t5_encoder(const FamilyReader& reader);

// Next-token-prediction blocks of a model's own file.
[[nodiscard]] spec::ModelSpec describe_bailing_draft(const FamilyReader& reader, std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_cohere2moe_draft(const FamilyReader& reader,
                                                        std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_exaone_moe_draft(const FamilyReader& reader,
                                                        std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_glm4moe_draft(const FamilyReader& reader, std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_hy_v3_draft(const FamilyReader& reader, std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_mimo2_draft(const FamilyReader& reader, std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_step35_draft(const FamilyReader& reader, std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_mamba(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_mamba2(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_jamba(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_nemotron_h(const FamilyReader& reader);  // and .._moe
[[nodiscard]] spec::ModelSpec describe_granite_hybrid(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_falcon_h1(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_lfm2(const FamilyReader& reader);  // lfm2, lfm2moe
[[nodiscard]] spec::ModelSpec describe_rwkv7(const FamilyReader& reader);
/// qwen3next, qwen35, qwen35moe
[[nodiscard]] spec::ModelSpec describe_qwen35(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_qwen35_draft(const FamilyReader& reader, std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_kimi_linear(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_deepseek(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_deepseek2(const FamilyReader& reader);  // and mistral4
[[nodiscard]] spec::ModelSpec describe_deepseek2_ocr(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_deepseek32(const FamilyReader& reader);  // and glm-dsa
[[nodiscard]] spec::ModelSpec describe_deepseek2_draft(const FamilyReader& reader,
                                                       std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_deepseek4(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_deepseek4_draft(const FamilyReader& reader,
                                                       std::int64_t head);
[[nodiscard]] spec::ModelSpec describe_minicpm3(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_plm(const FamilyReader& reader);
[[nodiscard]] spec::ModelSpec describe_minimax_m3(const FamilyReader& reader);

}  // namespace hearth::model
