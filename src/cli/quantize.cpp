// hearth quantize: a smaller copy of a GGUF model.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "model/quantize/quantizer.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

namespace quantize = model::quantize;
using Clock = std::chrono::steady_clock;

struct QuantizeOptions {
  std::string in, out, type, importance;
  std::vector<std::string> overrides;
  bool pure = false, allow_requantize = false, force = false, dry_run = false;
  int threads = 0;
};

quantize::FileType file_type_of(const std::string& name) {
  if (const auto type = quantize::file_type_from_name(name)) return *type;
  std::vector<std::string> names;
  for (const quantize::FileTypeInfo& info : quantize::all_file_types())
    names.emplace_back(info.name);
  std::string upper = name.substr(0, 64);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](char c) { return 'a' <= c && c <= 'z' ? static_cast<char>(c - 32) : c; });
  const std::string nearest = suggestion(upper, names);
  throw Error(fmt::format("unknown type '{}'", printable(name)),
              nearest.empty() ? "see hearth quantize --help for all types" : nearest,
              ExitCode::kUsage);
}

std::string time_text(double seconds) {
  if (seconds < 10) return fmt::format("{:.1f} s", seconds);
  if (seconds < 120) return fmt::format("{:.0f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

double bits_per_weight(const quantize::Quantization& job) {
  return 8 * static_cast<double>(job.bytes_after()) / static_cast<double>(job.weights());
}

std::string shape_text(const gguf::TensorInfo& tensor) {
  std::string text;
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : " x ", tensor.shape[i]);
  return text;
}

void print_tensors(const quantize::Quantization& job) {
  std::size_t width = 0;
  for (const quantize::PlannedTensor& tensor : job.tensors())
    width = std::max(width, printable(tensor.source->name).size());
  for (const quantize::PlannedTensor& tensor : job.tensors()) {
    fmt::print("{:<{}}  {:>20}  {:>7} -> {:<7}  {:>9}\n", printable(tensor.source->name), width,
               shape_text(*tensor.source), tensor::name(tensor.source->dtype),
               tensor::name(tensor.type), size_text(tensor.bytes));
  }
}

/// "Q4_K 12, Q6_K 4, F32 9": how many tensors have which type, by their bytes.
std::string types_text(const quantize::Quantization& job) {
  struct Count {
    std::size_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  std::map<tensor::DType, Count> counts;
  for (const quantize::PlannedTensor& tensor : job.tensors()) {
    Count& count = counts[tensor.type];
    ++count.tensors;
    count.bytes += tensor.bytes;
  }
  std::vector<std::pair<tensor::DType, Count>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });
  std::string text;
  for (const auto& [type, count] : sorted)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", tensor::name(type), count.tensors);
  return text;
}

/// What people should know about the result.
void print_notes(const quantize::Quantization& job) {
  std::map<tensor::DType, std::size_t> replaced;
  for (const quantize::PlannedTensor& tensor : job.tensors()) {
    if (tensor.replaced) ++replaced[tensor.type];
  }
  for (const auto& [type, count] : replaced) {
    fmt::print(stderr, "hearth: {} {} {} instead: the rows do not fit the blocks of the type\n",
               count, count == 1 ? "tensor is" : "tensors are", tensor::name(type));
  }
  if (job.without_importance() != 0) {
    fmt::print(stderr, "hearth: the importance matrix says nothing about {} of the tensors\n",
               job.without_importance());
  }
}

void write(const quantize::Quantization& job, const QuantizeOptions& options) {
  ProgressLine line;
  const InterruptGuard guard(/*second_ends=*/false);
  const Clock::time_point start = Clock::now();
  job.write(options.out, {options.force, options.threads},
            [&](const quantize::QuantizeProgress& progress) {
              if (InterruptGuard::interrupted())
                throw Error("interrupted; nothing was written", "", ExitCode::kInterrupted);
              const double share =
                  static_cast<double>(progress.done) / static_cast<double>(progress.total);
              const double spent = seconds_since(start);
              line.show(spent < 1 || share <= 0
                            ? fmt::format("quantizing {:.0f} %", 100 * share)
                            : fmt::format("quantizing {:.0f} %, {} left", 100 * share,
                                          time_text(spent / share * (1 - share))));
            });
}

void run_quantization(const QuantizeOptions& options) {
  quantize::QuantizeOptions settings;
  settings.type = file_type_of(options.type);
  settings.pure = options.pure;
  for (const std::string& text : options.overrides)
    settings.overrides.push_back(quantize::parse_type_override(text));
  settings.importance = options.importance;
  settings.allow_requantize = options.allow_requantize;
  const quantize::Quantization job(resolve_model(options.in), settings);

  const Clock::time_point start = Clock::now();
  if (options.dry_run) {
    print_tensors(job);
  } else {
    write(job, options);
  }
  print_notes(job);
  fmt::print("{}: {}, {} of {}, {:.2f} bits per weight{}\ntensors: {}\n", options.out,
             quantize::info(settings.type).name, size_text(job.bytes_after()),
             size_text(job.bytes_before()), bits_per_weight(job),
             options.dry_run ? "" : ", " + time_text(seconds_since(start)), types_text(job));
}

std::string types_page() {
  std::string page = "Types:\n";
  for (const quantize::FileTypeInfo& info : quantize::all_file_types())
    page += fmt::format("  {:<12}{}\n", info.name, info.about);
  return page;
}

void add_options(CLI::App& command, QuantizeOptions& options) {
  command.add_option("IN", options.in, "A GGUF file, or the name of a model in the store")
      ->required();
  command.add_option("OUT", options.out, "The GGUF file to write")->required();
  command.add_option("TYPE", options.type, "One of the types below")->required();
  command
      .add_option("--imatrix", options.importance,
                  "Importance matrix, as hearth imatrix makes it: what matters gets the precision")
      ->type_name("FILE");
  command
      .add_option("--tensor-type", options.overrides,
                  "Give certain tensors another type; can be repeated, the last that matches wins")
      ->type_name("PATTERN=TYPE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_flag("--pure", options.pure, "Give all matrices the same type");
  command.add_flag("--allow-requantize", options.allow_requantize,
                   "Quantize what is quantized already, which adds errors to errors");
  command.add_flag("--dry-run", options.dry_run,
                   "Print the type and size of every tensor and write nothing");
  command.add_option("--threads", options.threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(1, 512));
  command.add_flag("--force", options.force, "Replace OUT if it exists");
}

}  // namespace

void add_quantize_command(CLI::App& app) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command = app.add_subcommand("quantize", "Make a smaller copy of a model");
  command->footer(
      "Each type is a mix: tensors that matter more get more bits. Norms, routers and other small "
      "tensors stay as they are. Q2_EXPERTS, for models with routed experts, takes those to two "
      "bits and keeps everything that all tokens use at eight. OUT appears only when it is "
      "complete; memory holds a few megabytes of the model at a time.\n\n"
      "A PATTERN names whole parts of a tensor's name between its dots, and * stands for any text: "
      "ffn_down, blk.0, blk.*.attn_v, ffn_*_exps. Its TYPE is a type of tensors (Q6_K, F16) or "
      "copy.\n\n" +
      types_page() +
      "  Bits are those per weight of a whole Llama of 8 billion weights.\n"
      "\nExamples:\n"
      "  hearth quantize model-f16.gguf model-q4.gguf Q4_K_M\n"
      "  hearth quantize model-f16.gguf small.gguf IQ2_XXS --imatrix model.imatrix\n"
      "  hearth quantize model-f16.gguf mix.gguf Q4_K_M --tensor-type attn_v=Q8_0\n"
      "  hearth quantize model-f16.gguf out.gguf Q5_K_M --dry-run\n"
      "\n"
      "Exit status:\n"
      "  0  written            3    the disk is too full\n"
      "  1  failed             130  interrupted\n"
      "  2  wrong usage\n");
  add_options(*command, *options);
  command->callback([options] { run_quantization(*options); });
}

}  // namespace hearth::cli
