// hearth plan --predict: speeds for a table of setups.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/main.h"
#include "plan/predict.h"

namespace hearth::cli {

void add_plan_command(CLI::App& app) {
  struct Options {
    std::string predict, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plan", "Predict speeds for a table of setups");
  command->add_option("--predict", options->predict, "A table of setups (docs/planner-model.md)")
      ->type_name("FILE.csv")
      ->required();
  command->add_option("--out", options->out, "Where to write the predicted speeds")
      ->type_name("PRED.csv")
      ->required();
  command->callback([options] { plan::predict_file(options->predict, options->out); });
}

}  // namespace hearth::cli
