#include "cli/help.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <vector>

#include "cli/terminal.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kIndent = 2;
constexpr std::size_t kTextColumn = 28;

std::size_t columns(std::string_view text) {
  std::size_t result = 0;
  while (!text.empty()) {
    const Utf8Decoded decoded = decode_utf8(text);
    result += static_cast<std::size_t>(std::max(0, display_width(decoded.code_point)));
    text.remove_prefix(decoded.length);
  }
  return result;
}

/// Terms on the left, explanations on the right.
std::string entry(const std::string& term, std::string_view text) {
  std::string result(kIndent, ' ');
  result += term;
  const std::size_t used = kIndent + columns(term);
  const std::string explanation = wrapped(text, kTextColumn);
  if (explanation.empty()) return result + '\n';
  if (used + 2 > kTextColumn) return result + '\n' + explanation;
  result.append(kTextColumn - used, ' ');
  return result + explanation.substr(kTextColumn);
}

/// What stands for an option's value. CLI11 appends what it checks, "N:INT in [1 - 9]" or
/// "KIND:{a,b}"; that is for error messages. "FILE[:SCALE]" is ours.
std::string placeholder(const CLI::Option& option) {
  std::string type = option.get_type_name();
  for (;;) {
    const std::size_t colon = type.rfind(':');
    if (colon == std::string::npos || type.find_first_of(" {", colon) == std::string::npos)
      return type;
    type.resize(colon);
  }
}

std::string option_term(const CLI::Option& option) {
  std::string term;
  for (const std::string& name : option.get_snames()) term += (term.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) term += (term.empty() ? "--" : ", --") + name;
  if (term.empty()) return option.get_name();
  const std::string type = placeholder(option);
  if (option.get_items_expected_max() > 0 && !type.empty()) term += " " + type;
  return term;
}

/// What the words that are taken as they are stand for.
std::string free_words(const CLI::App& command) {
  if (!command.get_allow_extras()) return "";
  if (command.get_name() == "serve") return " [MODEL…]";
  if (command.get_name() == "tokenize") return " TEXT|-";
  if (command.get_name() == "detokenize") return " IDS…";
  if (command.get_name() == "embed") return " [TEXT…|-]";
  if (command.get_name() == "rerank") return " QUERY [DOCUMENT…|-]";
  return " [PROMPT…]";
}

std::string usage(const CLI::App& command) {
  std::string line = command.get_name();
  for (const CLI::App* parent = command.get_parent(); parent != nullptr;
       parent = parent->get_parent()) {
    line = parent->get_name() + " " + line;
  }
  if (!command.get_subcommands([](const CLI::App*) { return true; }).empty()) line += " COMMAND";
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    line += option->get_required() ? " " + option->get_name() : " [" + option->get_name() + "]";
  }
  return line + free_words(command) + " [OPTIONS]";
}

std::string free_text(std::string_view text) {
  std::string result, paragraph;
  const auto flush = [&] {
    if (!paragraph.empty()) result += wrapped(paragraph, kIndent);
    paragraph.clear();
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool heading =
        paragraph.empty() && line.size() > 1 && line.size() <= 24 && line.back() == ':';
    if (line.empty()) {
      flush();
      result += '\n';
    } else if (heading) {
      result.append(line.substr(0, line.size() - 1)).append("\n");
    } else if (line.starts_with("  ")) {
      flush();
      result.append(line).append("\n");
    } else {
      paragraph.append(paragraph.empty() ? "" : " ").append(line);
    }
  }
  flush();
  return result;
}

class PageFormatter final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    return help_page(*app);
  }
};

}  // namespace

std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  std::string result, line;
  std::size_t line_columns = 0;
  const auto flush = [&] {
    if (line.empty()) return;
    result.append(indent, ' ').append(line).append("\n");
    line.clear();
    line_columns = 0;
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    const std::size_t word_columns = columns(word);
    if (!line.empty() && indent + line_columns + 1 + word_columns > width) flush();
    if (!line.empty()) {
      line += ' ';
      ++line_columns;
    }
    line += word;
    line_columns += word_columns;
  }
  flush();
  return result;
}

std::string help_page(const CLI::App& command) {
  std::string page = command.get_description() + ".\n\nUsage\n  " + usage(command) + "\n";
  const auto commands =
      command.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
  if (!commands.empty()) page += "\nCommands\n";
  for (const CLI::App* sub : commands) page += entry(sub->get_name(), sub->get_description());

  const std::vector<const CLI::Option*> options = command.get_options();
  std::vector<std::string> groups;
  for (const CLI::Option* option : options) {
    const std::string& group = option->get_group();
    if (group.empty() || option->get_positional()) continue;
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  // The anonymous group holds --help; it goes last.
  std::stable_partition(groups.begin(), groups.end(),
                        [](const std::string& group) { return group != "Options"; });
  bool arguments = false;
  for (const CLI::Option* option : options) {
    if (!option->get_positional()) continue;
    if (!arguments) page += "\nArguments\n";
    arguments = true;
    page += entry(option->get_name(), option->get_description());
  }
  for (const std::string& group : groups) {
    page += "\n" + group + "\n";
    for (const CLI::Option* option : options) {
      if (option->get_positional() || option->get_group() != group) continue;
      page += entry(option_term(*option), option->get_description());
    }
  }
  if (!command.get_footer().empty()) page += "\n" + free_text(command.get_footer());
  return page;
}

void use_help_pages(CLI::App& app) { app.formatter(std::make_shared<PageFormatter>()); }

}  // namespace hearth::cli
