#include "serve/dialects/fields.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "serve/dialects/json_body.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

/// Where a value stands in the body: a chain on the stack, written out only for an error.
struct Place {
  const Place* parent = nullptr;
  std::string_view name;
  std::ptrdiff_t index = -1;
};

std::string to_text(const Place& place) {
  std::string text = place.parent == nullptr ? std::string() : to_text(*place.parent);
  if (place.index >= 0) return text + "[" + std::to_string(place.index) + "]";
  if (!text.empty()) text += '.';
  return text + std::string(place.name);
}

constexpr std::array<std::pair<Types, std::string_view>, 6> kTypeNames = {{
    {kBoolean, "true or false"},
    {kInteger, "an integer"},
    {kNumber, "a number"},
    {kString, "a string"},
    {kArray, "an array"},
    {kObject, "an object"},
}};

std::string describe(Types types) {
  std::vector<std::string_view> names;
  for (const auto& [type, name] : kTypeNames) {
    if ((types & type) != 0) names.push_back(name);
  }
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

/// What `value` is, where one of `wanted` should be.
std::string_view describe(const Json& value, Types wanted) {
  if (value.is_null()) return "null";
  if (value.is_number() && (wanted & kInteger) != 0) {
    const auto number = value.get<double>();
    return number == std::floor(number) ? "a number too large for one" : "a number with a fraction";
  }
  Types type = kObject;
  if (value.is_boolean()) type = kBoolean;
  if (value.is_number()) type = kNumber;
  if (value.is_string()) type = kString;
  if (value.is_array()) type = kArray;
  return std::find_if(kTypeNames.begin(), kTypeNames.end(),
                      [type](const auto& entry) { return entry.first == type; })
      ->second;
}

bool has_type(const Json& value, Types types) {
  if (value.is_boolean()) return (types & kBoolean) != 0;
  if (value.is_number()) {
    return (types & kNumber) != 0 || ((types & kInteger) != 0 && as_integer(value).has_value());
  }
  if (value.is_string()) return (types & kString) != 0;
  if (value.is_array()) return (types & kArray) != 0;
  if (value.is_object()) return (types & kObject) != 0;
  return false;
}

std::string number_text(double value) { return Json(value).dump(); }

std::string range_text(const Field& field) {
  const auto text = [&field](double value) {
    return field.types == kNumber && value != std::floor(value)
               ? number_text(value)
               : std::to_string(static_cast<std::int64_t>(value));
  };
  if (!std::isfinite(field.most)) return "at least " + text(field.least);
  if (!std::isfinite(field.least)) return "at most " + text(field.most);
  return "from " + text(field.least) + " to " + text(field.most);
}

[[noreturn]] void refuse_type(const Place& place, Types types, const Json& value) {
  const std::string path = to_text(place);
  refuse(path + " must be " + describe(types) + ", not " + std::string(describe(value, types)),
         path, "invalid_type");
}

void check_object(const Json& object, std::span<const Field> fields, const Place* place);

void check_word(const Json& value, const Field& field, const Place& place) {
  const std::string& word = value.get_ref<const std::string&>();
  if (std::find(field.words.begin(), field.words.end(), word) != field.words.end()) return;
  std::string all;
  for (const std::string_view each : field.words) {
    if (!all.empty()) all += ", ";
    all += '"' + std::string(each) + '"';
  }
  const std::string path = to_text(place);
  refuse(path + " must be one of " + all + ", not \"" + printable(word, 60) + "\"", path);
}

void check_length(const Json& value, const Field& field, const Place& place) {
  const std::size_t size = value.get_ref<const std::string&>().size();
  if (size <= field.most_bytes) return;
  const std::string path = to_text(place);
  refuse(path + " has " + std::to_string(size) + " bytes; the most are " +
             std::to_string(field.most_bytes),
         path, "string_above_max_length");
}

void check_array(const Json& value, const Field& field, const Place& place) {
  if (value.size() > field.most_items) {
    const std::string path = to_text(place);
    refuse(path + " has " + std::to_string(value.size()) + " entries; the most are " +
               std::to_string(field.most_items),
           path, "array_above_max_length");
  }
  if (field.items == kAnything && field.item_members.empty()) return;
  std::ptrdiff_t index = 0;
  for (const Json& item : value) {
    const Place here{&place, {}, index++};
    if (!has_type(item, field.items)) refuse_type(here, field.items, item);
    if (item.is_string()) check_length(item, field, here);
    if (item.is_object() && !field.item_members.empty()) {
      check_object(item, field.item_members, &here);
    }
  }
}

void check_field(const Json& value, const Field& field, const Place& place) {
  if (!has_type(value, field.types)) refuse_type(place, field.types, value);
  if (value.is_number()) {
    const double number = value.get<double>();
    if (!(number >= field.least && number <= field.most)) {
      const std::string path = to_text(place);
      refuse(path + " must be " + range_text(field) + ", not " + value.dump(), path);
    }
  }
  if (value.is_string()) check_length(value, field, place);
  if (value.is_string() && !field.words.empty()) check_word(value, field, place);
  if (value.is_array()) check_array(value, field, place);
  if (value.is_object() && !field.members.empty()) check_object(value, field.members, &place);
}

void check_object(const Json& object, std::span<const Field> fields, const Place* place) {
  for (const Field& field : fields) {
    const auto found = object.find(field.name);
    const Place here{place, field.name, -1};
    if (found != object.end() && !found->is_null()) {
      check_field(*found, field, here);
    } else if (field.required) {
      const std::string path = to_text(here);
      refuse(path + " is missing", path, "missing_required_parameter");
    }
  }
}

Json schema_of_types(Types types) {
  Json names = Json::array();
  if ((types & kBoolean) != 0) names.push_back("boolean");
  if ((types & kInteger) != 0 && (types & kNumber) == 0) names.push_back("integer");
  if ((types & kNumber) != 0) names.push_back("number");
  if ((types & kString) != 0) names.push_back("string");
  if ((types & kArray) != 0) names.push_back("array");
  if ((types & kObject) != 0) names.push_back("object");
  return names;
}

Json schema_of_members(std::span<const Field> fields);

void add_number_range(Json& schema, const Field& field) {
  const auto number = [](double value) {
    return value == std::floor(value) && std::abs(value) <= kExact
               ? Json(static_cast<std::int64_t>(value))
               : Json(value);
  };
  if (std::isfinite(field.least)) schema["minimum"] = number(field.least);
  if (std::isfinite(field.most)) schema["maximum"] = number(field.most);
}

Json schema_of(const Field& field) {
  Json schema = field.members.empty() ? Json::object() : schema_of_members(field.members);
  schema["type"] = schema_of_types(field.types);
  if (!field.required) schema["type"].push_back("null");
  if (!field.what.empty()) schema["description"] = field.what;
  if (!field.words.empty()) {
    // A string of these words, or one of the other types.
    const Types others = static_cast<Types>(field.types & ~kString);
    Json words = Json::array();
    for (const std::string_view word : field.words) words.push_back(word);
    if (others == 0 && field.required) {
      schema["enum"] = std::move(words);
    } else {
      Json rest = schema_of_types(others);
      if (!field.required) rest.push_back("null");
      schema["anyOf"] = {{{"enum", std::move(words)}}, {{"type", std::move(rest)}}};
    }
  }
  add_number_range(schema, field);
  const bool limited = field.most_bytes != std::numeric_limits<std::size_t>::max();
  if (limited && (field.types & kString) != 0) schema["maxLength"] = field.most_bytes;
  if ((field.types & kArray) != 0) {
    if (field.most_items != std::numeric_limits<std::size_t>::max()) {
      schema["maxItems"] = field.most_items;
    }
    if (field.items != kAnything || !field.item_members.empty()) {
      Json items =
          field.item_members.empty() ? Json::object() : schema_of_members(field.item_members);
      items["type"] = schema_of_types(field.items);
      if (limited) items["maxLength"] = field.most_bytes;
      schema["items"] = std::move(items);
    }
  }
  return schema;
}

void add_members(Json& schema, std::span<const Field> fields) {
  for (const Field& field : fields) {
    schema["properties"][std::string(field.name)] = schema_of(field);
    if (field.required) schema["required"].push_back(field.name);
  }
}

Json schema_of_members(std::span<const Field> fields) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  add_members(schema, fields);
  return schema;
}

}  // namespace

void check_body(const Json& body, const BodyFields& fields) {
  for (const std::span<const Field> part : fields.parts) check_object(body, part, nullptr);
}

void check_members(const Json& object, std::span<const Field> fields, std::string_view path) {
  const Place place{nullptr, path, -1};
  if (!object.is_object()) refuse_type(place, kObject, object);
  check_object(object, fields, &place);
}

Json json_schema(const BodyFields& fields) {
  Json schema = schema_of_members({});
  for (const std::span<const Field> part : fields.parts) add_members(schema, part);
  return schema;
}

}  // namespace hearth::serve
