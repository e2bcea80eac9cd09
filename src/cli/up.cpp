// hearth up: find a model and chat.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/main.h"
#include "cli/models.h"
#include "cli/run.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "support/error.h"

namespace hearth::cli {

void add_up_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("up", "Find a model on this machine and chat with it");
  auto model = std::make_shared<std::string>();
  command->add_option("MODEL", *model, "A GGUF file, or the name of a model in the store")
      ->type_name("");
  const std::shared_ptr<SettingFlags> flags = add_setting_flags(*command);
  command->footer(
      std::string(
          "Model:\n"
          "The one named; else the one HEARTH_MODEL or `model = …` in the config file names; else "
          "the one in the store ($XDG_DATA_HOME/hearth/models, by default "
          "~/.local/share/hearth/models). When the store has several, the one used last, else "
          "the newest.\n"
          "\n"
          "Examples:\n"
          "  hearth up\n"
          "  hearth up qwen3              # qwen3-4b-q4_k_m.gguf in the store\n"
          "  HEARTH_MODEL=~/models/tiny.gguf hearth up --think off\n"
          "\n") +
      kSettingsHelp +
      "\n"
      "Exit status:\n"
      "  0  you left            2  wrong usage\n"
      "  1  no model, or it failed  3  the model does not fit\n");
  command->callback([model, flags] {
    Configuration configuration = read_configuration();
    std::vector<SettingValue> values = std::move(configuration.values);
    values.insert(values.end(), flags->values.begin(), flags->values.end());
    (void)apply_settings({}, values);
    const ChosenModel chosen = model->empty() ? choose_model(configuration.model)
                                              : ChosenModel{resolve_model(plain_word(*model)), {}};
    if (!is_terminal(0) || !is_terminal(1)) {
      throw Error(
          "hearth up chats on a terminal, and this is none",
          fmt::format("use hearth run {} PROMPT in scripts", printable(chosen.path.string(), 300)),
          ExitCode::kUsage);
    }
    if (!chosen.reason.empty()) {
      fmt::print(stderr, "Using {}: {}.\n", printable(chosen.path.string(), 300), chosen.reason);
    }
    remember_model(chosen.path);
    run_model(chosen.path, std::nullopt, std::move(values));
  });
}

}  // namespace hearth::cli
