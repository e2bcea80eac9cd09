// The models of goldens/arch with one key or one tensor changed, as a damaged or malicious file
// would have it. Each must run or end in hearth::Error.
#include <array>
#include <limits>

#include "gguf/writer.h"
#include "golden_case.h"
#include "model/loaded_model.h"
#include "shared_dir.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using gguf::Writer;

/// Encoders and the models with several streams or sizes of heads; the small ones of each kind.
const std::vector<std::string> kCases = {
    "bert-rank", "nomic-bert-moe", "modern-bert", "gemma-embedding-dense",
    "t5",        "t5encoder",      "gemma4-e2b",  "gemma4-26b-a4b"};

class ChangedGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
    file_ = std::make_unique<gguf::File>(
        gguf::File::open(goldens_dir() / "arch" / (GetParam() + ".gguf")));
  }

  /// All tensors but `left_out`; `reshaped` with another shape of as many elements.
  void add_tensors(Writer& writer, std::string_view left_out = {}, std::string_view reshaped = {},
                   const std::vector<std::int64_t>& shape = {}) const {
    for (const gguf::TensorInfo& tensor : file_->tensors()) {
      if (tensor.name == left_out) continue;
      const std::vector<std::int64_t> own(tensor.shape, tensor.shape + tensor.dimensions);
      writer.add_tensor(tensor.name, tensor.dtype, tensor.name == reshaped ? shape : own,
                        file_->data(tensor));
    }
  }

  /// Whether the file loads and runs; every other exception than Error passes through.
  [[nodiscard]] bool runs(const Writer& writer) const {
    writer.write(folder_ / "model.gguf");
    spec::Setup setup;
    setup.model = folder_ / "model.gguf";
    setup.context = 32;
    setup.threads = 1;
    setup.exact = true;
    setup.kv_type = tensor::DType::kF32;
    setup.batch_rows = 8;
    try {
      const auto model = model::LoadedModel::load(
          setup, {},
          {.logit_rows = 0, .hidden = model::HiddenRequest::kHidden, .hidden_rows = 8, .taps = {}});
      const auto sequence = model->new_sequence();
      const std::array<std::int32_t, 7> tokens = {0, 1, 2, 3, 4, 5, 6};
      if (model->spec().encoder) model->runner().encode(*sequence, tokens);
      std::vector<model::BatchRow> rows;
      for (const std::int32_t token : tokens) {
        rows.push_back({.sequence = sequence.get(), .token = token, .wants_hidden = true});
      }
      (void)model->run(rows);
      const std::vector<float> states(model->runner().hidden().begin(),
                                      model->runner().hidden().end());
      if (model->runner().hidden_width() == model->spec().width) {
        (void)model->runner().pool(states, std::array<std::int64_t, 2>{3, 4});
      }
      return true;
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
      return false;
    }
  }

  std::unique_ptr<gguf::File> file_;
  TemporaryFolder folder_;
};

TEST_P(ChangedGolden, WrongKeysEndInAnError) {
  std::vector<std::string> keys;
  for (const auto& [name, value] : file_->metadata().entries()) {
    if (name.find("tokenizer.") == std::string::npos && !name.starts_with("general.")) {
      keys.emplace_back(name);
    }
  }
  ASSERT_GT(keys.size(), 5U);
  for (const std::string& key : keys) {
    SCOPED_TRACE(key);
    const auto with = [&](auto value) {
      Writer writer;
      writer.copy(file_->metadata());
      writer.set(key, value);
      add_tensors(writer);
      (void)runs(writer);
    };
    const auto with_list = [&](const std::vector<std::int64_t>& values) {
      Writer writer;
      writer.copy(file_->metadata());
      writer.set_array(key, values);
      add_tensors(writer);
      (void)runs(writer);
    };
    for (const std::int64_t value :
         {std::int64_t{-1}, std::int64_t{0}, std::int64_t{3}, std::int64_t{1} << 31,
          std::numeric_limits<std::int64_t>::max()}) {
      with(value);
    }
    with(std::numeric_limits<float>::quiet_NaN());
    with(std::string_view("mean"));
    with(true);
    with_list({});
    with_list({0, 1, 0, 1, 0, 1});
    with_list(std::vector<std::int64_t>(8, std::numeric_limits<std::int64_t>::max()));
  }
}

TEST_P(ChangedGolden, WrongTensorsEndInAnError) {
  for (const gguf::TensorInfo& tensor : file_->tensors()) {
    // Layers from the third on have nothing that the first two lack.
    const bool later = tensor.name.find(".2.") != std::string::npos ||
                       tensor.name.find(".3.") != std::string::npos ||
                       tensor.name.find(".4.") != std::string::npos ||
                       tensor.name.find(".5.") != std::string::npos;
    if (later) continue;
    SCOPED_TRACE(tensor.name);
    Writer without;
    without.copy(file_->metadata());
    add_tensors(without, tensor.name);
    (void)runs(without);  // optional tensors may be missing
    if (tensor.dtype != tensor::DType::kF32 || tensor.elements() == 1) continue;
    const std::int64_t elements = tensor.elements();
    for (const std::vector<std::int64_t>& shape :
         {std::vector<std::int64_t>{1, elements}, {elements / 2, 2}, {1, 1, elements}}) {
      const bool same = shape[0] == tensor.shape[0];
      if (same) continue;
      Writer writer;
      writer.copy(file_->metadata());
      add_tensors(writer, {}, tensor.name, shape);
      EXPECT_FALSE(runs(writer));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, ChangedGolden, ::testing::ValuesIn(kCases), case_name);

}  // namespace
}  // namespace hearth::testing
