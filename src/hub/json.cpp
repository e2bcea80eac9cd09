#include "hub/json.h"

#include <fmt/format.h>

#include "support/error.h"

namespace hearth::hub {
namespace {

constexpr int kMaxJsonDepth = 16;

Json parse(std::string_view text, std::string_view source) {
  // Deeper values are dropped while they are read; a file that has any is refused.
  bool too_deep = false;
  const auto bounded = [&too_deep](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxJsonDepth) too_deep = true;
    return !too_deep;
  };
  Json json = Json::parse(text, bounded, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded())
    throw Error(fmt::format("{} is no valid JSON", printable(source, 300)));
  return json;
}

}  // namespace

Json parse_object(std::string_view text, std::string_view source) {
  Json json = parse(text, source);
  if (!json.is_object()) throw Error(fmt::format("{} is no JSON object", printable(source, 300)));
  return json;
}

Json parse_array(std::string_view text, std::string_view source) {
  Json json = parse(text, source);
  if (!json.is_array()) throw Error(fmt::format("{} is no JSON array", printable(source, 300)));
  return json;
}

std::string string_or(const Json& object, const char* key, std::string fallback) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return fallback;
  return found->get<std::string>();
}

std::uint64_t number_or(const Json& object, const char* key, std::uint64_t fallback) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return fallback;
  return found->get<std::uint64_t>();
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hearth::hub
