#include "generate/grammar/schema_reader.h"

#include <algorithm>
#include <string_view>

#include "generate/grammar/regex.h"
#include "generate/grammar/schema_formats.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxAlternatives = 1000;
constexpr int kMaxSchemaDepth = 64;
constexpr std::size_t kMaxReferences = 200;  // that lead from one to another

/// They say nothing about which values are valid.
constexpr std::string_view kAnnotations[] = {"title",
                                             "description",
                                             "default",
                                             "examples",
                                             "example",
                                             "deprecated",
                                             "readOnly",
                                             "writeOnly",
                                             "$comment",
                                             "$schema",
                                             "$anchor",
                                             "$defs",
                                             "definitions",
                                             "$vocabulary",
                                             "contentMediaType",
                                             "contentEncoding",
                                             "contentSchema",
                                             "discriminator",
                                             "xml",
                                             "externalDocs",
                                             "propertyOrdering",
                                             "enumNames",
                                             "enumDescriptions",
                                             "markdownDescription"};

constexpr std::string_view kEnforced[] = {"type",
                                          "nullable",
                                          "enum",
                                          "const",
                                          "anyOf",
                                          "oneOf",
                                          "allOf",
                                          "$ref",
                                          "properties",
                                          "required",
                                          "additionalProperties",
                                          "patternProperties",
                                          "propertyNames",
                                          "unevaluatedProperties",
                                          "minProperties",
                                          "maxProperties",
                                          "items",
                                          "prefixItems",
                                          "additionalItems",
                                          "minItems",
                                          "maxItems",
                                          "uniqueItems",
                                          "minLength",
                                          "maxLength",
                                          "pattern",
                                          "format",
                                          "minimum",
                                          "maximum",
                                          "exclusiveMinimum",
                                          "exclusiveMaximum",
                                          "multipleOf"};

template <std::size_t count>
bool is_in(const std::string_view (&names)[count], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_annotation(std::string_view name) {
  return is_in(kAnnotations, name) || name.starts_with("x-");
}

unsigned named_type(const Json& name) {
  if (name == "null") return kNullType;
  if (name == "boolean") return kBooleanType;
  if (name == "integer") return kIntegerType;
  if (name == "number") return kIntegerType | kFractionType;
  if (name == "string") return kStringType;
  if (name == "array") return kArrayType;
  if (name == "object") return kObjectType;
  refuse_schema("\"type\" is " + printable(name.dump(), 40),
                "use null, boolean, integer, number, string, array, object, or a list of them");
}

unsigned own_types(const Json& schema) {
  const Json* type = member_of(schema, "type");
  if (type == nullptr) return kAllTypes;
  unsigned types = 0;
  if (type->is_array()) {
    for (const Json& name : *type) types |= named_type(name);
  } else {
    types = named_type(*type);
  }
  const Json* nullable = member_of(schema, "nullable");
  if (nullable != nullptr && *nullable == true) types |= kNullType;
  return types;
}

std::uint32_t count_of(const Json& value, const char* keyword) {
  const bool whole =
      value.is_number_unsigned() ||
      (value.is_number() && value.get<double>() >= 0 &&
       value.get<double>() ==
           static_cast<double>(static_cast<std::uint64_t>(std::min(value.get<double>(), 1e18))));
  if (!whole)
    refuse_schema(std::string("\"") + keyword + "\" must be a whole number", "correct it");
  return static_cast<std::uint32_t>(std::min(value.get<double>(), 4294967295.0));
}

const std::vector<Json>& list_of_schemas(const Json& schema, const char* keyword) {
  const Json& list = schema.at(keyword);
  if (!list.is_array() || list.empty())
    refuse_schema(std::string("\"") + keyword + "\" must be a list of schemas", "correct it");
  return list.get_ref<const std::vector<Json>&>();
}

/// "%25" and so on in a reference.
std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
  };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      result += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// "~1" and "~0" of a JSON pointer (RFC 6901).
std::string pointer_decoded(std::string_view token) {
  std::string result;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const bool escaped = token[i] == '~' && i + 1 < token.size();
    if (escaped && (token[i + 1] == '0' || token[i + 1] == '1')) {
      result += token[++i] == '0' ? '~' : '/';
    } else {
      result += token[i];
    }
  }
  return result;
}

const Json* find_anchor(const Json& schema, const std::string& name, int depth) {
  if (depth > kMaxSchemaDepth || !schema.is_structured()) return nullptr;
  if (const Json* anchor = member_of(schema, "$anchor"); anchor != nullptr && *anchor == name)
    return &schema;
  for (const Json& inner : schema) {
    if (const Json* found = find_anchor(inner, name, depth + 1)) return found;
  }
  return nullptr;
}

}  // namespace

bool has_any(const Alternative& alternative, std::initializer_list<const char*> keywords) {
  return std::any_of(
      alternative.sources.begin(), alternative.sources.end(), [&](const Json* source) {
        return std::any_of(keywords.begin(), keywords.end(),
                           [&](const char* keyword) { return source->contains(keyword); });
      });
}

void refuse_schema(const std::string& what, const std::string& hint) {
  throw Error("the JSON schema cannot be used: " + what, hint);
}

const Json* member_of(const Json& object, const std::string& name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

void check_document(const Json& document) {
  std::vector<std::pair<const Json*, int>> work{{&document, 0}};
  for (std::size_t seen = 0; !work.empty(); ++seen) {
    const auto [value, depth] = work.back();
    work.pop_back();
    if (depth > 200 || seen > 500'000)
      refuse_schema("it is nested too deeply or too large", "simplify it");
    if (!value->is_structured()) continue;
    for (const Json& inner : *value) work.emplace_back(&inner, depth + 1);
  }
}

bool equal_values(const Json& a, const Json& b) {
  if (a.is_structured() || b.is_structured()) return nlohmann::json(a) == nlohmann::json(b);
  return a == b;
}

unsigned type_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return kNullType;
    case Json::value_t::boolean:
      return kBooleanType;
    case Json::value_t::string:
      return kStringType;
    case Json::value_t::array:
      return kArrayType;
    case Json::value_t::object:
      return kObjectType;
    default:
      return decimal_of(value, "enum").is_integer() ? kIntegerType : kFractionType;
  }
}

void SchemaReader::check_keywords(const Json& schema, int depth) {
  if (schema.contains("unevaluatedProperties")) {
    // It depends on everything beside it, so it is understood where nothing else is.
    const Json& rest = schema["unevaluatedProperties"];
    if (depth > 0 || !rest.is_boolean())
      refuse_schema(
          "\"unevaluatedProperties\" can only be enforced as false or true, and outside \"allOf\"",
          "use additionalProperties");
  }
  if (!checked_.insert(&schema).second) return;
  for (const auto& [keyword, value] : schema.items()) {
    if (keyword == "$id" && &schema != &root_)
      refuse_schema("\"$id\" inside the schema changes what references mean",
                    "use #/$defs/… references");
    if (keyword == "$id" || is_in(kEnforced, keyword) || is_annotation(keyword)) continue;
    refuse_schema("the keyword \"" + printable(keyword, 60) + "\" cannot be enforced",
                  "leave it out, or say it in the description");
  }
  for (const char* keyword : {"properties", "patternProperties"}) {
    const Json* members = member_of(schema, keyword);
    if (members != nullptr && !members->is_object())
      refuse_schema(std::string("\"") + keyword + "\" must be an object", "correct it");
  }
  if (const Json* required = member_of(schema, "required")) {
    if (!required->is_array() || !std::all_of(required->begin(), required->end(),
                                              [](const Json& n) { return n.is_string(); }))
      refuse_schema("\"required\" must be a list of names", "correct it");
  }
  if (const Json* values = member_of(schema, "enum"); values != nullptr && !values->is_array())
    refuse_schema("\"enum\" must be a list", "correct it");
}

const Json& SchemaReader::resolve(const std::string& reference) {
  const Json* at = nullptr;
  if (reference == "#") {
    at = &root_;
  } else if (reference.starts_with("#/")) {
    at = &root_;
    std::string path = percent_decoded(reference).substr(2);
    path += '/';
    for (std::size_t begin = 0; at != nullptr && begin < path.size();) {
      const std::size_t end = path.find('/', begin);
      const std::string token = pointer_decoded(std::string_view(path).substr(begin, end - begin));
      if (at->is_array()) {
        const bool is_index = !token.empty() && token.size() < 7 &&
                              token.find_first_not_of("0123456789") == std::string::npos;
        const std::size_t index = is_index ? std::stoul(token) : at->size();
        at = index < at->size() ? &(*at)[index] : nullptr;
      } else {
        at = member_of(*at, token);
      }
      begin = end + 1;
    }
  } else if (reference.starts_with('#')) {
    at = find_anchor(root_, reference.substr(1), 0);
  } else if (const Json* id = member_of(root_, "$id"); id != nullptr && *id == reference) {
    at = &root_;
  }
  if (at == nullptr) {
    refuse_schema("the reference \"" + printable(reference, 80) + "\" leads nowhere in it",
                  "define what it refers to under $defs; other documents are not fetched");
  }
  return *at;
}

std::vector<Alternative> SchemaReader::join(const std::vector<Alternative>& a,
                                            const std::vector<Alternative>& b) {
  std::vector<Alternative> result;
  for (const Alternative& left : a) {
    for (const Alternative& right : b) {
      work_ += 1 + right.sources.size();
      if (work_ > kMaxWork) refuse_schema("it is too large or too entangled", "simplify it");
      Alternative both = left;
      both.types &= right.types;
      if (both.types == 0) continue;
      for (const Json* source : right.sources) {
        if (std::find(both.sources.begin(), both.sources.end(), source) == both.sources.end())
          both.sources.push_back(source);
      }
      result.push_back(std::move(both));
      if (result.size() > kMaxAlternatives)
        refuse_schema("\"anyOf\" and \"oneOf\" in it multiply to more than 1000 alternatives",
                      "use fewer of them beside each other");
    }
  }
  return result;
}

std::vector<Alternative> SchemaReader::expand(const SchemaList& schemas) {
  std::vector<Alternative> result{Alternative{}};
  for (const Json* schema : schemas)
    result = join(result, expand_one(*schema, schemas.size() > 1 ? 1 : 0));
  return result;
}

std::vector<Alternative> SchemaReader::expand_one(const Json& schema, int depth) {
  if (depth > kMaxSchemaDepth || ++work_ > kMaxWork)
    refuse_schema("it is nested too deeply or too large", "simplify it");
  if (schema.is_boolean())
    return schema.get<bool>() ? std::vector{Alternative{}} : std::vector<Alternative>{};
  if (!schema.is_object())
    refuse_schema("a schema in it is neither an object nor true or false", "correct it");
  check_keywords(schema, depth);
  const Json* reference = member_of(schema, "$ref");
  const bool alone =
      reference != nullptr &&
      std::all_of(schema.items().begin(), schema.items().end(), [](const auto& item) {
        return item.key() == "$ref" || is_annotation(item.key());
      });
  std::vector<Alternative> result{Alternative{own_types(schema), {&schema}}};
  if (reference != nullptr) {
    if (!reference->is_string()) refuse_schema("\"$ref\" must be a string", "correct it");
    const Json& target = resolve(reference->get_ref<const std::string&>());
    if (std::find(open_.begin(), open_.end(), &target) != open_.end())
      refuse_schema("the reference \"" + printable(reference->get<std::string>(), 80) +
                        "\" leads back to itself",
                    "recursion must go through properties or items");
    if (open_.size() >= kMaxReferences)
      refuse_schema("a chain of references in it is too long", "refer to the last one");
    open_.push_back(&target);
    result = join(result, expand_one(target, alone ? depth : depth + 1));
    open_.pop_back();
  }
  return expand_choices(schema, std::move(result), depth);
}

std::vector<Alternative> SchemaReader::expand_choices(const Json& schema,
                                                      std::vector<Alternative> base, int depth) {
  if (schema.contains("allOf")) {
    for (const Json& part : list_of_schemas(schema, "allOf"))
      base = join(base, expand_one(part, depth + 1));
  }
  // What is unevaluated in one alternative of "anyOf" is known there: nothing beside it counts.
  if (schema.contains("anyOf")) {
    std::vector<Alternative> choices;
    for (const Json& part : list_of_schemas(schema, "anyOf")) {
      std::vector<Alternative> joined = join(base, expand_one(part, depth + 1));
      choices.insert(choices.end(), joined.begin(), joined.end());
    }
    base = std::move(choices);
  }
  if (schema.contains("oneOf")) {
    std::vector<std::vector<Alternative>> alternatives;
    for (const Json& part : list_of_schemas(schema, "oneOf"))
      alternatives.push_back(join(base, expand_one(part, depth + 1)));
    check_one_of(alternatives);
    base.clear();
    for (const auto& part : alternatives) base.insert(base.end(), part.begin(), part.end());
  }
  if (base.size() > kMaxAlternatives)
    refuse_schema("it has more than 1000 alternatives in one place", "use fewer of them");
  return base;
}

void SchemaReader::check_one_of(const std::vector<std::vector<Alternative>>& alternatives) {
  for (std::size_t i = 0; i < alternatives.size(); ++i) {
    for (std::size_t j = i + 1; j < alternatives.size(); ++j) {
      for (const Alternative& a : alternatives[i]) {
        for (const Alternative& b : alternatives[j]) {
          if (disjoint(a, b)) continue;
          refuse_schema(
              "alternatives " + std::to_string(i + 1) + " and " + std::to_string(j + 1) +
                  " of \"oneOf\" may both hold, which cannot be excluded",
              "use anyOf, or tell them apart by a required property with different constants");
        }
      }
    }
  }
}

CountRange SchemaReader::counts(const SchemaList& sources, const char* minimum,
                                const char* maximum) {
  CountRange range;
  for (const Json* source : sources) {
    if (const Json* value = member_of(*source, minimum))
      range.minimum = std::max(range.minimum, count_of(*value, minimum));
    if (const Json* value = member_of(*source, maximum))
      range.maximum = std::min(range.maximum, count_of(*value, maximum));
  }
  return range;
}

NumberLimits SchemaReader::number_limits(const Alternative& alternative) {
  NumberLimits limits;
  const auto raise = [&](const Decimal& value, bool exclusive) {
    if (!limits.minimum || value > limits.minimum->value ||
        (value == limits.minimum->value && exclusive))
      limits.minimum = Bound{value, exclusive};
  };
  const auto lower = [&](const Decimal& value, bool exclusive) {
    if (!limits.maximum || value < limits.maximum->value ||
        (value == limits.maximum->value && exclusive))
      limits.maximum = Bound{value, exclusive};
  };
  for (const Json* source : alternative.sources) {
    // In draft 4 the exclusive keywords were flags of the others.
    const Json* low = member_of(*source, "exclusiveMinimum");
    const Json* high = member_of(*source, "exclusiveMaximum");
    if (const Json* value = member_of(*source, "minimum"))
      raise(decimal_of(*value, "minimum"), low != nullptr && *low == true);
    if (const Json* value = member_of(*source, "maximum"))
      lower(decimal_of(*value, "maximum"), high != nullptr && *high == true);
    if (low != nullptr && !low->is_boolean()) raise(decimal_of(*low, "exclusiveMinimum"), true);
    if (high != nullptr && !high->is_boolean()) lower(decimal_of(*high, "exclusiveMaximum"), true);
    if (const Json* value = member_of(*source, "multipleOf")) {
      limits.multiples.push_back(decimal_of(*value, "multipleOf"));
      if (limits.multiples.back().unscaled <= 0)
        refuse_schema("\"multipleOf\" must be above 0", "correct it");
    }
    const Json* format = member_of(*source, "format");
    if (format != nullptr && (*format == "int32" || *format == "int64")) {
      const int bits = *format == "int32" ? 31 : 63;
      const Int128 end = Int128{1} << bits;
      raise({-end, 0}, false);
      lower({end - 1, 0}, false);
    }
  }
  return limits;
}

const Dfa& SchemaReader::pattern(const std::string& text) {
  std::unique_ptr<const Dfa>& dfa = patterns_[text];
  if (dfa == nullptr)
    dfa = std::make_unique<const Dfa>(compile_pattern(text, {.work = &automata_}));
  return *dfa;
}

std::optional<Dfa> SchemaReader::string_texts(const Alternative& alternative) {
  std::optional<Dfa> texts;
  const auto restrict_to = [&](const Dfa& more) {
    texts = texts ? intersection(*texts, more, &automata_) : more;
  };
  for (const Json* source : alternative.sources) {
    if (const Json* text = member_of(*source, "pattern")) {
      if (!text->is_string()) refuse_schema("\"pattern\" must be a string", "correct it");
      restrict_to(pattern(text->get<std::string>()));
    }
    const Json* format = member_of(*source, "format");
    if (format == nullptr) continue;
    if (!format->is_string()) refuse_schema("\"format\" must be a string", "correct it");
    const auto& name = format->get_ref<const std::string&>();
    const std::string_view expression = format_pattern(name);
    static constexpr std::string_view kNoTexts[] = {"password", "int32", "int64", "float",
                                                    "double"};
    if (!expression.empty()) {
      restrict_to(pattern(std::string(expression)));
    } else if (!is_in(kNoTexts, name)) {
      refuse_schema(
          "the \"format\" \"" + printable(name, 40) + "\" cannot be enforced",
          "use date, time, date-time, duration, uuid, email, hostname, ipv4, ipv6, uri, or a "
          "pattern");
    }
  }
  return texts;
}

ItemSchemas SchemaReader::items(const Json& source) {
  ItemSchemas result;
  const Json* items = member_of(source, "items");
  const Json* prefix = member_of(source, "prefixItems");
  const bool is_old_tuple = items != nullptr && items->is_array();
  const Json* first = is_old_tuple ? items : prefix;
  if (first != nullptr) {
    if (!first->is_array())
      refuse_schema("\"prefixItems\" must be a list of schemas", "correct it");
    for (const Json& schema : *first) result.prefix.push_back(&schema);
  }
  result.rest = is_old_tuple ? member_of(source, "additionalItems") : items;
  return result;
}

SchemaList SchemaReader::member_schemas(const Json& source, const std::string& name) {
  SchemaList result;
  if (const Json* properties = member_of(source, "properties")) {
    if (const Json* schema = member_of(*properties, name)) result.push_back(schema);
  }
  if (const Json* patterns = member_of(source, "patternProperties")) {
    const std::u32string text = code_points_of(name, "a property's name");
    for (const auto& [expression, schema] : patterns->items()) {
      if (pattern(expression).accepts(text)) result.push_back(&schema);
    }
  }
  const Json* rest = member_of(source, "additionalProperties");
  if (result.empty() && rest != nullptr) result.push_back(rest);
  return result;
}

bool SchemaReader::requires_member(const Alternative& alternative, const std::string& name) {
  return std::any_of(
      alternative.sources.begin(), alternative.sources.end(), [&](const Json* source) {
        const Json* required = member_of(*source, "required");
        return required != nullptr && std::any_of(required->begin(), required->end(),
                                                  [&](const Json& n) { return n == name; });
      });
}

}  // namespace hearth::generate::grammar
