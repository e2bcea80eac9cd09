// Whether values are valid, and whether alternatives exclude each other.
#include <algorithm>
#include <functional>
#include <string>
#include <string_view>

#include "generate/grammar/schema_formats.h"
#include "generate/grammar/schema_reader.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr int kMaxCheckDepth = 64;
constexpr int kMaxDisjointDepth = 6;
constexpr std::size_t kPatternWork = 20;  // to compare two patterns is more than to read a schema

bool within(const CountRange& range, std::size_t count) {
  return count >= range.minimum && count <= range.maximum;
}

/// Of equal values (equal_values) equal, so of 1 and 1.0; the order of members does not matter.
std::size_t hash_of(const Json& value) {
  const auto mix = [](std::size_t a, std::size_t b) { return a * 0x9E3779B97F4A7C15U + b; };
  std::size_t hash = value.is_number() ? 0 : 1 + static_cast<std::size_t>(value.type());
  if (value.is_object()) {
    for (const auto& [name, inner] : value.items())
      hash += mix(std::hash<std::string>()(name), hash_of(inner));
  } else if (value.is_array()) {
    for (const Json& item : value) hash = mix(hash, hash_of(item));
  } else if (value.is_string()) {
    hash = mix(hash, std::hash<std::string>()(value.get_ref<const std::string&>()));
  } else if (value.is_number()) {
    hash = mix(hash, std::hash<double>()(value.get<double>()));
  } else if (value.is_boolean()) {
    hash = mix(hash, value.get<bool>() ? 1 : 0);
  }
  return hash;
}

bool apart(const CountRange& a, const CountRange& b) {
  return a.maximum < b.minimum || b.maximum < a.minimum;
}

}  // namespace

bool SchemaReader::validates(const Json& value, const Json& schema) {
  return validates_at(value, schema, 0);
}

bool SchemaReader::validates_at(const Json& value, const Json& schema, int depth) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (depth > kMaxCheckDepth)
    refuse_schema("a value in it cannot be checked against it",
                  "remove references that lead in circles");
  // Throws for keywords that would make the answer wrong.
  check_keywords(schema, 0);
  if (const Json* reference = member_of(schema, "$ref")) {
    if (!validates_at(value, resolve(reference->get<std::string>()), depth + 1)) return false;
  }
  const auto holds = [&](const Json& part) { return validates_at(value, part, depth + 1); };
  if (const Json* all = member_of(schema, "allOf");
      all != nullptr && !std::all_of(all->begin(), all->end(), holds))
    return false;
  if (const Json* any = member_of(schema, "anyOf");
      any != nullptr && !std::any_of(any->begin(), any->end(), holds))
    return false;
  if (const Json* one = member_of(schema, "oneOf");
      one != nullptr && std::count_if(one->begin(), one->end(), holds) != 1)
    return false;
  return validates_own(value, schema, depth);
}

bool SchemaReader::validates_own(const Json& value, const Json& schema, int depth) {
  const unsigned type = type_of(value);
  const Json* types = member_of(schema, "type");
  if (types != nullptr) {
    const auto is_type = [&](const Json& name) {
      return (name == "null" && type == kNullType) || (name == "boolean" && type == kBooleanType) ||
             (name == "integer" && type == kIntegerType) ||
             (name == "number" && (type & (kIntegerType | kFractionType)) != 0) ||
             (name == "string" && type == kStringType) || (name == "array" && type == kArrayType) ||
             (name == "object" && type == kObjectType);
    };
    const Json* nullable = member_of(schema, "nullable");
    const bool null_too = nullable != nullptr && *nullable == true && type == kNullType;
    const bool right =
        types->is_array() ? std::any_of(types->begin(), types->end(), is_type) : is_type(*types);
    if (!right && !null_too) return false;
  }
  if (const Json* values = member_of(schema, "enum")) {
    if (!lists(*values, value)) return false;
  }
  if (const Json* constant = member_of(schema, "const");
      constant != nullptr && !equal_values(*constant, value))
    return false;
  if ((type & (kIntegerType | kFractionType)) != 0) return validates_number(value, schema);
  if (type == kStringType) return validates_string(value, schema);
  if (type == kArrayType) return validates_array(value, schema, depth);
  return type != kObjectType || validates_object(value, schema, depth);
}

bool SchemaReader::lists(const Json& list, const Json& value) {
  const auto [known, added] = listed_.try_emplace(&list);
  auto& by_hash = known->second;
  if (added) {
    for (const Json& each : list) by_hash.emplace(hash_of(each), &each);
  }
  const auto [begin, end] = by_hash.equal_range(hash_of(value));
  return std::any_of(begin, end,
                     [&](const auto& each) { return equal_values(*each.second, value); });
}

bool SchemaReader::validates_number(const Json& value, const Json& schema) {
  const NumberLimits limits = number_limits({kAllTypes, {&schema}});
  const Decimal number = decimal_of(value, "enum");
  if (limits.minimum && (number < limits.minimum->value ||
                         (limits.minimum->exclusive && number == limits.minimum->value)))
    return false;
  if (limits.maximum && (number > limits.maximum->value ||
                         (limits.maximum->exclusive && number == limits.maximum->value)))
    return false;
  return std::all_of(limits.multiples.begin(), limits.multiples.end(),
                     [&](const Decimal& multiple) {
                       const int scale = std::max(number.scale, multiple.scale);
                       return number.scaled_to(scale) % multiple.scaled_to(scale) == 0;
                     });
}

bool SchemaReader::validates_string(const Json& value, const Json& schema) {
  const std::u32string text =
      code_points_of(value.get_ref<const std::string&>(), "a value of the schema");
  if (!within(counts({&schema}, "minLength", "maxLength"), text.size())) return false;
  const std::optional<Dfa> texts = string_texts({kStringType, {&schema}});
  return !texts || texts->accepts(text);
}

bool SchemaReader::validates_array(const Json& value, const Json& schema, int depth) {
  if (!within(counts({&schema}, "minItems", "maxItems"), value.size())) return false;
  const ItemSchemas schemas = items(schema);
  for (std::size_t i = 0; i < value.size(); ++i) {
    const Json* item = i < schemas.prefix.size() ? schemas.prefix[i] : schemas.rest;
    if (item != nullptr && !validates_at(value[i], *item, depth + 1)) return false;
  }
  const Json* unique = member_of(schema, "uniqueItems");
  if (unique == nullptr || *unique != true) return true;
  for (std::size_t i = 0; i < value.size(); ++i) {
    for (std::size_t j = i + 1; j < value.size(); ++j) {
      if (equal_values(value[i], value[j])) return false;
    }
  }
  return true;
}

bool SchemaReader::validates_object(const Json& value, const Json& schema, int depth) {
  if (!within(counts({&schema}, "minProperties", "maxProperties"), value.size())) return false;
  if (const Json* required = member_of(schema, "required")) {
    for (const Json& name : *required) {
      if (!value.contains(name.get_ref<const std::string&>())) return false;
    }
  }
  const Json* names = member_of(schema, "propertyNames");
  const Json* unevaluated = member_of(schema, "unevaluatedProperties");
  if (unevaluated != nullptr && *unevaluated == false)
    throw Error(
        "the JSON schema cannot be used: \"unevaluatedProperties\" cannot be checked beside "
        "constant objects",
        "use additionalProperties");
  for (const auto& [name, inner] : value.items()) {
    if (names != nullptr && !validates_at(Json(name), *names, depth + 1)) return false;
    for (const Json* part : member_schemas(schema, name)) {
      if (!validates_at(inner, *part, depth + 1)) return false;
    }
  }
  return true;
}

std::optional<std::vector<Json>> SchemaReader::values(const Alternative& alternative) {
  std::vector<Json> candidates;
  bool found = false;
  for (const Json* source : alternative.sources) {
    const Json* constant = member_of(*source, "const");
    const Json* list = member_of(*source, "enum");
    if (constant == nullptr && list == nullptr) continue;
    found = true;
    if (constant != nullptr) {
      candidates = {*constant};
      break;
    }
    candidates = list->get_ref<const std::vector<Json>&>();
    break;
  }
  if (!found) return std::nullopt;
  std::erase_if(candidates, [&](const Json& value) {
    if ((type_of(value) & alternative.types) == 0) return true;
    return !std::all_of(alternative.sources.begin(), alternative.sources.end(),
                        [&](const Json* source) { return validates_own(value, *source, 0); });
  });
  return candidates;
}

bool SchemaReader::disjoint(const Alternative& a, const Alternative& b, int depth) {
  const unsigned common = a.types & b.types;
  if (common == 0) return true;
  if (depth > kMaxDisjointDepth) return false;
  const std::optional<std::vector<Json>> left = values(a);
  const std::optional<std::vector<Json>> right = values(b);
  const auto fits = [&](const Json& value, const Alternative& other) {
    return (type_of(value) & other.types) != 0 &&
           std::all_of(other.sources.begin(), other.sources.end(),
                       [&](const Json* source) { return validates_own(value, *source, 0); });
  };
  if (left)
    return std::none_of(left->begin(), left->end(), [&](const Json& v) { return fits(v, b); });
  if (right)
    return std::none_of(right->begin(), right->end(), [&](const Json& v) { return fits(v, a); });
  if ((common & (kNullType | kBooleanType)) != 0) return false;
  if ((common & (kIntegerType | kFractionType)) != 0 &&
      !ranges_disjoint(number_limits(a), number_limits(b)))
    return false;
  if ((common & kStringType) != 0 && !disjoint_strings(a, b)) return false;
  if ((common & kArrayType) != 0 && !disjoint_arrays(a, b, depth)) return false;
  return (common & kObjectType) == 0 || disjoint_objects(a, b, depth);
}

bool SchemaReader::disjoint_strings(const Alternative& a, const Alternative& b) {
  if (apart(counts(a.sources, "minLength", "maxLength"),
            counts(b.sources, "minLength", "maxLength")))
    return true;
  work_ += kPatternWork;
  if (work_ > kMaxWork) {
    refuse_schema("\"oneOf\" has too many patterns to compare", "use anyOf");
  }
  const std::optional<Dfa> left = string_texts(a);
  const std::optional<Dfa> right = string_texts(b);
  return left && right && grammar::disjoint(*left, *right, &automata_);
}

bool SchemaReader::disjoint_lists(const SchemaList& a, const SchemaList& b, int depth) {
  const std::vector<Alternative> left = expand(a);
  const std::vector<Alternative> right = expand(b);
  return std::all_of(left.begin(), left.end(), [&](const Alternative& x) {
    return std::all_of(right.begin(), right.end(),
                       [&](const Alternative& y) { return disjoint(x, y, depth + 1); });
  });
}

bool SchemaReader::disjoint_objects(const Alternative& a, const Alternative& b, int depth) {
  if (apart(counts(a.sources, "minProperties", "maxProperties"),
            counts(b.sources, "minProperties", "maxProperties")))
    return true;
  if (!has_any(a, {"required"}) && !has_any(b, {"required"})) return false;
  // A member that one of them demands, and whose value the other one refuses.
  for (const Alternative* one : {&a, &b}) {
    for (const Json* source : one->sources) {
      const Json* required = member_of(*source, "required");
      if (required == nullptr) continue;
      for (const Json& entry : *required) {
        const auto& name = entry.get_ref<const std::string&>();
        SchemaList left, right;
        for (const Json* s : a.sources) {
          const SchemaList more = member_schemas(*s, name);
          left.insert(left.end(), more.begin(), more.end());
        }
        for (const Json* s : b.sources) {
          const SchemaList more = member_schemas(*s, name);
          right.insert(right.end(), more.begin(), more.end());
        }
        if (disjoint_lists(left, right, depth)) return true;
      }
    }
  }
  // Or each demands a member that texts for the other one never have.
  return demands_foreign_member(a, b) && demands_foreign_member(b, a);
}

bool SchemaReader::demands_foreign_member(const Alternative& one, const Alternative& other) {
  if (!writes_declared_members_only(other)) return false;
  return std::any_of(one.sources.begin(), one.sources.end(), [&](const Json* source) {
    const Json* required = member_of(*source, "required");
    return required != nullptr &&
           std::any_of(required->begin(), required->end(), [&](const Json& entry) {
             const auto& name = entry.get_ref<const std::string&>();
             return !requires_member(other, name) &&
                    std::none_of(other.sources.begin(), other.sources.end(), [&](const Json* s) {
                      const Json* properties = member_of(*s, "properties");
                      return properties != nullptr && properties->contains(name);
                    });
           });
  });
}

bool SchemaReader::writes_declared_members_only(const Alternative& alternative) {
  bool declares = false;
  for (const Json* source : alternative.sources) {
    const Json* properties = member_of(*source, "properties");
    const Json* required = member_of(*source, "required");
    declares |= (properties != nullptr && !properties->empty()) ||
                (required != nullptr && !required->empty());
    const Json* rest = member_of(*source, "additionalProperties");
    if (source->contains("patternProperties") || (rest != nullptr && rest->is_object()))
      return false;
  }
  return declares;
}

bool SchemaReader::disjoint_arrays(const Alternative& a, const Alternative& b, int depth) {
  const CountRange left = counts(a.sources, "minItems", "maxItems");
  const CountRange right = counts(b.sources, "minItems", "maxItems");
  if (apart(left, right)) return true;
  const std::uint32_t certain = std::min<std::uint32_t>(std::max(left.minimum, right.minimum), 16);
  for (std::uint32_t i = 0; i < certain; ++i) {
    SchemaList lists[2];
    for (const Alternative* one : {&a, &b}) {
      for (const Json* source : one->sources) {
        const ItemSchemas schemas = items(*source);
        const Json* item = i < schemas.prefix.size() ? schemas.prefix[i] : schemas.rest;
        if (item != nullptr) lists[one == &b].push_back(item);
      }
    }
    if (disjoint_lists(lists[0], lists[1], depth)) return true;
  }
  return false;
}

}  // namespace hearth::generate::grammar
