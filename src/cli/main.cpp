#include "cli/main.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <system_error>

#include "cli/help.h"
#include "cli/output.h"
#include "cli/said.h"
#include "cli/suggest.h"
#include "cli/words.h"
#include "compute/cpu/cpu_backend.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

void add_commands(CLI::App& app) {
  add_up_command(app);
  add_run_command(app);
  add_serve_command(app);
  add_plan_command(app);
  add_probe_command(app);
  add_doctor_command(app);
  add_pull_command(app);
  add_list_command(app);
  add_show_command(app);
  add_rm_command(app);
  add_import_command(app);
  add_catalog_command(app);
  add_cost_command(app);
  add_inspect_command(app);
  add_embed_command(app);
  add_rerank_command(app);
  add_bench_command(app);
  add_perplexity_command(app);
  add_eval_command(app);
  add_imatrix_command(app);
  add_quantize_command(app);
  add_convert_command(app);
  add_tokenize_command(app);
  add_detokenize_command(app);
  add_render_command(app);
  add_logits_command(app);
  add_sessions_command(app);
  add_completion_command(app);
  add_licenses_command(app);
  add_man_command(app);
}

std::string version_text() {
#if defined(__clang__)
  const std::string compiler =
      fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  const std::string compiler =
      fmt::format("gcc {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
  return fmt::format("hearth {}\ncompiler: {}\ninstruction set: {}", kVersion, compiler,
                     compute::chosen_cpu_instruction_set());
}

int report(const std::string& message, const std::string& hint, ExitCode exit_code) {
  std::fflush(stdout);
  fmt::print(stderr, "hearth: {}{}\n", message, hint.empty() ? "" : "; " + hint);
  return static_cast<int>(exit_code);
}

[[noreturn]] void refuse_option(const CLI::App& command, const std::string& word,
                                const std::string& help) {
  const std::string name = word.substr(0, word.find('='));
  const std::string nearest = suggestion(name, option_names(command));
  throw Error(fmt::format("unknown option '{}'", printable(name)),
              nearest.empty() ? help : nearest + " " + help, ExitCode::kUsage);
}

bool looks_like_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

/// The first word must be a command; CLI11's own message for others does not help.
void check_command(const CLI::App& app, const std::vector<std::string>& words) {
  if (words.size() < 2) return;
  const std::vector<std::string> options = option_names(app);
  if (looks_like_option(words[1])) {
    if (std::find(options.begin(), options.end(), words[1]) != options.end()) return;
    refuse_option(app, words[1], "see hearth --help");
  }
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == words[1]) return;
    names.push_back(command->get_name());
  }
  const std::string nearest = suggestion(words[1], names);
  throw Error(fmt::format("unknown command '{}'", printable(words[1])),
              nearest.empty() ? "see hearth --help" : nearest, ExitCode::kUsage);
}

/// "1000000.000000" without what says nothing.
std::string short_number(std::string text) {
  if (text.find('.') == std::string::npos) return text;
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

/// What CLI11 says of values, in words for people who know no programming. Other messages stay.
std::string in_plain_words(const std::string& message) {
  constexpr std::string_view kConvert = "Could not convert: ", kRange = " not in range ",
                             kMember = " not in {", kValue = "Value ";
  if (message.starts_with(kConvert)) {
    const std::size_t equals = message.find(" = ");
    if (equals == std::string::npos) return message;
    return fmt::format("{}: '{}' is not a value that it can have",
                       message.substr(kConvert.size(), equals - kConvert.size()),
                       printable(message.substr(equals + 3)));
  }
  const std::size_t colon = message.find(": ");
  if (colon == std::string::npos) return message;
  const std::string name = message.substr(0, colon), rest = message.substr(colon + 2);
  const std::size_t range = rest.rfind(kRange), to = rest.rfind(" to ");
  if (rest.starts_with(kValue) && range != std::string::npos && to != std::string::npos) {
    const std::size_t least = range + kRange.size();
    return fmt::format("{}: '{}' is not a number from {} to {}", name,
                       printable(rest.substr(kValue.size(), range - kValue.size())),
                       short_number(rest.substr(least, to - least)),
                       short_number(rest.substr(to + 4)));
  }
  const std::size_t member = rest.rfind(kMember);
  if (member == std::string::npos || !rest.ends_with('}')) return message;
  std::string choices;
  for (const char character : rest.substr(member + kMember.size())) {
    if (character == ',') choices += ", ";
    if (character != ',' && character != '}') choices += character;
  }
  return fmt::format("{}: '{}' is none of {}", name, printable(rest.substr(0, member)), choices);
}

/// A command that wants another one after it: what was given instead, or which there are.
[[noreturn]] void refuse_command(const CLI::App& command, const std::string& word,
                                 const std::string& help) {
  std::vector<std::string> names;
  for (const CLI::App* each : command.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(each->get_name());
  const std::string known = fmt::format("{} has {}; {}", command.get_name(), joined(names), help);
  if (word.empty()) {
    throw Error(fmt::format("hearth {} needs a command after it", command.get_name()), known,
                ExitCode::kUsage);
  }
  const std::string nearest = suggestion(word, names);
  throw Error(fmt::format("unknown command 'hearth {} {}'", command.get_name(), printable(word)),
              nearest.empty() ? known : nearest, ExitCode::kUsage);
}

/// What CLI11 refused, in one sentence, with the nearest option.
int report_usage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
  const std::string help = command == &app
                               ? std::string("see hearth --help")
                               : fmt::format("see hearth {} --help", command->get_name());
  std::string message = in_plain_words(error.what());
  const bool wants_command = message == "A subcommand is required";
  const auto all = [](const CLI::App*) { return true; };
  try {
    for (const std::string& word : app.remaining(true)) {
      if (looks_like_option(word)) refuse_option(*command, word, help);
      const bool extra = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError);
      if (!extra && !wants_command) continue;
      const bool has_commands = !command->get_subcommands(all).empty();
      const bool chosen = !command->get_subcommands().empty();
      if (command != &app && has_commands && !chosen) refuse_command(*command, word, help);
      return report(fmt::format("unexpected argument '{}'", printable(word)), help,
                    ExitCode::kUsage);
    }
    if (wants_command && command != &app) refuse_command(*command, "", help);
  } catch (const Error& refused) {
    return report(refused.what(), refused.hint(), refused.exit_code());
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    message = fmt::format("{} needs a value", message.substr(0, message.find(':')));
  }
  for (char& character : message) {
    if (character == '\n') character = ' ';
  }
  return report(message, help, ExitCode::kUsage);
}

void describe(CLI::App& app) {
  app.require_subcommand(1);
  std::string levels;
  for (const std::string& level : compute::cpu_instruction_sets()) {
    levels += (levels.empty() ? "" : ", ") + level;
  }
  app.footer(
      "Examples:\n"
      "  hearth plan                              what this machine can run, and how fast\n"
      "  hearth up                                choose a model, fetch it, chat\n"
      "  hearth run model.gguf                    chat with this model\n"
      "  hearth run model.gguf \"Why is the sky blue?\"\n"
      "  git diff | hearth run model.gguf         what is piped in is the prompt\n"
      "  hearth inspect model.gguf                what it is, what it needs\n"
      "\n"
      "Exit status:\n"
      "  0  all went well          3    does not fit into memory or context\n"
      "  1  it failed; stderr says why    130  interrupted with Ctrl-C\n"
      "  2  wrong usage\n"
      "\n"
      "Environment:\n"
      "  HEARTH_CPU  the instruction set to use; here: " +
      levels +
      "\n"
      "  HEARTH_PIN  yes or no: bind threads to processors always or never\n"
      "  HEARTH_OFFLINE  1: nothing may use the network\n"
      "  HEARTH_NO_MEASUREMENTS  1: speeds of benchmarks and answers are not kept\n"
      "  HEARTH_MODEL, HF_TOKEN, HF_ENDPOINT, OLLAMA_MODELS and others: see the commands\n"
      "\n"
      "Everything runs on this machine. The network is used only by commands that fetch\n"
      "what you name (hearth pull).\n");
}

int exit_with_page(CLI::App& app, const CLI::Success& success) {
  const int code = app.exit(success);
  try {
    flush_stdout();
  } catch (const Error& error) {
    return report(error.what(), error.hint(), error.exit_code());
  }
  return code;
}

}  // namespace

int main(int argument_count, char** arguments) {
  CLI::App app{"Hearth: local AI in one program", "hearth"};
  use_help_pages(app);
  describe(app);
  try {
    app.get_option("--help")->description("Print this page");
    // A value given twice: the last one counts, as settings have it in all other layers.
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    add_commands(app);
    app.get_option("--help")->description(
        "Print this page, or that of a command: hearth run --help");
    app.set_version_flag(
        "--version", [] { return version_text(); }, "Print the version and what it was built with");
    std::vector<std::string> words = protect_words(argument_count, arguments);
    check_command(app, words);
    if (words.size() < 2) {
      fmt::print(stderr, "{}", help_page(app));
      return static_cast<int>(ExitCode::kUsage);
    }
    app.parse(std::vector<std::string>(words.rbegin(), words.rend() - 1));
    flush_stdout();
    return static_cast<int>(ExitCode::kOk);
  } catch (const CLI::Success& success) {  // --help, --version
    return exit_with_page(app, success);
  } catch (const QuietExit& exit) {
    return static_cast<int>(exit.code);
  } catch (const CLI::ParseError& error) {
    return report_usage(app, error);
  } catch (const Error& error) {
    return report(error.what(), error.hint(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report("out of memory", "close other programs or choose a smaller model or context",
                  ExitCode::kDoesNotFit);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(error.what(), "", ExitCode::kFailure);
  } catch (const std::system_error& error) {  // fmt::print says so when it cannot write
    if (error.code() == std::errc::broken_pipe) return static_cast<int>(ExitCode::kOk);
    return report(fmt::format("cannot write to standard output: {}", error.code().message()), "",
                  ExitCode::kFailure);
  } catch (const std::exception& error) {
    return report(fmt::format("internal error: {}", error.what()), "please report it",
                  ExitCode::kFailure);
  }
}

}  // namespace hearth::cli
