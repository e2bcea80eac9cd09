// An independent checker for JSON Schemas: plain recursion over the value, PCRE2 for patterns.
#include <pcre2.h>

#include <algorithm>
#include <cmath>

#include "generate/grammar/random_schemas.h"
#include "support/utf8.h"

namespace hearth::testing {
namespace {

std::u32string decode(const std::string& text) {
  std::u32string result;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Decoded decoded = decode_utf8(std::string_view(text).substr(at));
    result += decoded.code_point;
    at += decoded.length;
  }
  return result;
}

bool contains_match(const std::string& pattern, const std::string& text) {
  // ECMAScript's \uXXXX is PCRE's \x{XXXX}; its \d and \w are ASCII, \p{…} are the same.
  std::u32string source;
  const std::u32string given = decode(pattern);
  bool in_class = false;
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i] == U'[') in_class = true;
    if (given[i] == U']') in_class = false;
    if (given[i] == U'\\' && i + 1 < given.size() && given[i + 1] == U's') {
      const std::u32string spaces =
          U"\\t-\\r "
          U"\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
          U"\\x{feff}";
      source += in_class ? spaces : U"[" + spaces + U"]";
      ++i;
    } else if (given[i] == U'\\' && i + 5 < given.size() && given[i + 1] == U'u') {
      source += U"\\x{" + given.substr(i + 2, 4) + U"}";
      i += 5;
    } else if (given[i] == U'\\' && i + 1 < given.size()) {
      source += given.substr(i++, 2);
    } else {
      source += given[i];
    }
  }
  const std::u32string subject = decode(text);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &error, &offset, nullptr);
  if (code == nullptr) return false;
  pcre2_match_data* data = pcre2_match_data_create_from_pattern(code, nullptr);
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(),
                                0, 0, data, nullptr);
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  return found >= 0;
}

bool is_whole(const Json& value) {
  return value.is_number_integer() ||
         (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return is_whole(value);
  if (type == "number") return value.is_number();
  if (type == "string") return value.is_string();
  return type == "array" ? value.is_array() : value.is_object();
}

bool same(const Json& a, const Json& b) { return nlohmann::json(a) == nlohmann::json(b); }

using Violation = std::optional<std::string>;

Violation check_number(double value, const Json& schema) {
  if (schema.contains("minimum") && value < schema["minimum"]) return "minimum";
  if (schema.contains("maximum") && value > schema["maximum"]) return "maximum";
  if (schema.contains("exclusiveMinimum") && value <= schema["exclusiveMinimum"])
    return "exclusiveMinimum";
  if (schema.contains("exclusiveMaximum") && value >= schema["exclusiveMaximum"])
    return "exclusiveMaximum";
  if (schema.contains("multipleOf") && std::fmod(value, schema["multipleOf"].get<double>()) != 0)
    return "multipleOf";
  return std::nullopt;
}

Violation check_string(const std::string& value, const Json& schema) {
  const std::size_t length = decode(value).size();
  if (schema.contains("minLength") && length < schema["minLength"]) return "minLength";
  if (schema.contains("maxLength") && length > schema["maxLength"]) return "maxLength";
  if (schema.contains("pattern") && !contains_match(schema["pattern"], value)) return "pattern";
  return std::nullopt;
}

Violation check_array(const Json& value, const Json& schema, const Json& root) {
  if (schema.contains("minItems") && value.size() < schema["minItems"]) return "minItems";
  if (schema.contains("maxItems") && value.size() > schema["maxItems"]) return "maxItems";
  const std::size_t prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    Violation found;
    if (i < prefix) found = find_violation(value[i], schema["prefixItems"][i], root);
    if (i >= prefix && schema.contains("items"))
      found = find_violation(value[i], schema["items"], root);
    if (found) return "[" + std::to_string(i) + "]: " + *found;
    for (std::size_t j = 0; j < i && schema.value("uniqueItems", false); ++j) {
      if (same(value[i], value[j])) return "uniqueItems";
    }
  }
  return std::nullopt;
}

Violation check_object(const Json& value, const Json& schema, const Json& root) {
  // Later members of a name replace earlier ones, as parsers of browsers do.
  std::vector<std::string> names;
  for (const auto& [name, inner] : value.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (schema.contains("minProperties") && names.size() < schema["minProperties"])
    return "minProperties";
  if (schema.contains("maxProperties") && names.size() > schema["maxProperties"])
    return "maxProperties";
  if (schema.contains("required")) {
    for (const Json& name : schema["required"]) {
      if (!value.contains(name.get<std::string>())) return "required: " + name.dump();
    }
  }
  for (const auto& [name, inner] : value.items()) {
    bool known = false;
    Violation found;
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      known = true;
      found = find_violation(inner, schema["properties"][name], root);
    }
    if (schema.contains("patternProperties")) {
      for (const auto& [pattern, part] : schema["patternProperties"].items()) {
        if (!contains_match(pattern, name)) continue;
        known = true;
        if (!found) found = find_violation(inner, part, root);
      }
    }
    if (!known && schema.contains("additionalProperties"))
      found = find_violation(inner, schema["additionalProperties"], root);
    if (!known && schema.value("unevaluatedProperties", Json(true)) == false) found = "unevaluated";
    if (schema.contains("propertyNames") && !found)
      found = find_violation(Json(name), schema["propertyNames"], root);
    if (found) return name + ": " + *found;
  }
  return std::nullopt;
}

const Json* follow(const std::string& reference, const Json& root) {
  if (reference == "#") return &root;
  if (reference.starts_with("#/")) return &root.at(Json::json_pointer(reference.substr(1)));
  for (const Json& part : root["$defs"]) {
    if (part.contains("$anchor") && part["$anchor"] == reference.substr(1)) return &part;
  }
  return nullptr;
}

Violation check_combinations(const Json& value, const Json& schema, const Json& root) {
  if (schema.contains("$ref")) {
    const Json* target = follow(schema["$ref"], root);
    if (target == nullptr) return "$ref";
    if (Violation found = find_violation(value, *target, root)) return found;
  }
  const auto holds = [&](const Json& part) { return !find_violation(value, part, root); };
  if (schema.contains("allOf")) {
    for (const Json& part : schema["allOf"]) {
      if (Violation found = find_violation(value, part, root)) return "allOf: " + *found;
    }
  }
  if (schema.contains("anyOf") &&
      std::none_of(schema["anyOf"].begin(), schema["anyOf"].end(), holds))
    return "anyOf";
  if (schema.contains("oneOf") &&
      std::count_if(schema["oneOf"].begin(), schema["oneOf"].end(), holds) != 1)
    return "oneOf";
  return std::nullopt;
}

}  // namespace

Violation find_violation(const Json& value, const Json& schema, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>() ? Violation() : Violation("false");
  if (schema.contains("type")) {
    const Json& type = schema["type"];
    const bool right = type.is_array()
                           ? std::any_of(type.begin(), type.end(),
                                         [&](const Json& name) { return has_type(value, name); })
                           : has_type(value, type);
    if (!right) return "type";
  }
  if (schema.contains("const") && !same(value, schema["const"])) return "const";
  if (schema.contains("enum") && std::none_of(schema["enum"].begin(), schema["enum"].end(),
                                              [&](const Json& v) { return same(v, value); }))
    return "enum";
  if (Violation found = check_combinations(value, schema, root)) return found;
  if (value.is_number()) return check_number(value.get<double>(), schema);
  if (value.is_string()) return check_string(value.get<std::string>(), schema);
  if (value.is_array()) return check_array(value, schema, root);
  if (value.is_object()) return check_object(value, schema, root);
  return std::nullopt;
}

}  // namespace hearth::testing
