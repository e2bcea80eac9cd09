// Next-token-prediction heads against goldens/arch, mode "mtp": the model's hidden states, the head
// over the prompt, and the head on its own drafts.
#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "golden_case.h"
#include "shared_dir.h"

namespace hearth::testing {
namespace {

/// A model, or a draft head, that gives logits and hidden states of every row of one sequence.
class DraftingModel {
 public:
  DraftingModel(const gguf::File& file, spec::ModelSpec spec, compute::Backend& backend)
      : spec_(std::move(spec)) {
    constexpr std::int64_t kContext = 128;
    spec::Setup setup;
    setup.context = kContext;
    setup.kv_type = tensor::DType::kF32;
    setup.batch_rows = kContext;
    const model::Outputs outputs{
        .logit_rows = kContext, .hidden = model::HiddenRequest::kHidden, .hidden_rows = kContext};
    const model::PassCost cost =
        model::count_pass(file, spec_, setup, backend, kContext, 0, outputs);
    backend.reserve(kContext, cost.widest);
    weights_ = std::make_unique<model::Weights>(file, spec_, backend, compute::Residency::kPacked,
                                                nullptr);
    pool_ = std::make_unique<state::MemoryPool>(backend, spec_, model::memory_limits(setup));
    runner_ = std::make_unique<model::Runner>(spec_, *weights_, backend, *pool_,
                                              model::limits_of(setup, outputs), cost.arena_bytes);
    sequence_ = std::make_unique<state::SequenceState>(*pool_);
  }

  /// Logits of all rows; hidden() are their hidden states. Row i is beside `inputs[i]`.
  std::vector<float> run(std::span<const std::int32_t> tokens,
                         std::span<const float* const> inputs = {}) {
    std::vector<model::BatchRow> rows;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      rows.push_back({.sequence = sequence_.get(),
                      .token = tokens[i],
                      .wants_logits = true,
                      .wants_hidden = true,
                      .input = inputs.empty() ? nullptr : inputs[i]});
    }
    const std::span<const float> logits = runner_->run(rows);
    hidden_.assign(runner_->hidden().begin(), runner_->hidden().end());
    return {logits.begin(), logits.end()};
  }
  [[nodiscard]] const std::vector<float>& hidden() const { return hidden_; }

 private:
  spec::ModelSpec spec_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<state::MemoryPool> pool_;
  std::unique_ptr<model::Runner> runner_;
  std::unique_ptr<state::SequenceState> sequence_;
  std::vector<float> hidden_;
};

class DraftGolden : public ::testing::TestWithParam<std::string> {
 protected:
  static void check(compute::Backend& backend) {
    const GoldenCase golden(GetParam());
    const double tolerance = golden_tolerance(GetParam());
    const gguf::File file = gguf::File::open(golden.model());
    DraftingModel target(file, model::describe_model(file, {}), backend);
    const std::vector<std::int32_t> prompt = golden.ids("prompt_tokens");
    EXPECT_LE(nmse(target.run(prompt), golden.array("prompt_logits")), tolerance);
    const std::vector<float> states = target.hidden();
    EXPECT_LE(nmse(states, golden.array("h_nextn")), tolerance);

    // Over the prompt, every token is beside the state of the one before it.
    const std::size_t width = states.size() / prompt.size();
    std::vector<const float*> inputs = {nullptr};
    for (std::size_t i = 1; i < prompt.size(); ++i) {
      inputs.push_back(states.data() + (i - 1) * width);
    }
    DraftingModel head(file, model::describe_draft_head(file, {}, 0), backend);
    EXPECT_LE(nmse(head.run(prompt, inputs), golden.array("mtp_logits")), tolerance);

    // Drafting, the head goes on from its own states.
    std::vector<float> drafted;
    auto token = golden.description.at("id_last").get<std::int32_t>();
    std::vector<float> state(states.end() - static_cast<std::ptrdiff_t>(width), states.end());
    for (const std::int32_t expected : golden.ids("draft_tokens")) {
      const float* const input = state.data();
      const std::vector<float> logits = head.run({&token, 1}, {&input, 1});
      drafted.insert(drafted.end(), logits.begin(), logits.end());
      state = head.hidden();
      token = static_cast<std::int32_t>(argmax(logits));
      EXPECT_EQ(token, expected);
    }
    EXPECT_LE(nmse(drafted, golden.array("draft_logits")), tolerance);
  }
};

TEST_P(DraftGolden, ReferenceBackendReproducesDrafts) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  check(*compute::make_reference_backend());
}

TEST_P(DraftGolden, ExactCpuBackendReproducesDrafts) {
  HEARTH_REQUIRE_FILE(goldens_dir() / "arch");
  check(*compute::make_cpu_backend({.threads = 2, .exact = true, .instruction_set = ""}));
}

INSTANTIATE_TEST_SUITE_P(Goldens, DraftGolden, ::testing::Values("qwen35-mtp", "qwen35moe-mtp"),
                         case_name);

}  // namespace
}  // namespace hearth::testing
