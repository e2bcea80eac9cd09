// hearth up: look at the machine, choose a model, fetch it if need be, chat.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <ctime>
#include <iostream>
#include <memory>
#include <string>

#include "cli/config.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/measurements.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/plan_table.h"
#include "cli/planning.h"
#include "cli/run.h"
#include "cli/said.h"
#include "cli/serve.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "cli/up_plan.h"
#include "cli/up_shapes.h"
#include "cli/words.h"
#include "machine/network.h"
#include "plan/setup_file.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;

struct UpOptions {
  std::string model, use = "chat";
  bool yes = false, plan_only = false, replan = false;
  std::uint16_t port = kDefaultPort;
};

bool on_terminal() { return is_terminal(0) && is_terminal(1); }

/// One `hearth up`.
class Up {
 public:
  Up(const UpOptions& options, const std::vector<SettingValue>& flags)
      : options_(options), configuration_(read_configuration()), flags_(flags) {
    plan_options_ = settings();
    (void)plan::builtin_uses().use(options.use);  // throws for an unknown one
  }

  void run() {
    if (const std::optional<ChosenModel> here = find_here()) return use_file(*here);
    std::optional<UpPlan> wanted;
    if (!options_.model.empty()) wanted = named_in_catalog();
    const std::string offline = why_offline();
    if (!offline.empty() && wanted) {
      throw Error(fmt::format("{} is not here, and {}", printable(wanted->name), offline),
                  fmt::format("with a network: hearth pull {}", printable(wanted->reference)));
    }
    if (!offline.empty()) return answer_without_model(offline);
    fetch(wanted ? *wanted
                 : plan_catalog(options_.use, machine(), plan_options_, earlier_measurements()));
  }

 private:
  /// What all layers say, a saved setup's included.
  RunOptions settings() {
    values_ = setup_values_;
    values_.insert(values_.end(), configuration_.values.begin(), configuration_.values.end());
    values_.insert(values_.end(), flags_.begin(), flags_.end());
    return apply_settings({}, values_);
  }

  const machine::Machine& machine() {
    if (!machine_) machine_ = planned_machine({}).machine;
    return *machine_;
  }

  [[nodiscard]] fs::path setup_file() const {
    return plan::setup_path(user_folders().config, options_.use);
  }

  /// The model that is to be used, when its file is here.
  std::optional<ChosenModel> find_here() {
    std::error_code ignored;
    if (!options_.model.empty()) {
      try {
        const fs::path path = resolve_model(options_.model);
        const bool name = path == options_.model && options_.model.find('/') == std::string::npos &&
                          !options_.model.ends_with(".gguf");
        // A name that means no file may be one of the catalog.
        if (!name || fs::exists(path, ignored)) return ChosenModel{path, "asked for"};
      } catch (const Error& error) {
        if (error.exit_code() == ExitCode::kUsage) throw;
        not_here_ = error;
      }
      return std::nullopt;
    }
    if (configuration_.model)
      return ChosenModel{resolve_model(*configuration_.model), "configured"};
    if (options_.replan) return std::nullopt;
    if (std::optional<ChosenModel> saved = saved_choice()) return saved;
    if (stored_models().empty()) return std::nullopt;
    ChosenModel chosen = choose_model(std::nullopt);
    if (chosen.reason.empty()) chosen.reason = "the only one in the store";
    return chosen;
  }

  /// The setup that was saved for this use on this machine, while its model is there.
  std::optional<ChosenModel> saved_choice() {
    const std::optional<plan::SavedSetup> saved = plan::load_setup(setup_file(), tell);
    std::error_code ignored;
    if (!saved || saved->machine != this_machine_fingerprint() ||
        !fs::is_regular_file(saved->setup.model, ignored))
      return std::nullopt;
    saved_ = saved;
    setup_values_ = setup_values(*saved, setup_file());
    plan_options_ = settings();
    return ChosenModel{
        saved->setup.model,
        fmt::format("as set up on {}", plan::day_text(saved->saved_at, std::time(nullptr)))};
  }

  UpPlan named_in_catalog() {
    if (std::optional<UpPlan> found = plan_catalog_model(options_.model, options_.use, machine(),
                                                         plan_options_, earlier_measurements()))
      return *found;
    if (not_here_) throw *not_here_;
    throw Error(fmt::format("no such file or model: '{}'", printable(options_.model)),
                "`hearth list` shows what is here, `hearth plan` what could be");
  }

  /// Why nothing can be fetched; empty: it can.
  [[nodiscard]] static std::string why_offline() {
    const hub::Network network = user_network();
    if (!network.offline.empty()) return network.offline;
    return machine::has_network_route() ? "" : "there is no network";
  }

  void print_lines(const UpPlan& plan) {
    for (const std::string& line : plan_lines(plan, machine(), std::time(nullptr)))
      fmt::print("{}\n", line);
    flush_stdout();
  }

  /// Saves what was planned, unless it came from there; what flags and variables say is not part of
  /// it: they are for this time.
  void save(const UpPlan& plan) {
    if (saved_ && saved_->setup.model == plan.path) return;
    try {
      plan::save_setup(setup_file(), saved_setup(plan, options_.use, std::time(nullptr)));
    } catch (const std::exception& error) {
      tell(fmt::format("the setup was not saved: {}", error.what()));
    }
  }

  void use_file(const ChosenModel& chosen) {
    const UpPlan plan =
        plan_file(chosen.path, chosen.reason, machine(), plan_options_, earlier_measurements());
    if (!lines_printed_) print_lines(plan);
    if (options_.plan_only) return;
    save(plan);
    remember_model(chosen.path);
    if (!on_terminal()) return serve_model(chosen.path, options_.port, values_);
    run_model(chosen.path, std::nullopt, values_, promise_of(plan));
  }

  void fetch(const UpPlan& plan) {
    print_lines(plan);
    lines_printed_ = true;
    if (const std::optional<fs::path> here = stored_as(plan.reference))
      return use_file({*here, plan.why});
    const std::string command = fmt::format("hearth pull {}", printable(plan.reference));
    if (options_.plan_only) {
      fmt::print("Fetch:   {}\n", command);
      return;
    }
    if (!options_.yes && !on_terminal()) {
      throw Error("there is no model yet, and nothing is fetched without being asked for",
                  fmt::format("hearth up --yes fetches it, or {}", command));
    }
    if (!options_.yes && !agreed(plan)) throw QuietExit{ExitCode::kFailure};
    const InterruptGuard guard(/*second_ends=*/true);
    const fs::path path = pull_model(plan.reference, {}, {}).path;
    use_file({path, plan.why});
  }

  /// What was fetched as `reference` before.
  static std::optional<fs::path> stored_as(const std::string& reference) {
    try {
      const fs::path path = resolve_model(reference);
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored)) return path;
    } catch (const Error&) {
      return std::nullopt;  // the store has none
    }
    return std::nullopt;
  }

  static bool agreed(const UpPlan& plan) {
    fmt::print("Fetch {} ({}) from the network? [y/N] ", printable(plan.reference),
               size_text(plan.file_bytes));
    flush_stdout();
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return true;
    fmt::print("Nothing was fetched. Later: hearth pull {}\n", printable(plan.reference));
    return false;
  }

  /// No model and no way to get one: what this machine would do.
  void answer_without_model(const std::string& offline) {
    fmt::print("Nothing can be fetched: {}. What this machine can do:\n\n", offline);
    flush_stdout();
    std::vector<measure::Measurement> earlier = earlier_measurements();
    if (!options_.plan_only) {
      for (const measure::Measurement& row : time_shapes()) earlier.insert(earlier.begin(), row);
    }
    const std::vector<UpPlan> plans =
        plan_choices(options_.use, machine(), plan_options_, earlier, /*most=*/5);
    if (plans.empty()) {
      (void)plan_catalog(options_.use, machine(), plan_options_, earlier);  // throws: why
    }
    fmt::print("Expected here, best first for {}:\n", options_.use);
    TextTable table({"model", "format", "file", "memory", "tok/s", "prompts", "to fetch it"},
                    {true, true, false, false, false, false, true});
    for (const UpPlan& plan : plans) {
      const plan::Estimate expected = plan.expected();
      const bool known = !expected.speeds.empty();
      table.row({printable(plan.name), printable(plan.quant), size_text(plan.file_bytes),
                 size_text(expected.memory.total()),
                 known ? speed_text(expected.speeds.front().decode.tps) : "?",
                 known ? speed_text(expected.speeds.front().prefill.tps) : "?",
                 "hearth pull " + printable(plan.reference)});
    }
    fmt::print("{}\n", table.text());
    print_lines(plans.front());
    fmt::print(
        "\nWith a network `hearth up` fetches it, after asking. A file from elsewhere: hearth up "
        "MODEL.gguf\n");
  }

  /// Prints what it measures; the rows.
  std::vector<measure::Measurement> time_shapes() {
    const machine::Machine& here = machine();
    const InterruptGuard guard(/*second_ends=*/true);
    std::vector<MeasuredShape> shapes;
    {
      ProgressLine line;
      shapes = measure_shapes(here, &InterruptGuard::flag(),
                              [&](std::string_view what) { line.show(std::string(what)); });
    }
    std::vector<measure::Measurement> rows;
    if (shapes.empty()) {
      fmt::print("No model was timed: too little memory is free.\n\n");
      return rows;
    }
    fmt::print("Measured now, with random weights:\n");
    TextTable table({"model", "format", "file", "memory", "tok/s", "prompts"},
                    {true, true, false, false, false, false});
    for (const MeasuredShape& shape : shapes) {
      table.row({shape.name, shape.type, size_text(shape.file_bytes), size_text(shape.memory_bytes),
                 speed_text(shape.decode_tps), speed_text(shape.prefill_tps)});
      rows.insert(rows.end(), shape.rows.begin(), shape.rows.end());
    }
    fmt::print("{}\n", table.text());
    if (plan_options_.measurements) keep_measurements(rows);
    return rows;
  }

  const UpOptions& options_;
  Configuration configuration_;
  const std::vector<SettingValue>& flags_;
  std::vector<SettingValue> setup_values_, values_;
  RunOptions plan_options_;
  std::optional<machine::Machine> machine_;
  std::optional<plan::SavedSetup> saved_;
  std::optional<Error> not_here_;
  bool lines_printed_ = false;
};

constexpr const char* kUpFooter =
    "What it does:\n"
    "It looks at the machine (ten seconds the first time, see `hearth probe`), chooses a model, "
    "says "
    "in four lines what it chose and what to expect, fetches the model after asking, and chats. "
    "Without a network and without a model it times well-known models with random weights and says "
    "what this machine can run.\n"
    "\n"
    "Model:\n"
    "The one named: a file, a model of the store, or one of the catalog, which is then fetched. "
    "Else "
    "the one HEARTH_MODEL or `model = …` in the config file names; else that of the setup saved "
    "for "
    "the use ($XDG_CONFIG_HOME/hearth/setups/USE.json); else the one in the store (see `hearth "
    "list`): when it has several, the one used last, else the newest; else the best of the catalog "
    "for this machine.\n"
    "\n"
    "Examples:\n"
    "  hearth up\n"
    "  hearth up qwen3              # qwen3-4b-q4_k_m.gguf in the store\n"
    "  hearth up --for code --yes   # fetches without asking\n"
    "  hearth up --plan-only        # says what it would do\n"
    "  HEARTH_MODEL=~/models/tiny.gguf hearth up --think off\n"
    "\n";

}  // namespace

void add_up_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "up", "Choose a model for this machine, fetch it if need be, and chat with it or serve it");
  auto options = std::make_shared<UpOptions>();
  command
      ->add_option("MODEL", options->model,
                   "A GGUF file, a model in the store, or one of the catalog")
      ->type_name("");
  command->add_option("--for", options->use, "What it is for (default: chat)")
      ->type_name("chat|code|agent|rag|vision|tiny");
  command->add_flag("--yes", options->yes, "Fetch without asking");
  command->add_flag("--plan-only", options->plan_only, "Say what would be done, and end");
  command->add_flag("--replan", options->replan,
                    "Choose from the catalog, whatever was set up or is in the store");
  command
      ->add_option("--port", options->port,
                   "Port of the server, where there is no terminal to chat on (default: 11434)")
      ->type_name("PORT")
      ->check(CLI::Range(0, 65535));
  const std::shared_ptr<SettingFlags> flags = add_setting_flags(*command);
  command->footer(
      std::string(kUpFooter) + kSettingsHelp +
      "\n"
      "Exit status:\n"
      "  0  you left, or were told what you asked   2  wrong usage\n"
      "  1  no model, or it failed                  3  no model fits, or not this one\n");
  command->callback([options, flags] {
    options->model = plain_word(options->model);
    Up(*options, flags->values).run();
  });
}

}  // namespace hearth::cli
