#include "measure/json_reader.h"

#include <fmt/format.h>

#include <cmath>

#include "support/error.h"
#include "support/json_limits.h"
#include "support/utf8.h"

namespace hearth::measure {
namespace {

using Json = nlohmann::json;

std::string_view type_words(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return "true or false";
    case Json::value_t::string:
      return "a text";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::object:
      return "an object";
    default:
      return "a number";
  }
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& source,
                          const JsonRules& rules) {
  const auto refuse = [&](std::string_view trouble) {
    return Error(
        fmt::format("{} {}", source.empty() ? rules.noun : std::string_view(source), trouble),
        std::string(rules.hint));
  };
  if (text.size() > rules.max_bytes)
    throw refuse(fmt::format("is too large: more than {} bytes", rules.max_bytes));
  if (find_invalid_utf8(text) != std::string_view::npos) throw refuse("is not UTF-8");
  const JsonExcess excess =
      json_excess(text, {.depth = rules.max_depth, .members = JsonLimits::kAnyMembers});
  if (excess == JsonExcess::kDepth) throw refuse("is nested too deeply");
  if (excess != JsonExcess::kNone) throw refuse("holds too many values");
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw refuse("is not valid JSON");
  return json;
}

JsonReader::JsonReader(const Json& json, std::string source, std::string where,
                       const JsonRules& rules)
    : json_(json), source_(std::move(source)), where_(std::move(where)), rules_(rules) {
  if (json.is_object()) return;
  fail_at(where_.empty() ? std::string(rules_.noun) : where_,
          fmt::format("must be an object, not {}", type_words(json)));
}

std::string JsonReader::place(const std::string& key) const {
  return where_.empty() ? key : where_ + "." + key;
}

void JsonReader::fail_at(const std::string& what, const std::string& trouble) const {
  throw Error(
      fmt::format("{}{}{} {}", source_, source_.empty() ? "" : ": ", printable(what), trouble),
      std::string(rules_.hint));
}

void JsonReader::fail(const std::string& key, const std::string& trouble) const {
  fail_at(place(key), trouble);
}

void JsonReader::refuse(const std::string& key, std::string_view wanted, const Json& value) const {
  fail(key, fmt::format("must be {}, not {}", wanted, type_words(value)));
}

bool JsonReader::has(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && !(rules_.annotated && found->is_null());
}

const nlohmann::json* JsonReader::find(const char* key) {
  known_.insert(key);
  return has(key) ? &*json_.find(key) : nullptr;
}

std::string JsonReader::checked_text(const Json& value, const std::string& key) const {
  if (!value.is_string()) refuse(key, "a text", value);
  const auto& given = value.get_ref<const std::string&>();
  if (given.size() > rules_.max_text)
    fail(key, fmt::format("is longer than {} bytes", rules_.max_text));
  return given;
}

std::string JsonReader::text(const char* key, const std::string& fallback) {
  const Json* value = find(key);
  return value == nullptr ? fallback : checked_text(*value, key);
}

std::string JsonReader::needed_text(const char* key) {
  std::string value = text(key);
  if (value.empty()) fail(key, "is missing");
  return value;
}

double JsonReader::checked_number(const Json& value, const std::string& key, double least,
                                  double most) const {
  if (!value.is_number()) refuse(key, "a number", value);
  const double given = value.get<double>();
  if (!(given >= least && given <= most))
    fail(key, fmt::format("is {:g}, not between {:g} and {:g}", given, least, most));
  return given;
}

double JsonReader::number(const char* key, double fallback, double least, double most) {
  const Json* value = find(key);
  return value == nullptr ? fallback : checked_number(*value, key, least, most);
}

std::int64_t JsonReader::integer(const char* key, std::int64_t fallback, std::int64_t least,
                                 std::int64_t most) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) refuse(key, "a number", *value);
  const double given = value->get<double>();
  const bool inside = given >= static_cast<double>(least) && given <= static_cast<double>(most);
  if (!inside || given != std::floor(given))
    fail(key, fmt::format("must be a whole number from {} to {}", least, most));
  return static_cast<std::int64_t>(given);
}

bool JsonReader::flag(const char* key, bool fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false", *value);
  return value->get<bool>();
}

const nlohmann::json* JsonReader::list(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) refuse(key, "a list", *value);
  if (value->size() > rules_.max_entries)
    fail(key, fmt::format("has more than {} entries", rules_.max_entries));
  return value;
}

const nlohmann::json* JsonReader::object(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) refuse(key, "an object", *value);
  if (value->size() > rules_.max_entries)
    fail(key, fmt::format("has more than {} members", rules_.max_entries));
  return value;
}

std::vector<std::string> JsonReader::texts(const char* key) {
  std::vector<std::string> result;
  const Json* values = list(key);
  if (values == nullptr) return result;
  for (const Json& value : *values)
    result.push_back(checked_text(value, fmt::format("{}[{}]", key, result.size())));
  return result;
}

void JsonReader::inside(const char* key, const std::function<void(JsonReader&)>& read) {
  const Json* value = object(key);
  if (value == nullptr) return;
  JsonReader reader(*value, source_, place(key), rules_);
  read(reader);
  reader.finish();
}

void JsonReader::each(const char* key, const std::function<void(JsonReader&)>& read) {
  const Json* values = list(key);
  if (values == nullptr) return;
  std::size_t index = 0;
  for (const Json& value : *values) {
    JsonReader reader(value, source_, place(fmt::format("{}[{}]", key, index++)), rules_);
    read(reader);
    reader.finish();
  }
}

void JsonReader::each_member(const char* key,
                             const std::function<void(const std::string&, JsonReader&)>& read) {
  const Json* values = object(key);
  if (values == nullptr) return;
  for (const auto& [name, value] : values->items()) {
    JsonReader reader(value, source_, place(fmt::format("{}.{}", key, printable(name, 60))),
                      rules_);
    read(name, reader);
    reader.finish();
  }
}

void JsonReader::each_text(
    const char* key, const std::function<void(const std::string&, const std::string&)>& read) {
  const Json* values = object(key);
  if (values == nullptr) return;
  for (const auto& [name, value] : values->items())
    read(name, checked_text(value, fmt::format("{}.{}", key, name)));
}

void JsonReader::each_number(const char* key, double least, double most,
                             const std::function<void(const std::string&, double)>& read) {
  const Json* values = object(key);
  if (values == nullptr) return;
  for (const auto& [name, value] : values->items())
    read(name, checked_number(value, fmt::format("{}.{}", key, name), least, most));
}

void JsonReader::finish() const {
  for (const auto& [key, value] : json_.items()) {
    if (known_.contains(key) || (rules_.annotated && key.starts_with('_'))) continue;
    fail_at(where_.empty() ? std::string(rules_.noun) : where_,
            fmt::format("has an unknown key '{}'", printable(key, 60)));
  }
}

}  // namespace hearth::measure
