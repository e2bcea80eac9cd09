#include "text/formats/tool_schema.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "text/formats/scan.h"
#include "text/formats/value_reader.h"

namespace hearth::text {

using nlohmann::ordered_json;

namespace {

constexpr int kMaxReferences = 8;
constexpr std::size_t kMaxParts = 256;

const ordered_json* member(const ordered_json* object, std::string_view key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

/// The type names of JSON Schema, and those of Python that flat tool descriptions use.
unsigned named_type(const ordered_json& name) {
  if (!name.is_string()) return kNoTypes;
  const auto& text = name.get_ref<const std::string&>();
  if (text == "string" || text == "str" || text == "STRING") return kStringType;
  if (text == "integer" || text == "number" || text == "int" || text == "float") return kNumberType;
  if (text == "boolean" || text == "bool") return kBooleanType;
  if (text == "null" || text == "None") return kNullType;
  if (text == "object" || text == "dict") return kObjectType;
  if (text == "array" || text == "list") return kArrayType;
  return kNoTypes;
}

unsigned type_of(const ordered_json& value) {
  if (value.is_string()) return kStringType;
  if (value.is_number()) return kNumberType;
  if (value.is_boolean()) return kBooleanType;
  if (value.is_null()) return kNullType;
  return value.is_object() ? kObjectType : kArrayType;
}

unsigned type_of(ValueReader::Shape shape) {
  switch (shape) {
    case ValueReader::Shape::kObject:
      return kObjectType;
    case ValueReader::Shape::kArray:
      return kArrayType;
    case ValueReader::Shape::kString:
      return kStringType;
    case ValueReader::Shape::kNumber:
      return kNumberType;
    case ValueReader::Shape::kBoolean:
      return kBooleanType;
    case ValueReader::Shape::kNull:
      return kNullType;
    case ValueReader::Shape::kNone:
      break;
  }
  return kNoTypes;
}

const ordered_json* follow_pointer(const ordered_json& root, std::string_view path) {
  const ordered_json* at = &root;
  while (at != nullptr && !path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::size_t end = std::min(path.find('/'), path.size());
    at = member(at, path.substr(0, end));
    path.remove_prefix(end);
  }
  return at;
}

/// All schemas of which `given` consists: itself and its alternatives, references followed, each
/// once. Bounded: recursive alternatives would never end.
SchemaChoices parts_of(const SchemaChoices& given, const ordered_json& root) {
  SchemaChoices parts;
  const auto add = [&](const ordered_json& schema) {
    const ordered_json* resolved = &resolve_schema(schema, root);
    const bool known = std::find(parts.begin(), parts.end(), resolved) != parts.end();
    if (!known && parts.size() < kMaxParts) parts.push_back(resolved);
  };
  for (const ordered_json* schema : given) add(*schema);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      const ordered_json* choices = member(parts[i], key);
      if (choices == nullptr || !choices->is_array()) continue;
      for (const ordered_json& choice : *choices) add(choice);
    }
  }
  return parts;
}

/// The types that one schema names, its alternatives aside.
unsigned own_types(const ordered_json& schema) {
  unsigned types = kNoTypes;
  if (const ordered_json* type = member(&schema, "type")) {
    if (type->is_array()) {
      for (const ordered_json& name : *type) types |= named_type(name);
    } else {
      types |= named_type(*type);
    }
  }
  if (types == kNoTypes) {
    if (const ordered_json* values = member(&schema, "enum");
        values != nullptr && values->is_array()) {
      for (const ordered_json& value : *values) types |= type_of(value);
    }
    if (const ordered_json* value = member(&schema, "const")) types |= type_of(*value);
    if (member(&schema, "properties") != nullptr) types |= kObjectType;
    if (member(&schema, "items") != nullptr) types |= kArrayType;
  }
  const ordered_json* nullable = member(&schema, "nullable");
  if (types != kNoTypes && nullable != nullptr && nullable->is_boolean() && nullable->get<bool>())
    types |= kNullType;
  return types;
}

}  // namespace

const ordered_json& resolve_schema(const ordered_json& schema, const ordered_json& root) {
  const ordered_json* at = &schema;
  for (int step = 0; step < kMaxReferences; ++step) {
    const ordered_json* reference = member(at, "$ref");
    if (reference == nullptr || !reference->is_string()) break;
    const std::string_view target = reference->get_ref<const std::string&>();
    if (!target.starts_with("#/")) break;
    const ordered_json* next = follow_pointer(root, target.substr(1));
    if (next == nullptr) break;
    at = next;
  }
  return *at;
}

unsigned schema_types(const SchemaChoices& schemas, const ordered_json& root) {
  unsigned types = kNoTypes;
  for (const ordered_json* part : parts_of(schemas, root)) types |= own_types(*part);
  return types;
}

SchemaChoices member_choices(const SchemaChoices& schemas, const ordered_json& root,
                             std::string_view name) {
  SchemaChoices found;
  for (const ordered_json* part : parts_of(schemas, root)) {
    if (const ordered_json* own = member(member(part, "properties"), name)) found.push_back(own);
  }
  return found;
}

SchemaChoices item_choices(const SchemaChoices& schemas, const ordered_json& root) {
  SchemaChoices found;
  for (const ordered_json* part : parts_of(schemas, root)) {
    if (const ordered_json* own = member(part, "items")) found.push_back(own);
  }
  return found;
}

std::string typed_value(std::string_view raw, unsigned types) {
  if (types != kStringType) {
    ValueReader::Shape shape = ValueReader::Shape::kNone;
    std::optional<std::string> value = read_whole_value(raw, &shape);
    const unsigned type = value ? type_of(shape) : kNoTypes;
    // A quoted text where the schema says nothing, or also allows a string, is ambiguous: it stays
    // as it was written.
    const bool wanted = types == kNoTypes
                            ? type != kStringType
                            : (types & kStringType) == 0 || (type & types & ~kStringType) != 0;
    if (value && wanted) return *std::move(value);
  }
  std::string text;
  append_json_string(text, raw);
  return text;
}

DeclaredTools::DeclaredTools(const ordered_json* tools)
    : tools_(tools != nullptr && tools->is_array() ? tools : nullptr) {}

bool DeclaredTools::none() const { return tools_ != nullptr && tools_->empty(); }

const ordered_json* DeclaredTools::function(std::string_view name) const {
  if (tools_ == nullptr) return nullptr;
  for (const ordered_json& tool : *tools_) {
    const ordered_json* inner = member(&tool, "function");
    const ordered_json* described = inner != nullptr && inner->is_object() ? inner : &tool;
    const ordered_json* given = member(described, "name");
    if (given != nullptr && given->is_string() && given->get_ref<const std::string&>() == name)
      return described;
  }
  return nullptr;
}

bool DeclaredTools::allows(std::string_view name) const {
  return tools_ == nullptr || function(name) != nullptr;
}

const ordered_json* DeclaredTools::parameters(std::string_view tool) const {
  const ordered_json* described = function(tool);
  for (const char* key : {"parameters", "input_schema", "inputSchema"}) {
    if (const ordered_json* schema = member(described, key)) return schema;
  }
  return nullptr;
}

SchemaChoices DeclaredTools::parameter(std::string_view tool, std::string_view key) const {
  if (const ordered_json* schema = parameters(tool)) return member_choices({schema}, *schema, key);
  const ordered_json* flat = member(member(function(tool), "parameter_definitions"), key);
  return flat != nullptr ? SchemaChoices{flat} : SchemaChoices{};
}

bool DeclaredTools::has_parameter(std::string_view tool, std::string_view key) const {
  return !parameter(tool, key).empty();
}

unsigned DeclaredTools::parameter_types(std::string_view tool, std::string_view key) const {
  const SchemaChoices schemas = parameter(tool, key);
  if (schemas.empty()) return kNoTypes;
  const ordered_json* root = parameters(tool);
  return schema_types(schemas, root != nullptr ? *root : *schemas.front());
}

std::string DeclaredTools::typed_value(std::string_view tool, std::string_view key,
                                       std::string_view raw) const {
  return text::typed_value(raw, parameter_types(tool, key));
}

}  // namespace hearth::text
