#include "cli/words.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string_view>
#include <utility>

#include "cli/suggest.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

// CLI11 has no notion of words that belong to the command after "--" when positionals are taken as
// extras, so such words get a first byte that no option and no command begins with.
constexpr char kProtection = '\x01';

}  // namespace

std::vector<std::string> protect_words(int argument_count, char** arguments) {
  std::vector<std::string> words;
  bool protect = false;
  for (int index = 0; index < argument_count; ++index) {
    const std::string_view word = arguments[index];
    if (!protect && word == "--") {
      protect = true;
      continue;
    }
    // CLI11 would take the next word for the value of "--stop=".
    if (!protect && word.starts_with("--") && word.find('=') == word.size() - 1) {
      words.emplace_back(word.substr(0, word.size() - 1));
      words.emplace_back();
      continue;
    }
    const bool escape = protect || (!word.empty() && word.front() == kProtection);
    words.push_back((escape ? std::string(1, kProtection) : std::string()).append(word));
  }
  return words;
}

std::string plain_word(std::string word) {
  if (!word.empty() && word.front() == kProtection) word.erase(0, 1);
  return word;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<std::string> plain_words(const CLI::App& command) {
  std::vector<std::string> words;
  for (std::string& word : command.remaining()) {
    if (word.size() > 1 && word.front() == '-') {
      const std::string name = word.substr(0, word.find('='));
      const std::string nearest = suggestion(name, option_names(command));
      throw Error(
          fmt::format("unknown option '{}'", printable(name)),
          fmt::format("{}see hearth {} --help, or put -- before a prompt that begins with a dash",
                      nearest.empty() ? "" : nearest + " ", command.get_name()),
          ExitCode::kUsage);
    }
    words.push_back(plain_word(std::move(word)));
  }
  return words;
}

std::string size_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} B", bytes);
  if (bytes < 0.99995e6) return fmt::format("{:.1f} kB", bytes / 1e3);
  if (bytes < 9.95e6) return fmt::format("{:.1f} MB", bytes / 1e6);
  if (bytes < 0.9995e9) return fmt::format("{:.0f} MB", bytes / 1e6);
  if (bytes < 99.95e9) return fmt::format("{:.1f} GB", bytes / 1e9);
  return bytes < 0.9995e12 ? fmt::format("{:.0f} GB", bytes / 1e9)
                           : fmt::format("{:.2f} TB", bytes / 1e12);
}

}  // namespace hearth::cli
