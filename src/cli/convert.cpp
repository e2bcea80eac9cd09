// hearth convert: a Hugging Face checkpoint to a GGUF file.
#include "cli/said.h"
#include "model/convert/converter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/terminal.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::cli {
namespace {

struct ConvertOptions {
  std::string directory, out, pre;
  std::string type = "F16";
  bool force = false;
};

void run_conversion(const ConvertOptions& options) {
  model::convert::ConvertOptions settings;
  settings.type = tensor::dtype_from_name(options.type).value();
  settings.pre_tokenizer = options.pre;
  settings.overwrite = options.force;
  model::convert::ConvertResult result;
  {
    ProgressLine line;
    const InterruptGuard guard(/*second_ends=*/false);
    result = model::convert::convert(
        options.directory, options.out, settings,
        [&](const model::convert::ConvertProgress& progress) {
          if (InterruptGuard::interrupted())
            throw Error("interrupted; nothing was written", "", ExitCode::kInterrupted);
          const double share = progress.total == 0 ? 1
                                                   : static_cast<double>(progress.done) /
                                                         static_cast<double>(progress.total);
          line.show(fmt::format("converting {:.0f} %", 100 * share));
        });
  }
  for (const std::string& warning : result.warnings) tell(warning);
  fmt::print("{}: {}, {} tensors, {}, matrices in {}\n", options.out, result.architecture,
             result.tensors, precise_size_text(result.bytes), options.type);
}

}  // namespace

void add_convert_command(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command =
      app.add_subcommand("convert", "Make a GGUF file of a Hugging Face checkpoint");
  command->footer(fmt::format(
      "FOLDER is a checkpoint as Hugging Face stores it: config.json, the .safetensors files, "
      "tokenizer.json or tokenizer.model with tokenizer_config.json. Matrices are stored as F16 "
      "unless --type says otherwise; vectors and other small tensors as F32. Nothing is held in "
      "memory, and OUT appears only when it is complete.\n\n"
      "Model types (model_type in config.json): {}.\n\n"
      "Examples:\n"
      "  hearth convert Qwen3-0.6B qwen3-0.6b.gguf\n"
      "  hearth convert Llama-3.2-1B-Instruct llama.gguf --type BF16\n"
      "\n"
      "Exit status:\n"
      "  0  converted          3    the disk is too full\n"
      "  1  failed             130  interrupted\n"
      "  2  wrong usage\n",
      fmt::join(model::convert::convertible_model_types(), ", ")));
  command->add_option("FOLDER", options->directory, "The folder of the checkpoint")->required();
  command->add_option("OUT", options->out, "The GGUF file to write")->required();
  command->add_option("--type", options->type, "Type of the matrices (default: F16)")
      ->type_name("F16|BF16|F32")
      ->transform(CLI::IsMember({"F16", "BF16", "F32"}, CLI::ignore_case));
  command
      ->add_option("--pre", options->pre,
                   "Name of the pre-tokenizer (tokenizer.ggml.pre), where it is not recognised")
      ->type_name("NAME");
  command->add_flag("--force", options->force, "Replace OUT if it exists");
  command->callback([options] { run_conversion(*options); });
}

}  // namespace hearth::cli
