// hearth logits: raw logits of given tokens, for conformance tests and for comparing engines.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/main.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

struct LogitsOptions {
  std::string model;
  std::string token_list, chunk_list;
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> chunks;
  std::int64_t greedy = 0;
  std::int64_t context = 512;
  std::int64_t first_position = 0;
  int threads = 0;
  bool exact = false, one_by_one = false, pooled = false, per_token = false;
  std::string out;
};

/// Rows per pass are limited so that their logits take at most this much memory.
constexpr std::int64_t kLogitBytes = std::int64_t{256} << 20;

/// Integers in [low, high], separated by commas.
template <class Integer>
std::vector<Integer> parse_list(const std::string& option, std::string_view list, std::int64_t low,
                                std::int64_t high) {
  std::vector<Integer> values;
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    std::int64_t value = 0;
    const auto [end, problem] = std::from_chars(item.data(), item.data() + item.size(), value);
    if (problem != std::errc() || end != item.data() + item.size() || value < low || value > high) {
      throw Error(fmt::format("{}: '{}' is not an integer from {} to {}", option, printable(item),
                              low, high),
                  "give integers separated by commas, e.g. 1,2,3", ExitCode::kUsage);
    }
    values.push_back(static_cast<Integer>(value));
    if (comma == std::string_view::npos) return values;
    list.remove_prefix(comma + 1);
  }
}

/// Appends rows of floats to a file.
class RowWriter {
 public:
  explicit RowWriter(const std::string& path)
      : path_(path), file_(path, std::ios::binary | std::ios::trunc) {
    check();
  }
  void append(std::span<const float> values) {
    file_.write(reinterpret_cast<const char*>(values.data()),
                static_cast<std::streamsize>(values.size_bytes()));
    check();
  }
  void close() {
    file_.close();
    check();
  }

 private:
  void check() const {
    if (!file_)
      throw Error("cannot write '" + printable(path_, 300) + "'",
                  "check the folder and the free space");
  }
  std::string path_;
  std::ofstream file_;
};

class LogitsRun {
 public:
  explicit LogitsRun(const LogitsOptions& options) : options_(options), writer_(options.out) {
    spec::Setup setup;
    setup.model = options.model;
    setup.context = options.context;
    setup.threads = options.threads;
    setup.exact = options.exact;
    setup.kv_type = options.exact ? tensor::DType::kF32 : tensor::DType::kF16;
    chunks_ = options.one_by_one ? std::vector<std::int64_t>{1} : options.chunks;
    if (chunks_.empty()) chunks_ = {static_cast<std::int64_t>(options.tokens.size())};
    setup.batch_rows =
        std::min<std::int64_t>(512, *std::max_element(chunks_.begin(), chunks_.end()));
    setup.batch_rows = std::min(setup.batch_rows, options.context);
    const std::int64_t vocabulary =
        model::describe_model(gguf::File::open(options.model), {options.context}).vocabulary;
    limit_ = std::clamp<std::int64_t>(
        kLogitBytes / (vocabulary * static_cast<std::int64_t>(sizeof(float))), 1, setup.batch_rows);
    model_ = model::LoadedModel::load(setup, {}, limit_);
    sequence_ = model_->new_sequence(options.first_position);
  }

  void run() {
    run_prompt();
    nlohmann::ordered_json greedy = nlohmann::ordered_json::array();
    for (std::int64_t step = 0; step < options_.greedy; ++step) {
      const auto best =
          static_cast<std::int32_t>(std::max_element(last_.begin(), last_.end()) - last_.begin());
      greedy.push_back(best);
      evaluate({&best, 1});
    }
    writer_.close();
    fmt::print("{}\n",
               nlohmann::ordered_json{
                   {"rows", rows_}, {"cols", model_->spec().vocabulary}, {"greedy", greedy}}
                   .dump());
  }

 private:
  void run_prompt() {
    std::span<const std::int32_t> rest = options_.tokens;
    for (std::size_t i = 0; !rest.empty(); ++i) {
      std::int64_t size =
          std::min(chunks_[i % chunks_.size()], static_cast<std::int64_t>(rest.size()));
      while (size > 0) {
        const auto count = static_cast<std::size_t>(std::min(size, limit_));
        evaluate(rest.first(count));
        rest = rest.subspan(count);
        size -= static_cast<std::int64_t>(count);
      }
    }
  }

  void evaluate(std::span<const std::int32_t> tokens) {
    batch_.clear();
    for (const std::int32_t token : tokens) batch_.push_back({sequence_.get(), token, true});
    last_ = model_->run(batch_);
    writer_.append(last_);
    rows_ += static_cast<std::int64_t>(tokens.size());
    last_ = last_.last(static_cast<std::size_t>(model_->spec().vocabulary));
  }

  const LogitsOptions& options_;
  RowWriter writer_;
  std::vector<std::int64_t> chunks_;
  std::unique_ptr<model::LoadedModel> model_;
  std::unique_ptr<state::SequenceState> sequence_;
  std::vector<model::BatchRow> batch_;
  std::span<const float> last_;
  std::int64_t limit_ = 1;
  std::int64_t rows_ = 0;
};

void run_logits(LogitsOptions& options) {
  options.tokens = parse_list<std::int32_t>("--tokens", options.token_list, 0,
                                            std::numeric_limits<std::int32_t>::max());
  if (!options.chunk_list.empty()) {
    options.chunks = parse_list<std::int64_t>("--chunks", options.chunk_list, 1, 1 << 20);
  }
  if (options.pooled || options.per_token) {
    throw Error("--pooled and --per-token need an embedding model, which this version cannot run",
                "leave the option out to get logits");
  }
  LogitsRun(options).run();
}

}  // namespace

void add_logits_command(CLI::App& app) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command =
      app.add_subcommand("logits", "Write the raw logits of given tokens to a file");
  command->footer(
      "Writes float32 rows (little-endian, row-major, no header): one row per prompt position, "
      "then one per --greedy step,\n"
      "and prints {\"rows\":…,\"cols\":…,\"greedy\":[…]}. With --exact, activations stay float32 "
      "and results do not depend on\n"
      "how the prompt is cut into batches or on the number of threads.\n\n"
      "Example: hearth logits model.gguf --tokens 1,15043,3186 --exact --greedy 8 --out "
      "logits.f32");
  command->add_option("MODEL", options->model, "a GGUF file")->required();
  command->add_option("--tokens", options->token_list, "token ids, separated by commas")
      ->required();
  command->add_flag("--exact", options->exact, "float32 activations, reproducible to the bit");
  auto* single =
      command->add_flag("--one-by-one", options->one_by_one, "evaluate one token per pass");
  command->add_option("--chunks", options->chunk_list, "sizes of the passes, repeated, e.g. 7,1,13")
      ->excludes(single);
  command->add_option("--greedy", options->greedy, "continue greedily for N tokens")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--ctx", options->context, "cells of KV cache")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  command->add_option("--pos0", options->first_position, "position of the first token")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  command->add_option("--threads", options->threads, "threads (0: all cores)")
      ->check(CLI::Range(0, 1024));
  auto* pooled =
      command->add_flag("--pooled", options->pooled, "embedding models: the pooled vector");
  command->add_flag("--per-token", options->per_token, "embedding models: a hidden state per token")
      ->excludes(pooled);
  command->add_option("--out", options->out, "the file to write")->required();
  command->callback([options] { run_logits(*options); });
}

}  // namespace hearth::cli
