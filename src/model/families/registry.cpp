#include "model/families/registry.h"

#include <algorithm>
#include <array>

#include "model/families/encoders.h"
#include "spec/memory.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {
namespace {

struct Family {
  std::string_view architecture;
  spec::ModelSpec (*describe)(const FamilyReader&);
};

constexpr std::array kFamilies = {
    Family{"afmoe", describe_afmoe},
    Family{"apertus", describe_apertus},
    Family{"arcee", describe_arcee},
    Family{"arctic", describe_arctic},
    Family{"baichuan", describe_llama},
    Family{"bailingmoe", describe_bailing},
    Family{"bailingmoe2", describe_bailing},
    Family{"bert", describe_bert},
    Family{"bitnet", describe_bitnet},
    Family{"bloom", describe_bloom},
    Family{"chatglm", describe_llama},
    Family{"codeshell", describe_starcoder2},
    Family{"cohere2", describe_cohere2},
    Family{"cohere2moe", describe_cohere2moe},
    Family{"command-r", describe_command_r},
    Family{"dbrx", describe_dbrx},
    Family{"deci", describe_deci},
    Family{"deepseek", describe_deepseek},
    Family{"deepseek2", describe_deepseek2},
    Family{"deepseek2-ocr", describe_deepseek2_ocr},
    Family{"deepseek32", describe_deepseek32},
    Family{"deepseek4", describe_deepseek4},
    Family{"dots1", describe_bailing},
    Family{"dream", describe_dream},
    Family{"eagle3", describe_eagle3},
    Family{"ernie4_5", describe_llama},
    Family{"ernie4_5-moe", describe_ernie_moe},
    Family{"eurobert", describe_eurobert},
    Family{"exaone", describe_qwen2},
    Family{"exaone-moe", describe_exaone_moe},
    Family{"exaone4", describe_exaone4},
    Family{"falcon", describe_falcon},
    Family{"falcon-h1", describe_falcon_h1},
    Family{"gemma", describe_gemma},
    Family{"gemma-embedding", describe_gemma_embedding},
    Family{"gemma2", describe_gemma2},
    Family{"gemma3", describe_gemma3},
    Family{"gemma3n", describe_gemma3n},
    Family{"gemma4", describe_gemma4},
    Family{"glm-dsa", describe_deepseek32},
    Family{"glm4", describe_glm4},
    Family{"glm4moe", describe_glm4moe},
    Family{"gpt-oss", describe_gpt_oss},
    Family{"gpt2", describe_gpt2},
    Family{"gptneox", describe_gptneox},
    Family{"granite", describe_granite},
    Family{"granitehybrid", describe_granite_hybrid},
    Family{"granitemoe", describe_granite},
    Family{"grok", describe_grok},
    Family{"grovemoe", describe_grovemoe},
    Family{"hunyuan-dense", describe_hunyuan},
    Family{"hunyuan-moe", describe_hunyuan},
    Family{"hunyuan_vl", describe_hunyuan},
    Family{"hy_v3", describe_hy_v3},
    Family{"internlm2", describe_llama},
    Family{"jais", describe_jais},
    Family{"jais2", describe_starcoder2},
    Family{"jamba", describe_jamba},
    Family{"jina-bert-v2", describe_bert},
    Family{"jina-bert-v3", describe_bert},
    Family{"kimi-linear", describe_kimi_linear},
    Family{"laguna", describe_laguna},
    Family{"lfm2", describe_lfm2},
    Family{"lfm2moe", describe_lfm2},
    Family{"llada", describe_llada},
    Family{"llada-moe", describe_llada_moe},
    Family{"llama", describe_llama},
    Family{"llama-embed", describe_llama},
    Family{"llama4", describe_llama4},
    Family{"maincoder", describe_hunyuan},
    Family{"mamba", describe_mamba},
    Family{"mamba2", describe_mamba2},
    Family{"mellum", describe_mellum},
    Family{"mimo2", describe_mimo2},
    Family{"minicpm", describe_granite},
    Family{"minicpm3", describe_minicpm3},
    Family{"minimax-m2", describe_olmoe},
    Family{"minimax-m3", describe_minimax_m3},
    Family{"mistral3", describe_llama},
    Family{"mistral4", describe_deepseek2},
    Family{"modern-bert", describe_modern_bert},
    Family{"mpt", describe_mpt},
    Family{"nanbeige", describe_nanbeige},
    Family{"nemotron", describe_starcoder2},
    Family{"nemotron_h", describe_nemotron_h},
    Family{"nemotron_h_moe", describe_nemotron_h},
    Family{"neo-bert", describe_neo_bert},
    Family{"nomic-bert", describe_bert},
    Family{"nomic-bert-moe", describe_bert},
    Family{"olmo", describe_olmo},
    Family{"olmo2", describe_olmo2},
    Family{"olmoe", describe_olmoe},
    Family{"openelm", describe_qwen3},
    Family{"orion", describe_starcoder2},
    Family{"paddleocr", describe_llama},
    Family{"pangu-embedded", describe_qwen2},
    Family{"phi2", describe_phi2},
    Family{"phi3", describe_qwen2},
    Family{"phimoe", describe_qwen2},
    Family{"plm", describe_plm},
    Family{"qwen", describe_qwen2},
    Family{"qwen2", describe_qwen2},
    Family{"qwen2moe", describe_qwen2moe},
    Family{"qwen2vl", describe_qwen2},
    Family{"qwen3", describe_qwen3},
    Family{"qwen35", describe_qwen35},
    Family{"qwen35moe", describe_qwen35},
    Family{"qwen3moe", describe_qwen3},
    Family{"qwen3next", describe_qwen35},
    Family{"qwen3vl", describe_qwen3},
    Family{"qwen3vlmoe", describe_qwen3},
    Family{"refact", describe_llama},
    Family{"rnd1", describe_rnd1},
    Family{"rwkv7", describe_rwkv7},
    Family{"seed_oss", describe_qwen2},
    Family{"smallthinker", describe_smallthinker},
    Family{"smollm3", describe_smollm3},
    Family{"stablelm", describe_stablelm},
    Family{"starcoder", describe_gpt2},
    Family{"starcoder2", describe_starcoder2},
    Family{"step35", describe_step35},
    Family{"t5", describe_t5},
    Family{"t5encoder", describe_t5_encoder},
    Family{"xverse", describe_llama},
};

/// Next-token-prediction blocks of a model's own file.
struct DraftHead {
  std::string_view architecture;
  spec::ModelSpec (*describe)(const FamilyReader&, std::int64_t head);
};

constexpr std::array kDraftHeads = {
    DraftHead{"bailingmoe2", describe_bailing_draft},
    DraftHead{"cohere2moe", describe_cohere2moe_draft},
    DraftHead{"deepseek2", describe_deepseek2_draft},
    DraftHead{"deepseek32", describe_deepseek2_draft},
    DraftHead{"deepseek4", describe_deepseek4_draft},
    DraftHead{"exaone-moe", describe_exaone_moe_draft},
    DraftHead{"glm-dsa", describe_deepseek2_draft},
    DraftHead{"glm4moe", describe_glm4moe_draft},
    DraftHead{"hy_v3", describe_hy_v3_draft},
    DraftHead{"mimo2", describe_mimo2_draft},
    DraftHead{"qwen35", describe_qwen35_draft},
    DraftHead{"qwen35moe", describe_qwen35_draft},
    DraftHead{"qwen3next", describe_qwen35_draft},
    DraftHead{"step35", describe_step35_draft},
};

/// Null: Hearth cannot run the draft heads of this architecture.
const DraftHead* find_draft_head(std::string_view architecture) {
  const auto* draft = std::find_if(kDraftHeads.begin(), kDraftHeads.end(), [&](const auto& known) {
    return known.architecture == architecture;
  });
  return draft == kDraftHeads.end() ? nullptr : draft;
}

bool has_rope(const spec::ModelSpec& spec) {
  bool found = false;
  spec::for_each_body(spec, [&](const spec::Stack&, std::size_t, const spec::Body& body) {
    std::visit(
        [&](const auto& mixer) {
          if constexpr (requires { mixer.rope; }) found = found || mixer.rope.has_value();
        },
        body);
  });
  return found;
}

/// What the model knows how to read when its positions are scaled.
void extend_context(spec::ModelSpec& spec, const gguf::File& file,
                    const spec::RopeScaling& scaling) {
  if (!has_rope(spec)) {
    throw Error("this model has no rotary positions that could be scaled",
                "leave --rope-scaling out", ExitCode::kUsage);
  }
  const std::string key = spec.architecture + ".rope.scaling.original_context_length";
  const std::int64_t original = scaling.original > 0
                                    ? scaling.original
                                    : file.metadata().get_int(key).value_or(spec.context_length);
  constexpr double kMost = 1 << 30;
  spec.context_length = static_cast<std::int64_t>(
      std::clamp(static_cast<double>(original) * scaling.factor, 1.0, kMost));
}

}  // namespace

std::vector<std::string_view> known_architectures() {
  std::vector<std::string_view> names;
  for (const Family& family : kFamilies) names.push_back(family.architecture);
  return names;
}

spec::ModelSpec describe_draft_head(const gguf::File& file, const SpecOptions& options,
                                    std::int64_t head) {
  const FamilyReader reader(file, options);
  const DraftHead* draft = find_draft_head(reader.architecture());
  if (draft == nullptr || head < 0 || head >= reader.draft_layers()) {
    throw Error("this '" + printable(reader.architecture()) + "' model has no draft head " +
                    std::to_string(head + 1) + " that Hearth can run",
                "use a model with next-token-prediction blocks, or another --draft");
  }
  spec::ModelSpec spec = draft->describe(reader, head);
  spec::assign_memories(spec);
  return spec;
}

spec::ModelSpec describe_model(const gguf::File& file, const SpecOptions& options) {
  const std::optional<std::string_view> architecture =
      file.metadata().get_string("general.architecture");
  if (!architecture) {
    throw Error(
        "'" + printable(file.path().string(), 300) + "' does not say which architecture it has",
        "it may not be a language model");
  }
  const auto* family = std::find_if(kFamilies.begin(), kFamilies.end(), [&](const Family& known) {
    return known.architecture == *architecture;
  });
  if (family == kFamilies.end()) {
    std::string names;
    for (const Family& known : kFamilies)
      names += (names.empty() ? "" : ", ") + std::string(known.architecture);
    throw Error("unknown model architecture '" + printable(*architecture) + "'",
                "known ones are: " + names);
  }
  const FamilyReader reader(file, options);
  spec::ModelSpec spec = family->describe(reader);
  if (options.rope_scaling) extend_context(spec, file, *options.rope_scaling);
  if (find_draft_head(*architecture) == nullptr) spec.draft_heads = 0;
  read_pooling(reader, spec);
  spec::assign_memories(spec);
  return spec;
}

}  // namespace hearth::model
