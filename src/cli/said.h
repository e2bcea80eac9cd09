// What several commands say, and ask, in the same way.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::cli {

/// A remark on stderr, beside what a command prints.
inline void tell(std::string_view sentence) { fmt::print(stderr, "hearth: {}\n", sentence); }

/// What --json prints. Bytes that are not UTF-8 are replaced.
inline void print_json(const nlohmann::ordered_json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

[[nodiscard]] inline std::string joined(const std::vector<std::string>& words,
                                        const char* between = ", ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

/// Asks on stderr and reads a line: yes is "y", "Y" or "yes".
[[nodiscard]] inline bool agreed(const std::string& question) {
  fmt::print(stderr, "{} [y/N] ", question);
  std::fflush(stderr);
  std::string answer;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar()) {
    if (answer.size() < 16) answer += static_cast<char>(c);
  }
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace hearth::cli
