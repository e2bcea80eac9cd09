#include "cli/embedding_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/standard_input.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "model/families/registry.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kMaxTextList = std::size_t{1} << 30;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

void add_embedding_options(CLI::App& command, EmbeddingOptions& options) {
  command.allow_extras();
  command.add_option("MODEL", options.model, "A GGUF file, or the name of a model in the store")
      ->required();
  command.add_flag("--truncate", options.truncate,
                   "Cut texts that are longer than the model's context, instead of failing");
  command.add_flag("--json", options.json, "Print one JSON object");
  command.add_option("--threads", options.threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--exact", options.exact,
                   "Keep activations in float32: reproducible to the bit");
}

void require_utf8(std::string_view text, const std::string& what) {
  if (find_invalid_utf8(text) == std::string_view::npos) return;
  throw Error(what + " is not valid UTF-8", "convert it, with iconv say", ExitCode::kUsage);
}

std::vector<std::string> texts_of(const std::vector<std::string>& words) {
  const bool from_stdin = words.empty() || (words.size() == 1 && words.front() == "-");
  std::vector<std::string> texts =
      from_stdin ? lines_of(read_stdin(kMaxTextList, "the list of texts")) : words;
  if (texts.empty()) {
    throw Error("there is no text: stdin is empty", "give texts, or pipe in one per line",
                ExitCode::kUsage);
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    require_utf8(texts[i], fmt::format("text {}", i + 1));
  }
  return texts;
}

EmbeddingModel::EmbeddingModel(const EmbeddingOptions& options)
    : options_(options),
      file_(gguf::File::open(resolve_model(plain_word(options.model)))),
      spec_(model::describe_model(file_, {})),
      encoder_(std::make_unique<generate::TextEncoder>(file_.metadata(), spec_)) {}

std::string EmbeddingModel::name() const {
  return spec_.name.empty() ? file_.path().stem().string() : spec_.name;
}

void EmbeddingModel::embed(const std::vector<generate::TokenList>& texts,
                           const generate::VectorSink& sink) {
  std::size_t longest = 1;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    longest = std::max(longest, texts[i].size());
    if (static_cast<std::int64_t>(texts[i].size()) <= limit()) continue;
    throw Error(fmt::format("text {} has {} tokens, which is more than the {} that the model takes",
                            i + 1, texts[i].size(), limit()),
                options_.truncate ? "shorten the query, which is never cut"
                                  : "shorten it, cut it into several texts, or use --truncate",
                ExitCode::kDoesNotFit);
  }
  spec::Setup setup;
  setup.model = file_.path();
  setup.threads = options_.threads;
  setup.exact = options_.exact;
  setup.kv_type = options_.exact ? tensor::DType::kF32 : tensor::DType::kF16;
  setup = generate::embedding_setup(std::move(setup), spec_, static_cast<std::int64_t>(longest),
                                    static_cast<std::int64_t>(texts.size()));
  const InterruptGuard guard(/*second_ends=*/true);
  ProgressLine progress;
  const auto loaded = model::LoadedModel::load(
      setup,
      [&progress](double fraction) {
        if (InterruptGuard::interrupted()) throw QuietExit{ExitCode::kInterrupted};
        progress.show(fmt::format("Loading the model: {:.0f} %", fraction * 100));
      },
      generate::embedding_outputs(setup));
  progress.clear();
  generate::Embedder embedder(*loaded, options_.embedder);
  embedder.embed(texts, [&](std::size_t text, std::span<const float> vectors) {
    if (InterruptGuard::interrupted()) {
      progress.clear();
      throw QuietExit{ExitCode::kInterrupted};
    }
    progress.show(fmt::format("Text {} of {}", text + 1, texts.size()));
    sink(text, vectors);
  });
}

std::string json_number(float value) {
  return std::isfinite(value) ? fmt::format("{}", value) : std::string("null");
}

std::string json_vectors(std::span<const float> values, std::size_t size) {
  std::string text = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    text += i % size == 0 ? (i == 0 ? "[" : "],[") : ",";
    text += json_number(values[i]);
  }
  return text + (values.empty() ? "]" : "]]");
}

}  // namespace hearth::cli
