// Parts of a model that are another part's or another file's: they must fit, whatever files say.
#include "compute/cpu/cpu_backend.h"
#include "gguf/writer.h"
#include "golden_case.h"
#include "model/loaded_model.h"
#include "spec/memory.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

spec::Setup setup_of(const std::string& name) {
  spec::Setup setup;
  setup.model = goldens_dir() / "arch" / (name + ".gguf");
  setup.context = 64;
  setup.batch_rows = 16;
  setup.threads = 1;
  return setup;
}

TEST(BorrowedParts, ADraftModelWithoutTablesDoesNotRunAlone) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  EXPECT_THROW(model::LoadedModel::load(setup_of("eagle3"), {}, {}), Error);
}

TEST(BorrowedParts, ADraftModelOfAnotherTargetIsRefused) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const auto right = model::LoadedModel::load(setup_of("eagle3-target"), {}, {});
  const spec::ModelSpec& target = right->spec();
  EXPECT_NO_THROW(model::LoadedModel::load_draft(*right, setup_of("eagle3"), 0, {}));
  int wrong_ones = 0;
  for (const char* name : {"gpt2", "gemma3", "llama-256-Q8_0", "mamba", "qwen2"}) {
    const auto wrong = model::LoadedModel::load(setup_of(name), {}, {});
    if (wrong->spec().width == target.width && wrong->spec().vocabulary >= target.vocabulary)
      continue;
    ++wrong_ones;
    EXPECT_THROW(model::LoadedModel::load_draft(*wrong, setup_of("eagle3"), 0, {}), Error) << name;
  }
  EXPECT_GT(wrong_ones, 0);
}

TEST(BorrowedParts, ADecoderNeedsAnEncodedText) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const auto t5 = model::LoadedModel::load(setup_of("t5"), {}, {});
  const auto sequence = t5->new_sequence();
  const std::array rows = {model::BatchRow{.sequence = sequence.get(), .wants_logits = true}};
  EXPECT_THROW((void)t5->run(rows), Error);
  const std::array<std::int32_t, 2> tokens = {1, 2};
  (void)t5->runner().encode(*sequence, tokens);
  EXPECT_THROW((void)t5->runner().encode(*sequence, tokens), Error) << "a second time";
  EXPECT_EQ(t5->run(rows).size(), static_cast<std::size_t>(t5->spec().logits));
}

/// Work memories are made for ranks that adapters have.
TEST(BorrowedParts, AnAdapterOfAnAbsurdRankIsRefused) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  const auto model = model::LoadedModel::load(setup_of("deepseek2"), {}, {});
  const gguf::TensorInfo& base = *model->file().find_tensor("blk.0.attn_output.weight");
  const TemporaryFolder folder;
  const auto write = [&](std::int64_t rank) {
    const std::vector<std::byte> zeros(
        static_cast<std::size_t>(rank * std::max(base.shape[0], base.shape[1])) * 2);
    gguf::Writer writer;
    writer.set("general.architecture", std::string_view("deepseek2"));
    writer.set("general.type", std::string_view("adapter"));
    writer.set("adapter.type", std::string_view("lora"));
    writer.set("adapter.lora.alpha", 1.0F);
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
      const auto bytes = static_cast<std::size_t>(shape[0] * shape[1]) * 2;
      writer.add_tensor(name, tensor::DType::kF16, shape, std::span(zeros).first(bytes));
    };
    add(base.name + ".lora_a", {base.shape[0], rank});
    add(base.name + ".lora_b", {rank, base.shape[1]});
    std::ofstream(folder / "adapter.gguf", std::ios::binary) << writer.bytes();
    return folder / "adapter.gguf";
  };
  EXPECT_NO_THROW((void)model->load_adapter(write(8)));
  EXPECT_THROW((void)model->load_adapter(write(20000)), Error);
}

/// Two layers with attention, of which the second reads the keys of the first.
spec::ModelSpec sharing() {
  spec::ModelSpec model;
  model.stacks.push_back({"decoder", {}});
  for (int i = 0; i < 2; ++i) {
    spec::Attention attention;
    attention.heads = 4;
    attention.kv_heads = 2;
    attention.key_size = attention.value_size = 8;
    if (i == 1) {
      attention.key_source = spec::KeySource::kShared;
      attention.shares_with = 0;
    }
    spec::Layer layer;
    layer.sublayers.push_back({{}, {spec::Branch{{}, attention, {}}}, {}});
    model.stacks[0].layers.push_back(layer);
  }
  return model;
}

spec::Attention& attention_of(spec::ModelSpec& model, std::size_t layer) {
  return std::get<spec::Attention>(model.stacks[0].layers[layer].sublayers[0].branches[0].body);
}

TEST(BorrowedParts, SharedKeysAreWhatTheLayerReads) {
  spec::ModelSpec model = sharing();
  spec::assign_memories(model);
  EXPECT_EQ(model.kv_memories.size(), 1U);
  EXPECT_EQ(attention_of(model, 1).memory, attention_of(model, 0).memory);

  const auto refuses = [](const auto& change) {
    spec::ModelSpec changed = sharing();
    change(changed);
    EXPECT_THROW(spec::assign_memories(changed), Error);
  };
  refuses([](spec::ModelSpec& m) { attention_of(m, 1).kv_heads = 4; });
  refuses([](spec::ModelSpec& m) { attention_of(m, 1).key_size = 16; });
  refuses([](spec::ModelSpec& m) { attention_of(m, 1).value_size = 4; });
  refuses([](spec::ModelSpec& m) { attention_of(m, 1).shares_with = 1; });  // itself
  refuses([](spec::ModelSpec& m) { attention_of(m, 1).shares_with = 7; });
  refuses([](spec::ModelSpec& m) {  // what a window has given up
    attention_of(m, 0).window = {spec::WindowKind::kSliding, 16};
  });
  refuses([](spec::ModelSpec& m) {
    attention_of(m, 0).window = {spec::WindowKind::kSliding, 16};
    attention_of(m, 1).window = {spec::WindowKind::kSliding, 17};
  });
}

}  // namespace
}  // namespace hearth::testing
