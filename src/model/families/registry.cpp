#include "model/families/registry.h"

#include <algorithm>
#include <array>

#include "model/families/encoders.h"
#include "spec/memory.h"
#include "support/error.h"

namespace hearth::model {
namespace {

struct Family {
  std::string_view architecture;
  spec::ModelSpec (*describe)(const FamilyReader&);
};

constexpr std::array kFamilies = {
    Family{"bert", describe_bert},
    Family{"bloom", describe_bloom},
    Family{"cohere2", describe_cohere2},
    Family{"command-r", describe_command_r},
    Family{"eurobert", describe_eurobert},
    Family{"exaone4", describe_exaone4},
    Family{"falcon", describe_falcon},
    Family{"gemma", describe_gemma},
    Family{"gemma-embedding", describe_gemma_embedding},
    Family{"gemma2", describe_gemma2},
    Family{"gemma3", describe_gemma3},
    Family{"gemma3n", describe_gemma3n},
    Family{"gemma4", describe_gemma4},
    Family{"glm4", describe_glm4},
    Family{"gpt2", describe_gpt2},
    Family{"granite", describe_granite},
    Family{"jina-bert-v2", describe_bert},
    Family{"jina-bert-v3", describe_bert},
    Family{"llama", describe_llama},
    Family{"llama-embed", describe_llama},
    Family{"mistral3", describe_llama},
    Family{"modern-bert", describe_modern_bert},
    Family{"neo-bert", describe_neo_bert},
    Family{"nomic-bert", describe_bert},
    Family{"nomic-bert-moe", describe_bert},
    Family{"olmo2", describe_olmo2},
    Family{"phi2", describe_phi2},
    Family{"phi3", describe_qwen2},
    Family{"qwen2", describe_qwen2},
    Family{"qwen3", describe_qwen3},
    Family{"smollm3", describe_smollm3},
    Family{"stablelm", describe_stablelm},
    Family{"starcoder2", describe_starcoder2},
    Family{"t5", describe_t5},
    Family{"t5encoder", describe_t5_encoder},
};

/// Next-token-prediction blocks of a model's own file.
struct DraftHead {
  std::string_view architecture;
  spec::ModelSpec (*describe)(const FamilyReader&, std::int64_t head);
};

constexpr std::array<DraftHead, 0> kDraftHeads = {};

}  // namespace

std::vector<std::string_view> known_architectures() {
  std::vector<std::string_view> names;
  for (const Family& family : kFamilies) names.push_back(family.architecture);
  return names;
}

spec::ModelSpec describe_draft_head(const gguf::File& file, const SpecOptions& options,
                                    std::int64_t head) {
  const FamilyReader reader(file, options);
  const auto* draft = std::find_if(kDraftHeads.begin(), kDraftHeads.end(), [&](const auto& known) {
    return known.architecture == reader.architecture();
  });
  if (draft == kDraftHeads.end() || head < 0 || head >= reader.draft_layers()) {
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
  read_pooling(reader, spec);
  spec::assign_memories(spec);
  return spec;
}

}  // namespace hearth::model
