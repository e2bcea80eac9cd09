#include "plan/json_reader.h"

#include <fmt/format.h>

#include <cmath>

#include "support/error.h"
#include "support/utf8.h"

namespace hearth::plan {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
constexpr int kMaxDepth = 12;
constexpr std::size_t kMaxEntries = 20000;
constexpr std::size_t kMaxText = 4096;

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  if (text.size() > kMaxBytes) throw Error(source + " is larger than 16 MB");
  if (find_invalid_utf8(text) != std::string_view::npos) throw Error(source + " is not UTF-8");
  const auto bounded = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > kMaxDepth) throw Error(source + " is nested too deeply");
    return true;
  };
  Json json = Json::parse(text, bounded, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw Error(source + " is not valid JSON");
  return json;
}

JsonReader::JsonReader(const Json& json, std::string source, std::string where)
    : json_(json), source_(std::move(source)), where_(std::move(where)) {
  if (!json.is_object())
    throw Error(fmt::format("{}: {} is not an object", source_, where_.empty() ? "it" : where_));
}

std::string JsonReader::place(const std::string& key) const {
  return where_.empty() ? key : where_ + "." + key;
}

void JsonReader::fail(const std::string& key, const std::string& trouble) const {
  throw Error(fmt::format("{}: '{}' {}", source_, printable(place(key)), trouble));
}

const Json* JsonReader::find(const char* key) {
  known_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonReader::has(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && !found->is_null();
}

std::string JsonReader::text(const char* key, const std::string& fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) fail(key, "is not a text");
  const auto& given = value->get_ref<const std::string&>();
  if (given.size() > kMaxText) fail(key, "is too long");
  return given;
}

std::string JsonReader::needed_text(const char* key) {
  std::string value = text(key);
  if (value.empty()) fail(key, "is missing");
  return value;
}

double JsonReader::checked_number(const Json& value, const std::string& key, double least,
                                  double most) const {
  if (!value.is_number()) fail(key, "is not a number");
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
  const double given =
      checked_number(*value, key, static_cast<double>(least), static_cast<double>(most));
  if (given != std::floor(given)) fail(key, "is not a whole number");
  return static_cast<std::int64_t>(given);
}

bool JsonReader::flag(const char* key, bool fallback) {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(key, "is neither true nor false");
  return value->get<bool>();
}

const Json* JsonReader::list(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) fail(key, "is not a list");
  if (value->size() > kMaxEntries) fail(key, "has too many entries");
  return value;
}

const Json* JsonReader::object(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) fail(key, "is not an object");
  if (value->size() > kMaxEntries) fail(key, "has too many members");
  return value;
}

std::vector<std::string> JsonReader::texts(const char* key) {
  std::vector<std::string> result;
  const Json* values = list(key);
  if (values == nullptr) return result;
  for (const Json& value : *values) {
    if (!value.is_string() || value.get_ref<const std::string&>().size() > kMaxText)
      fail(fmt::format("{}[{}]", key, result.size()), "is not a short text");
    result.push_back(value.get<std::string>());
  }
  return result;
}

void JsonReader::each(const char* key, const std::function<void(JsonReader&)>& read) {
  const Json* values = list(key);
  if (values == nullptr) return;
  std::size_t index = 0;
  for (const Json& value : *values) {
    JsonReader reader(value, source_, place(fmt::format("{}[{}]", key, index++)));
    read(reader);
    reader.finish();
  }
}

void JsonReader::each_member(const char* key,
                             const std::function<void(const std::string&, JsonReader&)>& read) {
  const Json* values = object(key);
  if (values == nullptr) return;
  for (const auto& [name, value] : values->items()) {
    JsonReader reader(value, source_, place(fmt::format("{}.{}", key, printable(name, 60))));
    read(name, reader);
    reader.finish();
  }
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
    if (!known_.contains(key) && !key.starts_with('_')) fail(key, "is not a known key");
  }
}

}  // namespace hearth::plan
