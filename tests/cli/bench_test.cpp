// hearth bench as a process, and that it times the same operations as `run` does.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "cli/engine.h"
#include "compute/cpu/cpu_backend.h"
#include "compute/forward/forwarding_backend.h"
#include "measure/model_bench.h"
#include "measure/shapes.h"
#include "program.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

using compute::Operation;
using tensor::Tensor;

/// One operation: what it was, and the shapes of what it worked on.
struct Step {
  Operation operation;
  std::vector<std::int64_t> shapes;
  bool operator==(const Step&) const = default;
};
using Trace = std::vector<Step>;

/// Writes down what is done. Owns what it watches.
class TraceBackend final : public compute::ForwardingBackend {
 public:
  TraceBackend(std::shared_ptr<compute::Backend> inner, Trace& trace)
      : ForwardingBackend(*inner), owned_(std::move(inner)), trace_(trace) {}

  void matmul(const Tensor& x, std::span<const compute::Projection> projections) noexcept override {
    note(x);
    for (const compute::Projection& projection : projections) {
      shapes_.push_back(projection.weight->rows());
      note(projection.out);
    }
    ForwardingBackend::matmul(x, projections);
  }
  void norm(const compute::NormArguments& arguments) noexcept override {
    note(arguments.x);
    ForwardingBackend::norm(arguments);
  }
  void attend(const compute::AttendArguments& arguments) noexcept override {
    note(arguments.q);
    // Not the number of pages: that depends on the context.
    for (int d = 1; d < 4; ++d) shapes_.push_back(arguments.keys.shape[d]);
    ForwardingBackend::attend(arguments);
  }
  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& out) noexcept override {
    note(out);
    ForwardingBackend::add(a, b, factor, out);
  }
  void activate_gated(const compute::Gating& gating, const Tensor& gate, const Tensor& up,
                      const Tensor& out) noexcept override {
    note(out);
    ForwardingBackend::activate_gated(gating, gate, up, out);
  }

 private:
  void note(const Tensor& tensor) {
    shapes_.insert(shapes_.end(), tensor.shape.begin(), tensor.shape.end());
  }
  void begin(Operation operation) noexcept override {
    trace_.push_back({operation, shapes_});
    shapes_.clear();
  }

  std::shared_ptr<compute::Backend> owned_;
  Trace& trace_;
  std::vector<std::int64_t> shapes_;
};

std::shared_ptr<compute::Backend> one_thread() {
  return compute::make_cpu_backend({.threads = 1, .exact = false, .instruction_set = {}});
}

constexpr std::int64_t kGenerated = 3;
constexpr const char* kPrompt = "Once upon a time there was";

/// What `hearth run` does for an answer of some tokens, loading apart.
struct RunTrace {
  Trace trace;
  std::int64_t prompt_tokens = 0;
};
RunTrace trace_run(std::int64_t tokens) {
  RunTrace result;
  cli::RunOptions options;
  options.raw = true;
  options.context = 64;
  options.max_tokens = tokens;
  options.sampler.temperature = 0;
  cli::Engine engine(stories_model(), options,
                     std::make_shared<TraceBackend>(one_thread(), result.trace));
  result.trace.clear();
  const cli::Answer answer =
      cli::complete(engine, kPrompt, options, false, [](std::string_view) { return true; });
  EXPECT_EQ(answer.result.generated_tokens, tokens);
  result.prompt_tokens = answer.result.prompt_tokens;
  return result;
}

TEST(Bench, TimesTheOperationsOfRun) {
  HEARTH_REQUIRE_FILE(stories_model());
  const std::int64_t prompt_tokens = trace_run(1).prompt_tokens;
  measure::BenchPlan plan;
  plan.prompt = prompt_tokens;
  plan.generated = kGenerated;
  plan.rounds = 1;
  plan.probe_bytes = std::size_t{4} << 20;
  plan.probe_seconds = 0.001;
  spec::Setup setup;
  setup.threads = 1;
  Trace timed;
  (void)measure::run_bench(
      {[] { return std::make_shared<gguf::File>(gguf::File::open(stories_model())); }, {}}, setup,
      plan, [&](std::shared_ptr<compute::Backend> inner) {
        return std::make_shared<TraceBackend>(std::move(inner), timed);
      });

  // The last token is not evaluated.
  const Trace prompt = trace_run(1).trace;
  const Trace answer = trace_run(1 + kGenerated).trace;
  ASSERT_GT(prompt.size(), 10U);
  ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), answer.begin()));
  ASSERT_EQ((answer.size() - prompt.size()) % kGenerated, 0U);
  const auto one_pass = static_cast<std::ptrdiff_t>((answer.size() - prompt.size()) / kGenerated);

  // The round at the end: the prompt, then for decoding a prompt of one token and the answer.
  Trace expected = prompt;
  expected.insert(expected.end(), answer.end() - one_pass, answer.end());
  expected.insert(expected.end(), answer.begin() + static_cast<std::ptrdiff_t>(prompt.size()),
                  answer.end());
  ASSERT_GE(timed.size(), expected.size());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                         timed.end() - static_cast<std::ptrdiff_t>(expected.size())));
}

TEST(Bench, JsonHasARowPerDepthAndBatch) {
  HEARTH_REQUIRE_FILE(stories_model());
  const ProgramResult result = Program({"bench", stories_model().string(), "-p", "16", "-n", "4",
                                        "-d", "0,32", "-b", "1,2", "-r", "1", "--json"})
                                   .run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto rows = nlohmann::json::parse(result.output);
  ASSERT_EQ(rows.size(), 4U);
  for (const auto& row : rows) {
    EXPECT_EQ(row["model"], "stories260K");
    EXPECT_EQ(row["prompt"], 16);
    EXPECT_EQ(row["generated"], 4);
    for (const char* field : {"prefill_tps", "decode_tps", "prefill_fraction", "decode_fraction",
                              "read_gbs", "int8_gmacs", "rss_bytes", "load_ms"}) {
      ASSERT_TRUE(row[field].is_number()) << field;
      EXPECT_GT(row[field].get<double>(), 0) << field;
    }
    EXPECT_TRUE(row["type"].is_string());
  }
  EXPECT_EQ(rows[0]["depth"], 0);
  EXPECT_EQ(rows[3]["depth"], 32);
  EXPECT_EQ(rows[3]["batch"], 2);
}

TEST(Bench, TextNamesTheFractions) {
  HEARTH_REQUIRE_FILE(stories_model());
  const ProgramResult result =
      Program({"bench", stories_model().string(), "-p", "0", "-n", "4", "-r", "2", "--profile"})
          .run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.output.find("of bandwidth"), std::string::npos);
  EXPECT_NE(result.output.find("per decoding pass"), std::string::npos);
  EXPECT_EQ(result.output.find("per prompt"), std::string::npos);
  EXPECT_EQ(result.errors, "");
}

TEST(Bench, TimesTheHeaderOfAFile) {
  HEARTH_REQUIRE_FILE(stories_model());
  const TemporaryFolder folder;
  const std::string whole = hearth::read_file(stories_model());
  // Keeps the header, which is most of so small a file, and a part of the data.
  write_file_atomically(folder / "cut.gguf", whole.substr(0, whole.size() - 100'000));
  const std::string cut = (folder / "cut.gguf").string();
  const std::vector<std::string> quick = {"-p", "4", "-n", "2", "-r", "1", "--json"};
  const auto bench = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "bench");
    words.insert(words.end(), quick.begin(), quick.end());
    return Program(words).run();
  };
  EXPECT_EQ(bench({cut}).exit_code, 1);
  const ProgramResult shape = bench({"shape:" + cut, "--type", "Q8_0"});
  ASSERT_EQ(shape.exit_code, 0) << shape.errors;
  EXPECT_EQ(nlohmann::json::parse(shape.output)[0]["type"], "Q8_0");
}

struct BadBench {
  const char* name;
  std::vector<std::string> arguments;
  int exit_code;
  const char* says;
};

class BenchRefuses : public ::testing::TestWithParam<BadBench> {};

TEST_P(BenchRefuses, InOneSentence) {
  std::vector<std::string> arguments = GetParam().arguments;
  arguments.insert(arguments.begin(), "bench");
  const ProgramResult result = Program(arguments).run();
  EXPECT_EQ(result.exit_code, GetParam().exit_code);
  EXPECT_EQ(result.output, "");
  EXPECT_NE(result.errors.find(GetParam().says), std::string::npos) << result.errors;
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
}

INSTANTIATE_TEST_SUITE_P(
    All, BenchRefuses,
    ::testing::Values(
        BadBench{"missing_file", {"no-such-file.gguf"}, 1, "no-such-file"},
        BadBench{"missing_shape_file", {"shape:no-such-file.gguf"}, 1, "no such file"},
        BadBench{"misspelt_shape", {"shape:lama3-8b"}, 2, "did you mean 'llama3-8b'?"},
        BadBench{"unknown_shape", {"shape:whatever"}, 2, "qwen3-30b-a3b"},
        BadBench{"unknown_type", {"shape:lfm2-350m", "--type", "Q4_KK"}, 2, "did you mean"},
        BadBench{"no_weight_type", {"shape:lfm2-350m", "--type", "Q8_K"}, 2, "Q8_K"},
        BadBench{"type_of_a_file", {"model.gguf", "--type", "Q8_0"}, 2, "shape:model.gguf"},
        BadBench{"nothing_to_do", {"shape:lfm2-350m", "-p", "0", "-n", "0"}, 2, "nothing to time"},
        BadBench{"bad_depths", {"shape:lfm2-350m", "-d", "0,,4"}, 2, "-d takes numbers"},
        BadBench{"bad_kv", {"shape:lfm2-350m", "--kv", "f17"}, 2, "q8_0"},
        BadBench{"bad_batch", {"shape:lfm2-350m", "-b", "0"}, 2, "-b takes numbers"},
        BadBench{"too_large",
                 {"shape:llama3-8b", "--type", "Q8_0", "-p", "0", "-n", "1", "-d", "2000000"},
                 3,
                 "memory"}),
    [](const ::testing::TestParamInfo<BadBench>& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace hearth::testing
