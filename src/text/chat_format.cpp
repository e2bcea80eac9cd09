#include "text/chat_format.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/formats/families.h"
#include "text/formats/scan.h"

namespace hearth::text {
namespace {

bool in_identifier(char c) { return is_letter(c) || is_digit(c) || c == '_'; }

/// Calls `visit(word, before, after)` for every identifier in the Jinja tags of a template, outside
/// strings and comments; `before` is the last character before it that is no white space, `after`
/// is what follows.
template <class Visit>
void visit_identifiers(std::string_view source, Visit visit) {
  std::size_t at = 0;
  while ((at = source.find('{', at)) != std::string_view::npos && at + 1 < source.size()) {
    const char kind = source[at + 1];
    at += 2;
    if (kind == '#') at = std::min(source.find("#}", at), source.size());
    if (kind != '%' && kind != '{') {
      if (kind == '#') continue;
      --at;
      continue;
    }
    const char closer = kind == '%' ? '%' : '}';
    char before = ' ';
    while (at + 1 < source.size() && !(source[at] == closer && source[at + 1] == '}')) {
      const char c = source[at];
      if (c == '"' || c == '\'') {
        for (++at; at < source.size() && source[at] != c; ++at) at += source[at] == '\\' ? 1 : 0;
        ++at;
        before = c;
      } else if (in_identifier(c)) {
        const std::size_t start = at;
        while (at < source.size() && in_identifier(source[at])) ++at;
        visit(source.substr(start, at - start), before, source.substr(at));
        before = source[at - 1];
      } else {
        if (!is_space(c)) before = c;
        ++at;
      }
    }
  }
}

/// Whether the template reads the variable `name` (not an attribute or a keyword argument of that
/// name).
bool reads_variable(std::string_view source, std::string_view name) {
  bool found = false;
  visit_identifiers(source, [&](std::string_view word, char before, std::string_view after) {
    after.remove_prefix(count_space(after));
    const bool assigned = after.starts_with('=') && !after.starts_with("==");
    if (word == name && before != '.' && !assigned) found = true;
  });
  return found;
}

std::vector<ThinkingArgument> find_thinking_arguments(std::string_view source) {
  std::vector<ThinkingArgument> found;
  if (reads_variable(source, "enable_thinking"))
    found.push_back({"enable_thinking", "true", "false"});
  if (reads_variable(source, "thinking")) found.push_back({"thinking", "true", "false"});
  if (reads_variable(source, "thinking_mode"))
    found.push_back({"thinking_mode", "\"enabled\"", "\"disabled\""});
  if (reads_variable(source, "thinking_budget"))
    found.push_back({"thinking_budget", "-1", "0", true});
  if (found.empty() && reads_variable(source, "reasoning_effort")) {
    const bool minimal = contains(source, "\"minimal\"") || contains(source, "'minimal'");
    const char* off = contains(source, "no_think") ? "\"no_think\""
                      : minimal                    ? "\"minimal\""
                                                   : "\"low\"";
    const bool medium = contains(source, "\"medium\"") || contains(source, "'medium'");
    found.push_back({"reasoning_effort", medium ? "\"medium\"" : "\"high\"", off});
  }
  return found;
}

}  // namespace

ChatFormat detect_chat_format(std::string_view template_source) {
  ChatFormat format = find_family(template_source);
  format.thinking = find_thinking_arguments(template_source);
  for (ReasoningMarkers& markers : format.reasoning) {
    if (markers.open == "<think>")
      markers.expected =
          contains(template_source, markers.open) || contains(template_source, markers.close);
  }
  format.template_knows_tools =
      reads_variable(template_source, "tools") || reads_variable(template_source, "functions");
  return format;
}

bool can_think(const ChatFormat& format) noexcept {
  return !format.thinking.empty() ||
         std::any_of(format.reasoning.begin(), format.reasoning.end(),
                     [](const ReasoningMarkers& markers) { return markers.expected; });
}

ChatFormat generic_tool_format(ChatFormat base) {
  CallSyntax syntax;
  syntax.kind = CallKind::kGeneric;
  base.calls = {syntax};
  return base;
}

ReasoningState reasoning_state(const ChatFormat& format, std::string_view prompt,
                               std::size_t* markers) {
  while (!prompt.empty() && is_space(prompt.back())) prompt.remove_suffix(1);
  for (std::size_t i = 0; i < format.reasoning.size(); ++i) {
    const bool opened = prompt.ends_with(format.reasoning[i].open);
    if (!opened && !prompt.ends_with(format.reasoning[i].close)) continue;
    if (markers != nullptr) *markers = i;
    return opened ? ReasoningState::kOpened : ReasoningState::kClosed;
  }
  return ReasoningState::kNotOpened;
}

nlohmann::ordered_json thinking_arguments(const ChatFormat& format, bool on,
                                          std::optional<int> budget) {
  nlohmann::ordered_json arguments = nlohmann::ordered_json::object();
  for (const ThinkingArgument& argument : format.thinking) {
    if (argument.budget && on && budget) {
      arguments[argument.name] = *budget;
    } else {
      arguments[argument.name] = nlohmann::ordered_json::parse(on ? argument.on : argument.off);
    }
  }
  return arguments;
}

}  // namespace hearth::text
