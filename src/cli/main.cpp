#include "cli/main.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "support/error.h"

namespace hearth::cli {
namespace {

void add_commands(CLI::App& app) {
  add_inspect_command(app);
  add_logits_command(app);
}

int report(const std::string& message, const std::string& hint, ExitCode exit_code) {
  std::fflush(stdout);
  fmt::print(stderr, "hearth: {}{}\n", message, hint.empty() ? "" : "; " + hint);
  return static_cast<int>(exit_code);
}

}  // namespace

int main(int argument_count, char** arguments) {
  CLI::App app{"Hearth: local AI in one program", "hearth"};
  app.require_subcommand(1);
  try {
    add_commands(app);
    app.parse(argument_count, arguments);
    return static_cast<int>(ExitCode::kOk);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return report(error.what(), "see hearth --help", ExitCode::kUsage);
  } catch (const Error& error) {
    return report(error.what(), error.hint(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report("out of memory", "close other programs or choose a smaller model or context",
                  ExitCode::kDoesNotFit);
  } catch (const std::exception& error) {
    return report(fmt::format("internal error: {}", error.what()), "please report it",
                  ExitCode::kFailure);
  }
}

}  // namespace hearth::cli
