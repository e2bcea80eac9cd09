// hearth man: the manual page, made from the commands and options themselves so that it cannot go
// stale.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "cli/help.h"
#include "cli/main.h"

namespace hearth::cli {
namespace {

/// Text that roff prints as it is (man(7), groff(7)).
std::string roff(std::string_view text) {
  std::string result;
  bool line_start = true;
  for (const char character : text) {
    if (line_start && (character == '.' || character == '\'')) result += "\\&";
    if (character == '\\') {
      result += "\\e";
    } else if (character == '-') {
      result += "\\-";
    } else {
      result += character;
    }
    line_start = character == '\n';
  }
  return result;
}

std::string page_of(const CLI::App& command) {
  return fmt::format(".nf\n{}.fi\n", roff(help_page(command)));
}

std::string manual(const CLI::App& app) {
  std::string page = fmt::format(
      ".TH HEARTH 1 \"\" \"hearth {}\" \"User Commands\"\n"
      ".SH NAME\nhearth \\- {}\n"
      ".SH SYNOPSIS\n.B hearth\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n"
      ".SH OVERVIEW\n",
      kVersion, roff("local AI in one program"));
  page += page_of(app);
  page += ".SH COMMANDS\n";
  for (const CLI::App* command :
       app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); })) {
    page += fmt::format(".SS hearth {}\n{}", roff(command->get_name()), page_of(*command));
  }
  return page;
}

}  // namespace

void add_man_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("man", "Print the manual page: hearth man | man -l -");
  command->footer(
      "Examples:\n"
      "  hearth man | man -l -                       read it\n"
      "  hearth man > ~/.local/share/man/man1/hearth.1   keep it\n");
  command->callback([&app] { fmt::print("{}", manual(app)); });
}

}  // namespace hearth::cli
