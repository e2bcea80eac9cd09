// hearth imatrix: which columns of a model's matrices matter, for quantizers.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/measured_model.h"
#include "cli/terminal.h"
#include "measure/importance_collector.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

struct ImatrixFlags : MeasureOptions {
  std::string out;
  bool process_output = false, force = false;
};

/// One line about the experts that no token was routed to.
void warn_of_unreached(std::span<const measure::UnreachedExperts> unreached) {
  if (unreached.empty()) return;
  const auto worst =
      std::max_element(unreached.begin(), unreached.end(),
                       [](const auto& a, const auto& b) { return a.unreached < b.unreached; });
  fmt::print(stderr,
             "hearth: warning: no token reached some experts of {} {}, most of all {} of {} in {}; "
             "their columns will count alike: give more text\n",
             unreached.size(), unreached.size() == 1 ? "tensor" : "tensors", worst->unreached,
             worst->matrices, printable(worst->tensor));
}

void run_imatrix(const ImatrixFlags& flags) {
  MeasuredModel measured(flags);
  const measure::TokenChunks& chunks = measured.chunks();
  measured.check_output(flags.out, flags.force);
  const auto wanted =
      flags.process_output ? measure::WantedLogits::kAll : measure::WantedLogits::kNone;
  const InterruptGuard guard(/*second_ends=*/true);
  const auto collector = std::make_shared<measure::ImportanceCollector>(measured.make_backend());
  const auto model = measured.load(wanted, collector);
  measure::ChunkRunner runner(*model, wanted);
  runner.separate_first_row(measure::absorbs_keys(model->spec()));
  const std::int64_t total = chunks.count() * chunks.size();
  std::int64_t done = 0;
  double seconds = 0;
  {
    ProgressLine line;
    const auto begin = std::chrono::steady_clock::now();
    model->runner().check_between_layers([] {
      if (InterruptGuard::interrupted())
        throw Error("interrupted; nothing was written", "", ExitCode::kInterrupted);
    });
    runner.run(chunks, [&](std::int64_t evaluated, auto, auto) {
      done += evaluated;
      seconds = seconds_since(begin);
      line.show(fmt::format("{} of {} chunks; {}", done / chunks.size(), chunks.count(),
                            pace(done, total, seconds)));
    });
  }
  model::ImportanceMatrix matrix = collector->result(model->file());
  matrix.datasets = {measured.text_name()};
  matrix.chunk_count = static_cast<std::uint32_t>(chunks.count());
  matrix.chunk_size = static_cast<std::uint32_t>(chunks.size());
  const auto unreached = measure::unreached_experts(matrix);
  warn_of_unreached(unreached);
  model::write_importance(flags.out, matrix);
  if (flags.json) {
    nlohmann::ordered_json json{{"model", measured.name()},
                                {"text", measured.text_name()},
                                {"output", flags.out},
                                {"tensors", matrix.tensors.size()},
                                {"ctx", chunks.size()},
                                {"chunks", chunks.count()},
                                {"tokens_evaluated", total},
                                {"seconds", seconds},
                                {"unreached_experts", nlohmann::ordered_json::object()}};
    for (const measure::UnreachedExperts& each : unreached) {
      json["unreached_experts"][each.tensor] = each.unreached;
    }
    fmt::print("{}\n", json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {} tensors from {} {} of {}; {}\n", flags.out, matrix.tensors.size(),
             chunks.count(), chunks.count() == 1 ? "chunk" : "chunks", chunks.size(),
             pace(total, total, seconds));
}

}  // namespace

void add_imatrix_command(CLI::App& app) {
  auto flags = std::make_shared<ImatrixFlags>();
  CLI::App* command = app.add_subcommand(
      "imatrix", "Measure which parts of a model's matrices matter, for quantizing");
  command->footer(
      "Runs a text through the model and writes, for every matrix, the mean square of what each of "
      "its columns was multiplied with (an importance matrix, in GGUF form), per expert where "
      "there "
      "are experts. Quantizers lose less where that is large. The text should be like what the "
      "model will be used for; 50000 to 300000 tokens are plenty, models with many experts want "
      "more. It is cut into chunks of --ctx tokens, each a context of its own that begins with BOS "
      "where the model wants it.\n\n"
      "The matrix that makes the logits is left out, since quantizers do better without it; "
      "--process-output measures it, too.\n\n"
      "Examples:\n"
      "  hearth imatrix model-f16.gguf calibration.txt -o model.imatrix.gguf\n"
      "  hearth imatrix model-q8_0.gguf calibration.txt --chunks 200 -o model.imatrix.gguf\n"
      "\n"
      "Exit status:\n"
      "  0  written            3    the model or the file does not fit\n"
      "  1  failed             130  interrupted; nothing is written\n"
      "  2  wrong usage, also a text shorter than a chunk\n");
  add_measure_options(*command, *flags);
  command->add_option("-o,--output", flags->out, "The file to write")
      ->required()
      ->type_name("FILE");
  command->add_flag("--force", flags->force, "Replace FILE if it exists");
  command->add_flag("--process-output", flags->process_output,
                    "Also measure the matrix that makes the logits");
  command->callback([flags] { run_imatrix(*flags); });
}

}  // namespace hearth::cli
