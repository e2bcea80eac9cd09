// hearth licenses: the licence of Hearth and the notices of everything that is inside the program:
// linked libraries, and the npm packages of the web page.

#include "cli/licenses.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/main.h"
#include "serve/page.h"

namespace hearth::cli {
namespace {

void print_licenses() {
  fmt::print("{}", linked_notices());
  if (serve::page_notices().empty()) return;
  fmt::print("\n{:-<80}\n\nThe web page contains code of these packages.\n\n{}", "",
             serve::page_notices());
}

}  // namespace

void add_licenses_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("licenses", "The notices of everything inside this program");
  command->callback(print_licenses);
}

}  // namespace hearth::cli
