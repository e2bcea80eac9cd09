#include "generate/grammar/schema_compiler.h"

#include <algorithm>

#include "generate/grammar/compiled.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxPrefix = 300;
/// Arrays of different items need a rule for every set of them.
constexpr std::size_t kMaxUniqueValues = 9;
constexpr std::size_t kMaxValues = 20'000;

bool wants_unique_items(const Alternative& alternative) {
  return std::any_of(alternative.sources.begin(), alternative.sources.end(),
                     [](const Json* source) {
                       const Json* unique = member_of(*source, "uniqueItems");
                       return unique != nullptr && *unique == true;
                     });
}

}  // namespace

Expression SchemaCompiler::value(const SchemaList& schemas) {
  SchemaList key = schemas;
  std::erase_if(key,
                [](const Json* schema) { return schema->is_boolean() && schema->get<bool>(); });
  std::sort(key.begin(), key.end());
  key.erase(std::unique(key.begin(), key.end()), key.end());
  Syntax& syntax = json_.syntax();
  if (const auto known = rules_.find(key); known != rules_.end()) return syntax.use(known->second);
  const Rule rule = syntax.declare();
  rules_.emplace(key, rule);
  // In the order they were given, not of their places in memory. Whoever is at work on the list
  // goes on: schemas may refer to each other in chains too long to recurse.
  waiting_.emplace_back(rule, schemas);
  if (waiting_.size() > 1) return syntax.use(rule);
  while (!waiting_.empty()) {
    const auto [next, all] = waiting_.front();
    std::vector<Expression> ways;
    for (const Alternative& part : reader_.expand(all)) ways.push_back(alternative(part));
    syntax.define(next, syntax.choice(std::move(ways)));
    waiting_.pop_front();
  }
  return syntax.use(rule);
}

Expression SchemaCompiler::alternative(const Alternative& alternative) {
  Syntax& syntax = json_.syntax();
  std::vector<Expression> ways;
  if (const std::optional<std::vector<Json>> values = reader_.values(alternative)) {
    if (values->size() > kMaxValues)
      refuse_schema("an \"enum\" has more than 20,000 values", "use a pattern");
    for (const Json& value : *values) ways.push_back(json_.literal(value));
    return syntax.choice(std::move(ways));
  }
  const unsigned types = alternative.types;
  if ((types & kObjectType) != 0)
    ways.push_back(write_object(*this, alternative, ObjectForm::kObject));
  if ((types & kArrayType) != 0) ways.push_back(array(alternative));
  if ((types & kStringType) != 0) ways.push_back(string(alternative));
  if ((types & (kIntegerType | kFractionType)) != 0) ways.push_back(number(alternative));
  if ((types & kBooleanType) != 0)
    ways.push_back(syntax.choice({json_.literal(true), json_.literal(false)}));
  if ((types & kNullType) != 0) ways.push_back(json_.literal(nullptr));
  return syntax.choice(std::move(ways));
}

Expression SchemaCompiler::number(const Alternative& alternative) {
  const NumberLimits limits = reader_.number_limits(alternative);
  const bool free = !limits.minimum && !limits.maximum && limits.multiples.empty();
  DfaWork& work = json_.syntax().work();
  if ((alternative.types & kFractionType) == 0)
    return free ? json_.any_integer() : json_.syntax().string_of(integer_texts(limits, &work));
  return free ? json_.any_number() : json_.syntax().string_of(number_texts(limits, &work));
}

std::optional<Dfa> SchemaCompiler::plain_strings(const Alternative& alternative) {
  std::optional<Dfa> texts = reader_.string_texts(alternative);
  const CountRange length = SchemaReader::counts(alternative.sources, "minLength", "maxLength");
  if (length.minimum == 0 && length.maximum == kUnlimited) return texts;
  std::optional<std::uint64_t> maximum;
  if (length.maximum != kUnlimited) maximum = length.maximum;
  if (length.minimum >= kMaxDfaStates || maximum.value_or(0) >= kMaxDfaStates) {
    throw Error(
        "the JSON schema cannot be used: \"minLength\" or \"maxLength\" is too large beside a "
        "pattern or in this syntax of calls",
        "use less than 20,000");
  }
  const Dfa lengths = strings_of_length(length.minimum, maximum);
  return texts ? intersection(*texts, lengths, &json_.syntax().work()) : lengths;
}

Expression SchemaCompiler::string(const Alternative& alternative) {
  if (has_any(alternative, {"pattern", "format"})) {
    if (std::optional<Dfa> texts = plain_strings(alternative);
        texts && reader_.string_texts(alternative))
      return json_.string_of(std::move(*texts));
  }
  const CountRange length = SchemaReader::counts(alternative.sources, "minLength", "maxLength");
  return json_.string_of_length(length.minimum, length.maximum);
}

Expression SchemaCompiler::array(const Alternative& alternative) {
  Syntax& syntax = json_.syntax();
  CountRange range = SchemaReader::counts(alternative.sources, "minItems", "maxItems");
  if (wants_unique_items(alternative) && range.maximum > 1) return unique_array(alternative, range);
  std::vector<ItemSchemas> items;
  std::size_t prefix = 0;
  for (const Json* source : alternative.sources) {
    items.push_back(SchemaReader::items(*source));
    prefix = std::max(prefix, items.back().prefix.size());
  }
  if (prefix > kMaxPrefix) refuse_schema("\"prefixItems\" has more than 300 items", "use items");
  const auto item_at = [&](std::size_t index) {
    SchemaList schemas;
    for (const ItemSchemas& part : items) {
      const Json* schema = index < part.prefix.size() ? part.prefix[index] : part.rest;
      if (schema != nullptr) schemas.push_back(schema);
    }
    return schemas.empty() ? json_.any_value() : value(schemas);
  };
  const auto later = [&](Expression item) { return syntax.sequence({json_.comma(), item}); };
  // From the end: what may follow item i.
  const auto rest_minimum =
      static_cast<std::uint32_t>(range.minimum > prefix ? range.minimum - prefix : 0);
  const std::uint32_t rest_maximum =
      range.maximum == kUnlimited
          ? kUnlimited
          : static_cast<std::uint32_t>(range.maximum > prefix ? range.maximum - prefix : 0);
  if (prefix == 0) {
    if (range.maximum == 0) return json_.array(syntax.empty());
    const Expression item = item_at(0);
    const Expression more =
        syntax.repeat(later(item), range.minimum == 0 ? 0 : range.minimum - 1,
                      range.maximum == kUnlimited ? kUnlimited : range.maximum - 1);
    const Expression all = syntax.sequence({item, more});
    return json_.array(range.minimum == 0 ? syntax.optional(all) : all);
  }
  Expression tail = syntax.repeat(later(item_at(prefix)), rest_minimum, rest_maximum);
  if (rest_maximum == 0) tail = syntax.empty();
  for (std::size_t i = prefix; i-- > 0;) {
    const Expression item = item_at(i);
    const Expression here = syntax.sequence({i == 0 ? item : later(item), tail});
    if (range.maximum <= i) {
      tail = syntax.empty();
    } else {
      tail = range.minimum > i ? here : syntax.optional(here);
    }
  }
  return json_.array(tail);
}

std::vector<Json> SchemaCompiler::finite_values(const SchemaList& schemas) {
  std::vector<Json> all;
  for (const Alternative& part : reader_.expand(schemas)) {
    std::optional<std::vector<Json>> values = reader_.values(part);
    if (!values && (part.types & ~(kNullType | kBooleanType)) == 0) {
      values.emplace();
      if ((part.types & kNullType) != 0) values->push_back(nullptr);
      if ((part.types & kBooleanType) != 0) values->insert(values->end(), {true, false});
    }
    if (!values || schemas.empty()) {
      throw Error(
          "the JSON schema cannot be used: \"uniqueItems\" can only be enforced for items "
          "from an \"enum\"",
          "leave it out, or list the values");
    }
    for (Json& value : *values) {
      if (std::none_of(all.begin(), all.end(),
                       [&](const Json& v) { return equal_values(v, value); }))
        all.push_back(std::move(value));
    }
  }
  if (all.size() > kMaxUniqueValues) {
    throw Error(
        "the JSON schema cannot be used: \"uniqueItems\" can only be enforced for an \"enum\" "
        "of at most 9 values",
        "leave it out");
  }
  return all;
}

Expression SchemaCompiler::unique_array(const Alternative& alternative, const CountRange& range) {
  SchemaList schemas;
  for (const Json* source : alternative.sources) {
    const ItemSchemas items = SchemaReader::items(*source);
    if (!items.prefix.empty())
      throw Error(
          "the JSON schema cannot be used: \"uniqueItems\" cannot be enforced with "
          "\"prefixItems\"",
          "leave it out");
    if (items.rest != nullptr) schemas.push_back(items.rest);
  }
  const std::vector<Json> values = finite_values(schemas);
  Syntax& syntax = json_.syntax();
  // A rule for every set of values that were used: what may follow.
  const std::uint32_t sets = 1U << values.size();
  std::vector<Rule> after(sets);
  for (Rule& rule : after) rule = syntax.declare();
  std::vector<Expression> literals;
  for (const Json& value : values) literals.push_back(json_.literal(value));
  for (std::uint32_t used = 0; used < sets; ++used) {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < values.size(); ++i) count += used >> i & 1U;
    std::vector<Expression> ways;
    if (count >= range.minimum) ways.push_back(syntax.empty());
    for (std::size_t i = 0; count < range.maximum && i < values.size(); ++i) {
      if ((used >> i & 1U) != 0) continue;
      const Expression rest = syntax.use(after[used | 1U << i]);
      ways.push_back(used == 0 ? syntax.sequence({literals[i], rest})
                               : syntax.sequence({json_.comma(), literals[i], rest}));
    }
    syntax.define(after[used], syntax.choice(std::move(ways)));
  }
  return json_.array(syntax.use(after[0]));
}

std::shared_ptr<const Grammar> compile_json_schema(const nlohmann::ordered_json& schema,
                                                   const Options& options) {
  Syntax syntax;
  JsonSyntax json(syntax, options.white_space);
  check_document(schema);
  try {
    SchemaCompiler compiler(json, schema);
    syntax.set_root(compiler.value({&schema}));
  } catch (const nlohmann::json::exception&) {
    refuse_schema("a keyword has a value of the wrong type",
                  "check it against the JSON Schema specification");
  }
  return finish(std::move(syntax), options);
}

}  // namespace hearth::generate::grammar
