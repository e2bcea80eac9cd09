// What is collected, against sums that are made in the plainest way.
#include "measure/importance_collector.h"

#include <cmath>
#include <map>

#include "compute/reference/reference_backend.h"
#include "measured.h"
#include "quant/quant.h"
#include "spec/visit.h"

namespace hearth::testing {
namespace {

using compute::Tensor;
using measure::ImportanceCollector;
using measure::TokenChunks;
using measure::WantedLogits;
using model::Importance;
using model::ImportanceMatrix;

/// A backend in front of the reference one that keeps plain sums of its own.
class PlainWatcher final : public compute::ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;

  struct Sums {
    std::vector<double> squares;
    double count = 0;
  };
  std::map<std::pair<std::string, int>, Sums> seen;

  void matmul(const Tensor& x, std::span<const compute::Projection> projections) noexcept override {
    for (const auto& projection : projections) {
      for (std::int64_t t = 0; t < x.shape[0]; ++t) note(*projection.weight, 0, row(x.rows(t, 1)));
    }
    ForwardingBackend::matmul(x, projections);
  }
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const compute::GroupedProjection> projections) noexcept override {
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(ids.elements()));
    read(ids, chosen.data());
    for (const auto& projection : projections) {
      for (std::int64_t t = 0; t < ids.shape[0]; ++t) {
        for (std::int64_t k = 0; k < ids.shape[1]; ++k) {
          const Tensor one = x.rows(t, 1).slice(1, x.shape[1] == 1 ? 0 : k, 1);
          note(*projection.weight, chosen[static_cast<std::size_t>(t * ids.shape[1] + k)],
               row(one));
        }
      }
    }
    ForwardingBackend::grouped_matmul(x, ids, projections);
  }

 private:
  std::vector<float> row(const Tensor& one) {
    std::vector<float> values(static_cast<std::size_t>(one.elements()));
    read(one, values.data());
    return values;
  }
  void note(const compute::Weight& weight, int matrix, const std::vector<float>& values) {
    Sums& sums = seen[{std::string(weight.source().name), matrix}];
    sums.squares.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      sums.squares[i] += static_cast<double>(values[i]) * values[i];
    }
    sums.count += 1;
  }
};

ImportanceMatrix collected(const std::filesystem::path& path, const TokenChunks& chunks,
                           std::int64_t batch, WantedLogits wanted = WantedLogits::kNone) {
  const auto collector = std::make_shared<ImportanceCollector>(
      compute::make_cpu_backend({.threads = 2, .exact = true, .instruction_set = {}}));
  const auto model =
      load_measured(path, chunks.size(), chunks.count(), batch, wanted, false, collector);
  measure::ChunkRunner runner(*model, wanted);
  runner.separate_first_row(measure::absorbs_keys(model->spec()));
  runner.run(chunks, [](auto, auto, auto) {});
  return collector->result(model->file());
}

/// Dense, fused q/k/v and gate/up, experts, fused experts, several widths of experts, latent
/// attention.
class Collected : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { HEARTH_REQUIRE_FILE(golden_model(GetParam())); }
};

TEST_P(Collected, EqualsPlainSumsOnTheReferenceBackend) {
  const TokenChunks chunks(golden_prompt(GetParam()), 24);
  ASSERT_GE(chunks.count(), 2);
  const ImportanceMatrix matrix = collected(golden_model(GetParam()), chunks, 512);

  const auto reference = compute::make_reference_backend();
  const auto watcher = std::make_shared<PlainWatcher>(*reference);
  const auto model =
      load_measured(golden_model(GetParam()), 24, 1, 24, WantedLogits::kNone, false, watcher);
  measure::ChunkRunner runner(*model, WantedLogits::kNone);
  runner.separate_first_row(measure::absorbs_keys(model->spec()));
  runner.run(chunks, [](auto, auto, auto) {});

  ASSERT_FALSE(watcher->seen.empty());
  std::map<std::string, double> counts;
  for (const auto& [key, sums] : watcher->seen) {
    const Importance* importance = matrix.find(key.first);
    ASSERT_NE(importance, nullptr) << key.first;
    const auto index = static_cast<std::size_t>(key.second);
    ASSERT_LT(index, importance->counts.size()) << key.first;
    EXPECT_EQ(importance->counts[index], sums.count) << key.first << " " << index;
    double total = 0;
    for (const double square : sums.squares) total += square;
    for (std::size_t i = 0; i < sums.squares.size(); ++i) {
      EXPECT_NEAR(importance->sums[index * sums.squares.size() + i], sums.squares[i],
                  1e-3 * sums.squares[i] + 1e-6 * total)
          << key.first << " " << index << " " << i;
    }
    counts[key.first] += sums.count;
  }
  // And nothing else: experts that were not reached have no sums.
  for (const auto& [name, importance] : matrix.tensors) {
    double total = 0;
    for (const float count : importance.counts) total += count;
    EXPECT_EQ(total, counts[name]) << name;
  }
}

TEST_P(Collected, DoesNotDependOnTheBatching) {
  const TokenChunks chunks(golden_prompt(GetParam()), 16);
  const ImportanceMatrix whole = collected(golden_model(GetParam()), chunks, 512);
  const ImportanceMatrix parts = collected(golden_model(GetParam()), chunks, 5);
  ASSERT_EQ(whole.tensors.size(), parts.tensors.size());
  for (const auto& [name, importance] : whole.tensors) {
    const Importance* other = parts.find(name);
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(importance.counts, other->counts) << name;
    ASSERT_EQ(importance.sums.size(), other->sums.size());
    for (std::size_t i = 0; i < importance.sums.size(); ++i) {
      EXPECT_NEAR(importance.sums[i], other->sums[i], 1e-3 * importance.sums[i] + 1e-4) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Collected,
                         ::testing::Values("llama-256-Q4_K_M", "llama-256-Q8_0", "glm4", "chatglm",
                                           "llama-moe", "hy-v3", "gpt-oss", "gemma4-26b-a4b",
                                           "deepseek2", "granitehybrid"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// The input of the first layer is known from the file alone.
TEST(ImportanceCollector, FirstLayerFollowsFromTheEmbeddings) {
  HEARTH_REQUIRE_FILE(golden_model("llama-256-Q8_0"));
  const TokenChunks chunks(golden_prompt("llama-256-Q8_0"), 48);
  const ImportanceMatrix matrix = collected(golden_model("llama-256-Q8_0"), chunks, 512);
  const gguf::File file = gguf::File::open(golden_model("llama-256-Q8_0"));
  const auto values = [&](const char* name) {
    const gguf::TensorInfo& tensor = *file.find_tensor(name);
    std::vector<float> floats(static_cast<std::size_t>(tensor.elements()));
    quant::decode(tensor.dtype, file.data(tensor), floats);
    return floats;
  };
  const std::vector<float> table = values("token_embd.weight");
  const std::vector<float> weight = values("blk.0.attn_norm.weight");
  const std::size_t width = weight.size();
  const double epsilon =
      file.metadata().get_float("llama.attention.layer_norm_rms_epsilon").value();
  std::vector<double> expected(width);
  for (const text::TokenId token : chunks.chunk(0)) {
    const float* const x = table.data() + static_cast<std::size_t>(token) * width;
    double mean = 0;
    for (std::size_t i = 0; i < width; ++i) mean += static_cast<double>(x[i]) * x[i];
    mean /= static_cast<double>(width);
    for (std::size_t i = 0; i < width; ++i) {
      const double normed = x[i] / std::sqrt(mean + epsilon) * weight[i];
      expected[i] += normed * normed;
    }
  }
  for (const char* name : {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"}) {
    const Importance* importance = matrix.find(name);
    ASSERT_NE(importance, nullptr);
    EXPECT_TRUE(importance->fits(static_cast<std::int64_t>(width), 1));
    EXPECT_EQ(importance->counts, std::vector<float>{48});
    for (std::size_t i = 0; i < width; ++i) {
      EXPECT_NEAR(importance->sums[i], expected[i], 1e-4 * expected[i] + 1e-6) << i;
    }
  }
}

/// Every row goes to as many experts as the model uses, so that the experts' sums together are
/// those of their router as often.
TEST(ImportanceCollector, ExpertsShareTheRowsOfTheirRouter) {
  HEARTH_REQUIRE_FILE(golden_model("llama-moe"));
  const TokenChunks chunks(golden_prompt("llama-moe"), 48);
  const ImportanceMatrix matrix = collected(golden_model("llama-moe"), chunks, 512);
  const Importance* router = matrix.find("blk.0.ffn_gate_inp.weight");
  const Importance* gate = matrix.find("blk.0.ffn_gate_exps.weight");
  ASSERT_NE(router, nullptr);
  ASSERT_NE(gate, nullptr);
  ASSERT_EQ(gate->counts.size(), 8U);
  float rows = 0;
  for (const float count : gate->counts) rows += count;
  EXPECT_EQ(rows, 2 * router->counts[0]);
  const std::size_t columns = router->sums.size();
  for (std::size_t i = 0; i < columns; ++i) {
    double sum = 0;
    for (std::size_t e = 0; e < 8; ++e) sum += gate->sums[e * columns + i];
    EXPECT_NEAR(sum, 2 * router->sums[i], 1e-4 * sum + 1e-9) << i;
  }
  std::int64_t unreached = 0;
  for (const float count : gate->counts) unreached += count == 0 ? 1 : 0;
  const auto list = measure::unreached_experts(matrix);
  const auto found = std::find_if(list.begin(), list.end(), [](const auto& each) {
    return each.tensor == "blk.0.ffn_gate_exps.weight";
  });
  EXPECT_EQ(unreached, found == list.end() ? 0 : found->unreached);
}

TEST(ImportanceCollector, ExpertsThatNoTokenReachesAreListed) {
  HEARTH_REQUIRE_FILE(golden_model("llama-moe"));
  const TokenChunks chunks(std::vector<text::TokenId>(4, 7), 4);
  const ImportanceMatrix matrix = collected(golden_model("llama-moe"), chunks, 512);
  const auto list = measure::unreached_experts(matrix);
  ASSERT_FALSE(list.empty());
  for (const auto& each : list) {
    EXPECT_EQ(each.matrices, 8);
    EXPECT_GT(each.unreached, 0);
    EXPECT_LT(each.unreached, 8);
  }
}

TEST(ImportanceCollector, OutputOnlyWhenItsLogitsAreWanted) {
  HEARTH_REQUIRE_FILE(golden_model("llama-256-Q8_0"));
  const TokenChunks chunks(golden_prompt("llama-256-Q8_0"), 48);
  const auto path = golden_model("llama-256-Q8_0");
  EXPECT_EQ(collected(path, chunks, 512).find("output.weight"), nullptr);
  const ImportanceMatrix with = collected(path, chunks, 512, WantedLogits::kAll);
  ASSERT_NE(with.find("output.weight"), nullptr);
  EXPECT_EQ(with.find("output.weight")->counts, std::vector<float>{48});
}

/// What the plan says is what is allocated, sums included.
TEST(ImportanceCollector, SumsArePartOfThePlan) {
  HEARTH_REQUIRE_FILE(golden_model("llama-moe"));
  const auto watched = load_measured(
      golden_model("llama-moe"), 24, 1, 24, WantedLogits::kNone, false,
      std::make_shared<ImportanceCollector>(
          compute::make_cpu_backend({.threads = 2, .exact = false, .instruction_set = {}})));
  const model::MemoryPlan plan =
      model::plan_memory(watched->file(), watched->spec(), watched->setup(), watched->backend(),
                         watched->runner().limits());
  EXPECT_EQ(plan.memory.weights, watched->memory().weights);
}

/// All families: everything that is multiplied with is in the result, in the shape of the file.
TEST(ImportanceCollector, CoversEveryMatrixOfEveryFamily) {
  HEARTH_REQUIRE_FILE(golden_model("llama-plain"));
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens_dir() / "arch")) {
    if (entry.path().extension() != ".json") continue;
    const auto description = nlohmann::json::parse(read_file(entry.path()));
    const std::string name = entry.path().stem();
    const std::filesystem::path path =
        goldens_dir() / "arch" / description.at("gguf").get<std::string>();
    if (description.at("mode") != "gen" || path.stem() != name) continue;
    const gguf::File file = gguf::File::open(path);
    const spec::ModelSpec spec = model::describe_model(file, {40});
    if (!spec.causal) continue;
    ++models;
    const TokenChunks chunks(golden_prompt(name), 40);
    ASSERT_GE(chunks.count(), 1) << name;
    const ImportanceMatrix matrix = collected(path, chunks, 512, WantedLogits::kAll);
    for (const spec::TensorUse& use : spec::tensors_of(spec)) {
      if (use.role != spec::TensorRole::kMatrix && use.role != spec::TensorRole::kStack) continue;
      const Importance* importance = matrix.find(use.name);
      EXPECT_NE(importance, nullptr) << name << " " << use.name;
      if (importance == nullptr) continue;
      const gguf::TensorInfo& tensor = *file.find_tensor(use.name);
      EXPECT_TRUE(importance->fits(tensor.shape[0], tensor.dimensions > 2 ? tensor.shape[2] : 1))
          << name << " " << use.name;
      // Only experts can go without rows.
      if (use.name.find("_exps") != std::string::npos) continue;
      for (const float count : importance->counts) EXPECT_GT(count, 0) << name << " " << use.name;
    }
  }
  EXPECT_GT(models, 60);
}

}  // namespace
}  // namespace hearth::testing
