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
#include "cli/models.h"
#include "cli/words.h"
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
  /// Only says whether `path` can be written; what it holds stays until begin().
  explicit RowWriter(const std::string& path)
      : path_(path), file_(path, std::ios::binary | std::ios::app) {
    check();
  }
  void begin() {
    file_.close();
    file_.open(path_, std::ios::binary | std::ios::trunc);
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
    setup.model = resolve_model(plain_word(options.model));
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
        model::describe_model(gguf::File::open(setup.model), {options.context}).vocabulary;
    limit_ = std::clamp<std::int64_t>(
        kLogitBytes / (vocabulary * static_cast<std::int64_t>(sizeof(float))), 1, setup.batch_rows);
    model_ = model::LoadedModel::load(setup, {}, {.logit_rows = limit_});
    check_tokens();
    sequence_ = model_->new_sequence(options.first_position);
    writer_.begin();
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
  void check_tokens() const {
    const std::int64_t vocabulary = model_->spec().vocabulary;
    for (const std::int32_t token : options_.tokens) {
      if (token < vocabulary) continue;
      throw Error(fmt::format("token id {} is outside the vocabulary of {}", token, vocabulary),
                  "use ids that hearth tokenize gives for this model");
    }
    const std::int64_t count = static_cast<std::int64_t>(options_.tokens.size()) + options_.greedy;
    if (count > model_->setup().context) {
      throw Error(fmt::format("{} tokens are more than the context of {} holds", count,
                              model_->setup().context),
                  fmt::format("use --ctx {}", count), ExitCode::kDoesNotFit);
    }
  }

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
      "Examples:\n"
      "  hearth logits model.gguf --tokens 1,15043,3186 --exact --greedy 8 --out logits.f32\n"
      "  hearth logits model.gguf --tokens 1,2,3,4 --chunks 3,1 --out logits.f32\n"
      "\n"
      "Exit status:\n"
      "  0  written            2  wrong usage\n"
      "  1  failed             3  the model or the tokens do not fit\n");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store")
      ->required();
  command->add_option("--tokens", options->token_list, "Token ids, separated by commas")
      ->required()
      ->type_name("IDS");
  command->add_flag("--exact", options->exact,
                    "Keep activations in float32: reproducible to the bit");
  auto* single =
      command->add_flag("--one-by-one", options->one_by_one, "Evaluate one token per pass");
  command->add_option("--chunks", options->chunk_list, "Sizes of the passes, repeated: 7,1,13")
      ->type_name("SIZES")
      ->excludes(single);
  command->add_option("--greedy", options->greedy, "Continue greedily for N tokens")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--ctx", options->context, "Tokens the context holds (default: 512)")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  command->add_option("--pos0", options->first_position, "Position of the first token (default: 0)")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  command->add_option("--threads", options->threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  auto* pooled = command->add_flag("--pooled", options->pooled,
                                   "Embedding models (a later version): the pooled vector");
  command
      ->add_flag("--per-token", options->per_token,
                 "Embedding models (a later version): a hidden state per token")
      ->excludes(pooled);
  command->add_option("--out", options->out, "The file to write")->required()->type_name("FILE");
  command->callback([options] { run_logits(*options); });
}

}  // namespace hearth::cli
