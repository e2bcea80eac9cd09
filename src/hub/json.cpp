#include "hub/json.h"

#include <fmt/format.h>

#include "support/error.h"
#include "support/json_limits.h"

namespace hearth::hub {
namespace {

constexpr JsonLimits kLimits{.depth = 16, .members = JsonLimits::kAnyMembers};

Json parse(std::string_view text, std::string_view source) {
  const bool excessive = json_excess(text, kLimits) != JsonExcess::kNone;
  Json json = excessive ? Json(Json::value_t::discarded)
                        : Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw Error(fmt::format("{} is no valid JSON", printable(source, 300)));
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
