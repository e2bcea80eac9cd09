#include "model/convert/config.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "support/error.h"
#include "support/file.h"
#include "support/json_limits.h"

namespace hearth::model::convert {
namespace {

/// Vocabularies are objects with a member for each token; their merges are values, too.
constexpr JsonLimits kLimits{
    .depth = 64, .values = std::size_t{16} << 20, .members = JsonLimits::kAnyMembers};
constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20;
/// Larger than any size of a model; products of two of them cannot overflow.
constexpr std::int64_t kMaxInteger = std::int64_t{1} << 28;

}  // namespace

Json read_json(const std::filesystem::path& path, std::size_t limit) {
  const std::string text = read_file(path, limit);
  const JsonExcess excess = json_excess(text, kLimits);
  if (excess != JsonExcess::kNone) {
    throw Error(fmt::format("'{}' {}", printable(path.string(), 300),
                            excess == JsonExcess::kDepth ? "is nested too deeply"
                                                         : "holds too many values"),
                "this is no file of a checkpoint");
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    throw Error(fmt::format("'{}' is not valid JSON", printable(path.string(), 300)),
                "fetch it again");
  }
  return json;
}

Config::Config() : Config(Json::object(), "") {}

Config::Config(Json object, std::string where)
    : json_(std::make_shared<const Json>(std::move(object))), where_(std::move(where)) {
  if (!json_->is_object()) throw Error(fmt::format("{} is not a JSON object", where_));
}

void Config::fail(std::string_view key, const std::string& what) const {
  throw Error(fmt::format("{}: '{}' {}", where_, printable(key), what));
}

const Json* Config::find(std::string_view key) const {
  const auto found = json_->find(std::string(key));
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

bool Config::has(std::string_view key) const { return find(key) != nullptr; }

std::int64_t Config::integer(std::string_view key, std::optional<std::int64_t> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (!fallback) fail(key, "is missing");
    return *fallback;
  }
  const double number = value->is_number() ? value->get<double>() : -1;
  if (number != std::floor(number) || number < 0 || number > static_cast<double>(kMaxInteger))
    fail(key, "is not a whole number from 0 up, or too large");
  return static_cast<std::int64_t>(number);
}

double Config::number(std::string_view key, std::optional<double> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (!fallback) fail(key, "is missing");
    return *fallback;
  }
  if (!value->is_number() || !std::isfinite(value->get<double>())) fail(key, "is not a number");
  return value->get<double>();
}

bool Config::boolean(std::string_view key, std::optional<bool> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (!fallback) fail(key, "is missing");
    return *fallback;
  }
  if (!value->is_boolean()) fail(key, "is not true or false");
  return value->get<bool>();
}

std::string Config::string(std::string_view key, std::optional<std::string> fallback) const {
  const Json* value = find(key);
  if (value == nullptr) {
    if (!fallback) fail(key, "is missing");
    return *fallback;
  }
  if (!value->is_string()) fail(key, "is not a string");
  return value->get<std::string>();
}

std::vector<std::string> Config::strings(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) fail(key, "is not a list");
  std::vector<std::string> result;
  for (const Json& item : *value) {
    if (!item.is_string()) fail(key, "is not a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::vector<double> Config::numbers(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {};
  std::vector<double> result;
  if (value->is_number()) return {value->get<double>()};
  if (!value->is_array()) fail(key, "is not a list of numbers");
  for (const Json& item : *value) {
    if (!item.is_number() || !std::isfinite(item.get<double>()))
      fail(key, "is not a list of numbers");
    result.push_back(item.get<double>());
  }
  return result;
}

std::vector<std::int64_t> Config::integers(std::string_view key) const {
  std::vector<std::int64_t> result;
  for (const double value : numbers(key)) {
    if (value != std::floor(value) || std::abs(value) > static_cast<double>(kMaxInteger))
      fail(key, "is not a whole number, or too large");
    result.push_back(static_cast<std::int64_t>(value));
  }
  return result;
}

Config Config::object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return {Json::object(), where_};
  if (!value->is_object()) fail(key, "is not an object");
  return {std::shared_ptr<const Json>(json_, value), fmt::format("{}, {}", where_, printable(key))};
}

Config Config::overlaid(const Config& other) const {
  Json merged = *json_;
  for (const auto& [key, value] : other.json_->items()) merged[key] = value;
  return {std::move(merged), where_};
}

Config read_config(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {Json::object(), path.filename().string()};
  Json json = read_json(path, kMaxConfigBytes);
  return {std::move(json), path.filename().string()};
}

}  // namespace hearth::model::convert
