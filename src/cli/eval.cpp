// hearth eval kv: what formats of keys and values cost and keep, on made vectors and in a model.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/eval_text.h"
#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/measured_model.h"
#include "cli/models.h"
#include "cli/said.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "compute/cpu/cpu_backend.h"
#include "measure/kv_model.h"
#include "measure/kv_rounding.h"
#include "measure/kv_speed.h"
#include "measure/kv_synthetic.h"
#include "spec/kv_format.h"
#include "support/error.h"
#include "text/tokenizer.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;
using measure::KvCase;
using quant::KvPart;

constexpr std::array<std::int64_t, 3> kSizes = {64, 128, 256};
constexpr std::array<KvCase, 3> kCases = {KvCase::kGaussian, KvCase::kOutliers, KvCase::kShared};
constexpr std::uint64_t kSeed = 7;

struct EvalOptions {
  std::string model, text;
  bool synthetic = false, json = false;
  std::int64_t tokens = 1024, samples = 4000, cells = 4096;
  int threads = 0;
  std::string formats;  // separated by commas; empty: all
};

void stop_if_interrupted() {
  if (InterruptGuard::interrupted()) throw QuietExit{ExitCode::kInterrupted};
}

// ---- Made vectors -------------------------------------------------------------------------------

struct SyntheticRow {
  std::string format;
  std::int64_t size = 0;
  double bits = 0;
  measure::KvDistortion distortion;
  std::array<measure::KvAttention, kCases.size()> attention;
  double seconds = 0;  // of attention, 0: the engine has no such pages
};

std::vector<std::string> formats_of(const EvalOptions& options) {
  if (options.formats.empty()) return measure::kv_rounding_names();
  std::vector<std::string> formats;
  for (std::size_t begin = 0; begin <= options.formats.size();) {
    const std::size_t end = std::min(options.formats.find(',', begin), options.formats.size());
    formats.push_back(options.formats.substr(begin, end - begin));
    begin = end + 1;
  }
  return formats;
}

bool engine_has(const std::string& format) { return format != "q4_0"; }

SyntheticRow synthetic_row(const EvalOptions& options, compute::Backend& backend,
                           const std::string& format, std::int64_t size) {
  SyntheticRow row;
  row.format = format;
  row.size = size;
  row.bits = (measure::KvRounding(format, KvPart::kKeys, size).bits_per_value() +
              measure::KvRounding(format, KvPart::kValues, size).bits_per_value()) /
             2;
  row.distortion = measure::kv_distortion(format, size, options.samples, kSeed);
  for (std::size_t i = 0; i < kCases.size(); ++i) {
    stop_if_interrupted();
    row.attention[i] =
        measure::kv_attention(format, kCases[i], {.size = size, .cells = options.cells}, kSeed);
  }
  if (engine_has(format)) {
    spec::KvFormat kv = spec::parse_kv_format(format);
    kv.uniform = kv.coded();
    row.seconds = measure::kv_attention_seconds(backend, kv, {.size = size}, 0.2);
  }
  return row;
}

std::vector<SyntheticRow> synthetic_rows(const EvalOptions& options) {
  const auto backend = compute::make_cpu_backend(
      {.threads = options.threads, .exact = false, .instruction_set = {}});
  std::vector<SyntheticRow> rows;
  ProgressLine progress;
  for (const std::int64_t size : kSizes) {
    for (const std::string& format : formats_of(options)) {
      progress.show(fmt::format("vectors of {}: {}", size, format));
      rows.push_back(synthetic_row(options, *backend, format, size));
    }
  }
  return rows;
}

Json json_of(const SyntheticRow& row) {
  Json cases = Json::object();
  for (std::size_t i = 0; i < kCases.size(); ++i) {
    const measure::KvAttention& a = row.attention[i];
    cases[std::string(measure::name(kCases[i]))] = {{"output_error", a.output_error},
                                                    {"kl_divergence", a.divergence},
                                                    {"same_top_cell", a.same_best},
                                                    {"needles_found", a.needles}};
  }
  const measure::KvDistortion& d = row.distortion;
  const auto theory = [](double value) { return value > 0 ? Json(value) : Json(nullptr); };
  return {{"format", row.format},
          {"size", row.size},
          {"bits_per_value", row.bits},
          {"mse", d.mse},
          {"mse_theory", theory(d.mse_theory)},
          {"inner_product_bias", d.bias},
          {"inner_product_variance", d.variance},
          {"inner_product_variance_theory", theory(d.variance_theory)},
          {"attention", std::move(cases)},
          {"attention_seconds", theory(row.seconds)}};
}

void print_synthetic(const EvalOptions& options, const std::vector<SyntheticRow>& rows) {
  fmt::print(
      "Made vectors: {} samples for the distortion; attention of 64 queries over {} cells, whose "
      "keys have every channel alike, outlier channels, or these and a large component that all "
      "share; and of 64 queries for one planted cell each. Time: one token, 32 query and 8 KV "
      "heads, "
      "16384 cells, {} kernels.\n",
      options.samples, options.cells, compute::chosen_cpu_instruction_set());
  std::int64_t size = 0;
  for (const SyntheticRow& row : rows) {
    if (row.size != size) {
      size = row.size;
      fmt::print("\nd = {}\n{:<8}{:>6}{:>9}{:>9}{:>9}{:>8}{:>8}   {:^23} {:^7} {:^13} {:>8}\n",
                 size, "", "bits", "MSE", "theory", "bias", "d*var", "theory",
                 "KL alike/outl./shared", "error", "needles", "ms");
    }
    const measure::KvDistortion& d = row.distortion;
    const auto known = [](double value, int digits) {
      return value > 0 ? fmt::format("{:.{}f}", value, digits) : std::string("-");
    };
    fmt::print("{:<8}{:>6.3f}{:>9.5f}{:>9}{:>9.4f}{:>8.4f}{:>8}   ", row.format, row.bits, d.mse,
               known(d.mse_theory, 5), d.bias, d.variance, known(d.variance_theory, 4));
    for (const measure::KvAttention& a : row.attention) fmt::print("{:>8.4f}", a.divergence);
    fmt::print(" {:>7.4f}", row.attention[2].output_error);
    for (const measure::KvAttention& a : row.attention) fmt::print(" {:>4.2f}", a.needles);
    fmt::print(" {:>7}\n", known(row.seconds * 1e3, 3));
  }
}

// ---- A model ------------------------------------------------------------------------------------

struct ModelRows {
  std::string name, text;
  std::vector<measure::KvModelRow> rows;
};

ModelRows model_rows(const EvalOptions& options) {
  const gguf::File file = gguf::File::open(resolve_model(plain_word(options.model)));
  ModelRows result;
  result.name = printable(file.path().filename().string());
  result.text = options.text.empty() ? "a text of Hearth's own" : printable(options.text);
  const std::string text =
      options.text.empty() ? std::string(eval_text()) : read_text(plain_word(options.text));
  const auto tokenizer = text::Tokenizer::create(file.metadata());
  std::vector<text::TokenId> tokens = tokenizer->encode(text, {.add_special = true});
  if (static_cast<std::int64_t>(tokens.size()) > options.tokens) {
    tokens.resize(static_cast<std::size_t>(options.tokens));
  }
  const auto backend = compute::make_cpu_backend(
      {.threads = options.threads, .exact = false, .instruction_set = {}});
  ProgressLine line;
  measure::KvModelOptions evaluation;
  // Short texts: at least half of it is scored.
  evaluation.first_scored =
      std::min<std::int64_t>(256, static_cast<std::int64_t>(tokens.size()) / 2);
  evaluation.progress = [&line](double share) {
    stop_if_interrupted();
    line.show(fmt::format("evaluating: {:.0f} %", 100 * share));
  };
  result.rows =
      measure::evaluate_kv_formats(file, *backend, formats_of(options), tokens, evaluation);
  return result;
}

Json json_of(const measure::Estimate& estimate) {
  return {{"value", estimate.value}, {"error", estimate.error}};
}

Json json_of(const measure::KvModelRow& row) {
  return {{"format", row.format},
          {"kv_bytes_per_token", row.bytes_per_token},
          {"of_f16", row.ratio},
          {"scored", row.scored},
          {"coded_tokens", row.coded_tokens ? Json(*row.coded_tokens) : Json(nullptr)},
          {"kl_divergence", json_of(row.divergence)},
          {"same_top_token", json_of(row.same_best)},
          {"perplexity", json_of(row.perplexity)},
          {"perplexity_ratio", json_of(row.perplexity_ratio)}};
}

void print_model(const ModelRows& model) {
  const std::int64_t scored = model.rows.front().scored;
  fmt::print("{} on {}: {} {} scored, each format against F16\n\n", model.name, model.text, scored,
             scored == 1 ? "token" : "tokens");
  fmt::print("{:<12}{:>9}{:>8}{:>22}{:>10}{:>13}{:>22}\n", "", "KV/token", "of F16",
             "KL divergence", "same top", "perplexity", "ratio to F16");
  for (const measure::KvModelRow& row : model.rows) {
    fmt::print(
        "{:<12}{:>9}{:>8.3f}{:>22}{:>8.2f} %{:>13.4f}{:>22}\n", row.format,
        size_text(row.bytes_per_token), row.ratio,
        fmt::format("{:.5f} +/- {:.5f}", row.divergence.value, row.divergence.error),
        100 * row.same_best.value, row.perplexity.value,
        fmt::format("{:.5f} +/- {:.5f}", row.perplexity_ratio.value, row.perplexity_ratio.error));
  }
}

/// Formats that did nothing show no loss.
void tell_uncoded(const ModelRows& model) {
  std::vector<std::string> formats;
  for (const measure::KvModelRow& row : model.rows) {
    if (row.coded_tokens == 0) formats.push_back(row.format);
  }
  if (formats.empty()) return;
  tell(fmt::format("the text is so short that nothing was coded in {}: {}", joined(formats),
                   kWhyUncoded));
}

// -------------------------------------------------------------------------------------------------

void evaluate(const EvalOptions& options) {
  if (options.model.empty() && !options.synthetic) {
    throw Error("there is nothing to evaluate", "name a model, or use --synthetic",
                ExitCode::kUsage);
  }
  for (const std::string& format : formats_of(options)) {
    if (engine_has(format)) (void)spec::parse_kv_format(format);
  }
  const InterruptGuard guard(/*second_ends=*/true);
  Json json = Json::object();
  if (options.synthetic) {
    const std::vector<SyntheticRow> rows = synthetic_rows(options);
    if (!options.json) print_synthetic(options, rows);
    for (const SyntheticRow& row : rows) json["synthetic"].push_back(json_of(row));
  }
  if (!options.model.empty()) {
    const ModelRows model = model_rows(options);
    if (!options.json) print_model(model);
    tell_uncoded(model);
    json["model"] = model.name;
    for (const measure::KvModelRow& row : model.rows) json["formats"].push_back(json_of(row));
  }
  if (options.json) {
    print_json(json);
  }
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* eval = app.add_subcommand("eval", "Measure what a choice costs in quality");
  eval->require_subcommand(1);
  CLI::App* command =
      eval->add_subcommand("kv", "Formats of keys and values: quality, memory, speed");
  command->footer(
      "With a model: a text is read once with F16 and once with every format, side by side; the "
      "table says how far the predictions move. With --synthetic: distortion against theory, and "
      "attention over made keys.\n\n"
      "Examples:\n"
      "  hearth eval kv model.gguf\n"
      "  hearth eval kv model.gguf --text book.txt --tokens 8192 --formats tq4,tq3,q8_0:tq4\n"
      "  hearth eval kv --synthetic --json\n"
      "\n"
      "Exit status:\n"
      "  0  measured           2  wrong usage\n"
      "  1  failed             3  the model does not fit\n");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store");
  command->add_flag("--synthetic", options->synthetic, "Made vectors of size 64, 128 and 256");
  command
      ->add_option("--text", options->text, "A text file, or - for stdin (default: Hearth's own)")
      ->type_name("FILE");
  command
      ->add_option("--tokens", options->tokens,
                   "Of the text, read at most N tokens (default: 1024)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{16}, std::int64_t{1} << 24));
  command->add_option("--formats", options->formats, "Only these (default: all)")
      ->type_name("LIST");
  command->add_option("--samples", options->samples, "Vectors per distortion (default: 4000)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{10}, std::int64_t{10'000'000}));
  command->add_option("-t,--threads", options->threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", options->json, "Print one JSON object");
  command->callback([options] { evaluate(*options); });
}

}  // namespace hearth::cli
