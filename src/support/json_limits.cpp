#include "support/json_limits.h"

#include <vector>

namespace hearth {
namespace {

/// The end of the string that begins at `at`, behind its closing quote if it has one.
std::size_t skip_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

}  // namespace

JsonExcess json_excess(std::string_view text, const JsonLimits& limits) {
  constexpr std::size_t kArray = 0;
  std::vector<std::size_t> open;  // members of each object so far
  std::size_t values = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at);
      continue;
    }
    ++at;
    if (c == '{' || c == '[') {
      if (open.size() >= static_cast<std::size_t>(limits.depth)) return JsonExcess::kDepth;
      open.push_back(c == '{' ? 1 : kArray);
    } else if (c == '}' || c == ']') {
      if (!open.empty()) open.pop_back();
      continue;
    } else if (c != ',') {
      continue;
    }
    // What begins, or what follows the comma.
    if (++values > limits.values) return JsonExcess::kValues;
    if (c == ',' && !open.empty() && open.back() != kArray && ++open.back() > limits.members)
      return JsonExcess::kMembers;
  }
  return JsonExcess::kNone;
}

}  // namespace hearth
