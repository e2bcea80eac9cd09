#include "cli/measured_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/standard_input.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "compute/cpu/cpu_backend.h"
#include "machine/cpu.h"
#include "measure/kv_model.h"
#include "model/families/registry.h"
#include "state/memory.h"
#include "support/error.h"
#include "support/file.h"
#include "support/write_target.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kMaxCorpusBytes = std::size_t{1} << 30;

}  // namespace

std::string read_text(const std::string& name) {
  return name == "-" ? read_stdin(kMaxCorpusBytes, "the text") : read_file(name, kMaxCorpusBytes);
}

void add_measure_options(CLI::App& command, MeasureOptions& options) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  command.add_option("MODEL", options.model, "A GGUF file, or the name of a model in the store")
      ->required();
  command.add_option("TEXT", options.text, "A text file, or - for stdin")->required();
  command
      .add_option("-c,--ctx", options.context,
                  "Tokens per chunk, each chunk a context of its own (default: 512)")
      ->type_name("N")
      ->check(CLI::Range(measure::kShortestChunk, kMost));
  command
      .add_option("--chunks", options.chunks, "Read at most N chunks of the text (default: all)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, kMost));
  command
      .add_option(
          "-b,--batch", options.batch,
          "Rows per pass (default: 512; at most 64 where --kv is a code, since rows are coded "
          "behind their pass); several short chunks share one")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 16));
  command.add_option("-t,--threads", options.threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  command.add_option("--kv", options.kv, "Format of the context's keys and values (default: f16)")
      ->type_name("FORMAT");
  command.add_flag("--exact", options.exact,
                   "Keep activations, keys and values in float32: reproducible, slower");
  command.add_flag("--mapped", options.mapped,
                   "Use the weights in the file instead of copying them");
  command.add_flag("--json", options.json, "Print one JSON object");
}

MeasuredModel::MeasuredModel(const MeasureOptions& options)
    : options_(options),
      file_(
          std::make_shared<gguf::File>(gguf::File::open(resolve_model(plain_word(options.model))))),
      spec_(model::describe_model(*file_, {options.context})),
      kv_(options.exact ? spec::KvFormat(tensor::DType::kF32) : spec::parse_kv_format(options.kv)) {
  const std::string text = read_text(plain_word(options.text));
  const auto tokenizer = text::Tokenizer::create(file_->metadata());
  // Models that cannot be measured are refused before their text is.
  (void)measure::chunk_setup({}, spec_, options.context, 1, options.batch,
                             measure::WantedLogits::kNone);
  chunks_.emplace(*tokenizer, text, options.context, options.chunks);
  if (spec_.context_length > 0 && options.context > spec_.context_length) {
    fmt::print(stderr,
               "hearth: warning: the model was trained with contexts of {} tokens, and --ctx is "
               "{}\n",
               spec_.context_length, options.context);
  }
}

std::string MeasuredModel::name() const {
  return spec_.name.empty() ? file_->path().stem().string() : spec_.name;
}

std::string MeasuredModel::text_name() const {
  const std::string word = plain_word(options_.text);
  return word == "-" ? "stdin" : std::filesystem::path(word).filename().string();
}

int MeasuredModel::threads() const {
  return options_.threads > 0 ? options_.threads : machine::usable_cores();
}

std::optional<std::int64_t> MeasuredModel::coded_tokens() const {
  if (!kv_.coded()) return std::nullopt;
  return measure::coded_tokens(spec_, kv_, options_.context - 1,
                               std::min<std::int64_t>(options_.batch, state::kPageCells));
}

void MeasuredModel::check_output(const std::filesystem::path& out, bool replace,
                                 std::initializer_list<std::filesystem::path> inputs) const {
  const auto refuse_same = [&](const std::filesystem::path& input) {
    std::error_code ignored;  // a file that is not there is no other file
    if (!std::filesystem::equivalent(input, out, ignored)) return;
    throw Error("'" + printable(out.string(), 300) + "' would be overwritten, and it is read",
                "name another file", ExitCode::kUsage);
  };
  (void)write_target(out);  // told before the work, not after it
  refuse_same(file_->path());
  refuse_same(plain_word(options_.text));
  for (const std::filesystem::path& input : inputs) refuse_same(input);
  require_new(out, replace);
}

std::shared_ptr<compute::Backend> MeasuredModel::make_backend() const {
  return compute::make_cpu_backend(
      {.threads = threads(), .exact = options_.exact, .instruction_set = {}});
}

std::unique_ptr<model::LoadedModel> MeasuredModel::load(
    measure::WantedLogits wanted, std::shared_ptr<compute::Backend> backend) const {
  spec::Setup setup;
  setup.model = file_->path();
  setup.threads = threads();
  setup.exact = options_.exact;
  setup.mapped = options_.mapped;
  setup.kv_type = kv_;
  const measure::ChunkSetup chunks = measure::chunk_setup(std::move(setup), spec_, options_.context,
                                                          chunks_->count(), options_.batch, wanted);
  ProgressLine progress;
  return model::LoadedModel::load(
      file_, std::move(backend), chunks.setup,
      [&progress](double fraction) {
        if (InterruptGuard::interrupted()) throw QuietExit{ExitCode::kInterrupted};
        progress.show(fmt::format("Loading the model: {:.0f} %", fraction * 100));
      },
      chunks.outputs);
}

std::string pace(std::int64_t done, std::int64_t total, double seconds) {
  if (seconds <= 0 || done == 0) return "-";
  const double rate = static_cast<double>(done) / seconds;
  std::string text = fmt::format("{:.1f} tokens/s", rate);
  const double left = static_cast<double>(total - done) / rate;
  if (left >= 90) {
    text += fmt::format(", {:.0f} min left", left / 60);
  } else if (left >= 1) {
    text += fmt::format(", {:.0f} s left", left);
  }
  return text;
}

}  // namespace hearth::cli
