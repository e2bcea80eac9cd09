// Latent attention: what is remembered per token.
#include <gtest/gtest.h>

#include "gguf/file.h"
#include "model/families/registry.h"
#include "shared_dir.h"
#include "spec/model_spec.h"

namespace hearth::model {
namespace {

/// Every layer of the model remembers latent + rope values per token, in one head, and nothing else
/// but the keys of a lightning indexer.
void expect_latent_memory(const spec::ModelSpec& spec) {
  std::size_t layers = 0;
  for (const spec::Layer& layer : spec.stacks.at(0).layers) {
    const auto* attention =
        std::get_if<spec::LatentAttention>(&layer.sublayers.at(0).branches.at(0).body);
    ASSERT_NE(attention, nullptr);
    const spec::KvMemory& memory = spec.kv_memories.at(static_cast<std::size_t>(attention->memory));
    EXPECT_EQ(memory.kv_heads, 1);
    EXPECT_EQ(memory.key_size, attention->latent_size + attention->rope_size);
    EXPECT_EQ(memory.value_size, 0);
    ++layers;
    if (attention->indexer && !attention->indexer->shared) ++layers;
  }
  EXPECT_EQ(spec.kv_memories.size(), layers);
}

class LatentMemory : public ::testing::TestWithParam<const char*> {};

TEST_P(LatentMemory, IsTheLatentAndTheRotatedPart) {
  const auto path = hearth::testing::goldens_dir() / "arch" / (std::string(GetParam()) + ".gguf");
  HEARTH_REQUIRE_FILE(path);
  expect_latent_memory(describe_model(gguf::File::open(path), {}));
}

INSTANTIATE_TEST_SUITE_P(Models, LatentMemory,
                         ::testing::Values("deepseek2", "deepseek2-lite", "minicpm3", "mistral4",
                                           "deepseek32", "glm-dsa"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace hearth::model
