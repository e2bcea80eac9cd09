// hearth perplexity: how well a model predicts a text, and how far it is from another one.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/measured_model.h"
#include "cli/said.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "measure/base_file.h"
#include "measure/perplexity.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;
using measure::Estimate;
using measure::PerplexityResult;

struct PerplexityFlags : MeasureOptions {
  std::string base, save;
  bool force = false;
  AdapterOptions adapters;
};

Json json_of(const Estimate& estimate) {
  return {{"value", estimate.value}, {"error", estimate.error}};
}

Json json_of(const measure::Comparison& comparison) {
  const measure::Distribution& d = comparison.divergences;
  return {{"base_perplexity", json_of(comparison.base_perplexity)},
          {"perplexity_ratio", json_of(comparison.ratio)},
          {"perplexity_difference", json_of(comparison.difference)},
          {"kl_divergence",
           {{"mean", comparison.divergence.value},
            {"error", comparison.divergence.error},
            {"median", d.median},
            {"p90", d.percentile_90},
            {"p95", d.percentile_95},
            {"p99", d.percentile_99},
            {"p99_9", d.percentile_99_9},
            {"max", d.largest}}},
          {"probability_change",
           {{"mean", comparison.probability_change.value},
            {"error", comparison.probability_change.error},
            {"rms", comparison.probability_change_rms}}},
          {"same_top_token", json_of(comparison.same_best)}};
}

void print_perplexity(const MeasuredModel& model, const PerplexityFlags& flags,
                      const PerplexityResult& result) {
  Json json{{"model", model.name()},
            {"text", model.text_name()},
            {"ctx", flags.context},
            {"chunks", result.chunks},
            {"tokens_scored", result.scored},
            {"perplexity", json_of(result.perplexity)},
            {"nll", json_of(result.nll)},
            {"tokens_evaluated", result.evaluated},
            {"seconds", result.seconds},
            {"tokens_per_second", static_cast<double>(result.evaluated) / result.seconds}};
  const std::optional<std::int64_t> coded = model.coded_tokens();
  json["coded_tokens"] = coded ? Json(*coded) : Json(nullptr);
  if (result.comparison) json["comparison"] = json_of(*result.comparison);
  fmt::print("{}\n", json.dump(-1, ' ', true, Json::error_handler_t::replace));
}

std::string text_of(const Estimate& estimate, int digits) {
  return fmt::format("{:.{}f} +/- {:.{}f}", estimate.value, digits, estimate.error, digits);
}

std::string percent(const Estimate& share) {
  return fmt::format("{:.3f} +/- {:.3f} %", 100 * share.value, 100 * share.error);
}

void print_comparison(const measure::Comparison& comparison) {
  const measure::Distribution& d = comparison.divergences;
  fmt::print("base perplexity = {}\n", text_of(comparison.base_perplexity, 4));
  fmt::print("ratio = {}\n", text_of(comparison.ratio, 6));
  fmt::print("difference = {}\n", text_of(comparison.difference, 6));
  fmt::print("KL divergence = {}\n", text_of(comparison.divergence, 6));
  fmt::print("  median {:.6f}, 90 % {:.6f}, 95 % {:.6f}, 99 % {:.6f}, 99.9 % {:.6f}, max {:.6f}\n",
             d.median, d.percentile_90, d.percentile_95, d.percentile_99, d.percentile_99_9,
             d.largest);
  fmt::print("probability of the true token: {}, RMS {:.3f} %\n",
             percent(comparison.probability_change), 100 * comparison.probability_change_rms);
  fmt::print("same top token = {}\n", percent(comparison.same_best));
}

void print_text(const PerplexityFlags& flags, const PerplexityResult& result) {
  fmt::print("perplexity = {}\n", text_of(result.perplexity, 4));
  if (result.comparison) print_comparison(*result.comparison);
  fmt::print("{} {} scored in {} {} of {}; {}\n", result.scored,
             result.scored == 1 ? "token" : "tokens", result.chunks,
             result.chunks == 1 ? "chunk" : "chunks", flags.context,
             pace(result.evaluated, result.evaluated, result.seconds));
}

void check_flags(const PerplexityFlags& flags) {
  if (flags.base.empty() || std::filesystem::exists(flags.base)) return;
  throw Error(fmt::format("there is no base file '{}'", printable(flags.base, 300)),
              "make it from the model to compare with: hearth perplexity MODEL TEXT "
              "--save-kl-base FILE");
}

void run_perplexity(const PerplexityFlags& flags) {
  check_flags(flags);
  MeasuredModel measured(flags);
  measure::TokenChunks& chunks = measured.chunks();
  if (!flags.base.empty()) {
    const std::int64_t in_text = chunks.count();
    measure::match_base(chunks, flags.base, measured.spec().logits, flags.chunks == 0);
    if (chunks.count() < in_text) {
      fmt::print(stderr, "hearth: the base file has {} of the text's {} chunks: these are read\n",
                 chunks.count(), in_text);
    }
  }
  if (!flags.save.empty()) {
    measured.check_output(flags.save, flags.force);
    const measure::BaseShape shape{measured.spec().logits, chunks.size(), chunks.count()};
    fmt::print(stderr, "hearth: the base file will have {}\n",
               precise_size_text(shape.file_bytes()));
    measure::require_room(flags.save, shape);
  }
  const InterruptGuard guard(/*second_ends=*/true);
  const auto model = measured.load(measure::WantedLogits::kSecondHalf, measured.make_backend());
  measure::PerplexityOptions options;
  options.threads = measured.threads();
  options.adapters = Adapters(*model, flags.adapters).chosen();
  options.save = flags.save;
  options.base = flags.base;
  ProgressLine line;
  std::string state = "0 chunks";
  model->runner().check_between_layers([&] {
    if (!InterruptGuard::interrupted()) return;
    line.clear();
    fmt::print(stderr, "hearth: interrupted after {}\n", state);
    throw QuietExit{ExitCode::kInterrupted};
  });
  options.progress = [&](const PerplexityResult& so_far, std::int64_t total) {
    const std::int64_t done = so_far.evaluated * so_far.chunks / total;
    state = fmt::format("{} of {} chunks, perplexity {}", done, so_far.chunks,
                        text_of(so_far.perplexity, 4));
    line.show(fmt::format("{}; {}", state, pace(so_far.evaluated, total, so_far.seconds)));
  };
  const PerplexityResult result = measure::measure_perplexity(*model, chunks, options);
  line.clear();
  if (measured.coded_tokens() == 0) {
    tell(fmt::format("chunks of {} tokens are so short that nothing was coded: {}", flags.context,
                     kWhyUncoded));
  }
  if (flags.json) return print_perplexity(measured, flags, result);
  print_text(flags, result);
}

}  // namespace

void add_perplexity_command(CLI::App& app) {
  auto flags = std::make_shared<PerplexityFlags>();
  CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  command->footer(
      "The text is cut into chunks of --ctx tokens, each a context of its own; what is left at the "
      "end is left out. Where the model begins texts with BOS, BOS takes the place of the first "
      "token of every chunk. Scored are the tokens of the second half of each chunk but its first: "
      "every prediction has seen at least half a chunk. Perplexity is e to the mean negative "
      "log-likelihood of these tokens; +/- is one standard error. It can be compared between "
      "models "
      "with the same tokens, on the same text, with the same --ctx.\n\n"
      "--save-kl-base FILE keeps the model's predictions, 2 bytes for every scored token and every "
      "token of the vocabulary: for a vocabulary of 128000 that is 65 MB per chunk of 512. With "
      "--kl-base FILE another model (a quantization of it) is compared with them: perplexities, "
      "the Kullback-Leibler divergence of its predictions, how much likelier the true token "
      "became, "
      "and how often both think the same token likeliest.\n\n"
      "Examples:\n"
      "  hearth perplexity model.gguf wiki.test.raw\n"
      "  hearth perplexity model-f16.gguf wiki.test.raw --chunks 40 --save-kl-base base.kl\n"
      "  hearth perplexity model-q4_k_m.gguf wiki.test.raw --kl-base base.kl\n"
      "\n"
      "Exit status:\n"
      "  0  measured           3    the model or the base file does not fit\n"
      "  1  failed             130  interrupted\n"
      "  2  wrong usage, also a text shorter than a chunk\n");
  add_measure_options(*command, *flags);
  auto* save =
      command->add_option("--save-kl-base", flags->save, "Write the model's predictions to FILE")
          ->type_name("FILE");
  command->add_option("--kl-base", flags->base, "Compare with the predictions in FILE")
      ->type_name("FILE")
      ->excludes(save);
  command->add_flag("--force", flags->force, "Replace the file of --save-kl-base if it exists")
      ->needs(save);
  add_adapter_options(*command, flags->adapters);
  command->callback([flags] { run_perplexity(*flags); });
}

}  // namespace hearth::cli
