#include "generate/grammar/tool_elements.h"

#include <algorithm>

#include "generate/grammar/regex.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

using text::CallKind;
using text::CallSyntax;
using text::SchemaChoices;

/// The reader's types in the terms of schemas.
unsigned schema_types_of(unsigned types) {
  unsigned result = 0;
  if ((types & text::kStringType) != 0) result |= kStringType;
  if ((types & text::kNumberType) != 0) result |= kIntegerType | kFractionType;
  if ((types & text::kBooleanType) != 0) result |= kBooleanType;
  if ((types & text::kNullType) != 0) result |= kNullType;
  if ((types & text::kObjectType) != 0) result |= kObjectType;
  if ((types & text::kArrayType) != 0) result |= kArrayType;
  return result;
}

bool says_any(const Alternative& part, std::initializer_list<const char*> keywords) {
  return std::any_of(part.sources.begin(), part.sources.end(), [&](const Json* source) {
    return std::any_of(keywords.begin(), keywords.end(),
                       [&](const char* keyword) { return source->contains(keyword); });
  });
}

bool is_anything(const std::vector<Alternative>& parts) {
  return std::all_of(parts.begin(), parts.end(), [](const Alternative& part) {
    return part.types == kAllTypes && part.sources.empty();
  });
}

void check_name(const std::string& name, const char* forbidden) {
  if (name.empty() || name.size() > 200 || name.front() == '/' ||
      name.find_first_of(forbidden) != std::string::npos) {
    throw Error("a parameter's name cannot be written in the syntax of this model's family",
                "name it with letters, digits, '_' and '-'");
  }
}

}  // namespace

ElementWriter::ElementWriter(Syntax& syntax, const text::ChatFormat& format, const Json& declared,
                             const std::vector<Tool>& tools, WhiteSpace white_space)
    : syntax_(syntax),
      format_(format),
      declared_(&declared),
      tools_(tools),
      // Values between tags hold no '<', which could begin the closing tag.
      values_(syntax, tools, white_space, {.escaped = CodePointSet{{U'<', U'<'}}}) {}

Expression ElementWriter::call(const CallSyntax& syntax, std::size_t tool) {
  const bool nested = syntax.kind == CallKind::kNestedElements;
  std::vector<Expression> ways;
  if (tools_[tool].parameters == nullptr) ways.push_back(syntax_.empty());
  for (const Alternative& part : values_.alternatives(tool)) {
    refuse_counts(part);
    ways.push_back(nested ? nested_members(syntax, tool, part, {tools_[tool].parameters})
                          : flat_members(syntax, tool, part));
  }
  return syntax_.sequence({syntax_.bytes(tools_[tool].name), syntax_.markup(syntax.name_end),
                           syntax_.choice(std::move(ways)), values_.json().space(),
                           syntax_.markup(syntax.call_close)});
}

void ElementWriter::refuse_counts(const Alternative& object) const {
  for (const char* keyword : {"minProperties", "maxProperties", "propertyNames", "enum", "const"}) {
    if (says_any(object, {keyword})) {
      throw Error(std::string("\"") + keyword +
                      "\" of a tool's parameters cannot be enforced in the syntax of this model's "
                      "family (" +
                      format_.name + ")",
                  "leave it out");
    }
  }
}

std::vector<ElementWriter::Member> ElementWriter::members(std::size_t tool,
                                                          const Alternative& object) {
  std::vector<Member> result;
  const auto note = [&](const std::string& name) {
    if (std::none_of(result.begin(), result.end(),
                     [&](const Member& member) { return member.name == name; }))
      result.push_back({.name = name});
  };
  for (const Json* source : object.sources) {
    if (const Json* properties = member_of(*source, "properties")) {
      for (const auto& [name, schema] : properties->items()) note(name);
    }
  }
  for (const Json* source : object.sources) {
    if (const Json* required = member_of(*source, "required")) {
      for (const Json& name : *required) note(name.get<std::string>());
    }
  }
  SchemaReader& reader = values_.compiler(tool).reader();
  for (Member& member : result) {
    member.required = SchemaReader::requires_member(object, member.name);
    for (const Json* source : object.sources) {
      const SchemaList more = reader.member_schemas(*source, member.name);
      member.schemas.insert(member.schemas.end(), more.begin(), more.end());
    }
  }
  return result;
}

// ---- Parameters as tags, their values as text or JSON.

Expression ElementWriter::flat_members(const CallSyntax& syntax, std::size_t tool,
                                       const Alternative& object) {
  std::vector<Expression> all;
  for (const Member& member : members(tool, object)) {
    const Expression one = flat_member(syntax, tool, member);
    all.push_back(member.required ? one : syntax_.optional(one));
  }
  return syntax_.sequence(std::move(all));
}

Expression ElementWriter::flat_member(const CallSyntax& syntax, std::size_t tool,
                                      const Member& member) {
  check_name(member.name, "<>\"\n");
  std::string markers = literal_pattern(syntax.value_close);
  for (const std::string* marker : {&syntax.call_close, &syntax.key_open, &syntax.close}) {
    if (!marker->empty()) markers += "|" + literal_pattern(*marker);
  }
  // An attribute says whether a value is text; otherwise the schema does.
  const unsigned known = syntax.string_attribute
                             ? static_cast<unsigned>(text::kStringType)
                             : declared_.parameter_types(tools_[tool].name, member.name);
  std::vector<Alternative> parts = values_.compiler(tool).reader().expand(member.schemas);
  std::vector<Expression> as_text, as_json;
  if (is_anything(parts)) {
    as_text.push_back(raw_text(std::nullopt, markers, text::kStringType));
  } else {
    for (Alternative& part : parts) {
      if ((part.types & kStringType) != 0) as_text.push_back(texts(tool, part, markers, known));
      part.types &= ~static_cast<unsigned>(kStringType);
      // Beside strings the reader takes only what it knows to be possible for something else.
      if (!syntax.string_attribute && (known & text::kStringType) != 0)
        part.types &= schema_types_of(known);
      if (part.types != 0) as_json.push_back(values_.compiler(tool).alternative(part));
    }
  }
  JsonSyntax& json = values_.json();
  const std::string newline = syntax.newline_around_values ? "\n" : "";
  const auto with_attribute = [&](const char* is_string, std::vector<Expression> ways) {
    const std::string attribute =
        syntax.string_attribute ? std::string("\" string=\"") + is_string + "\"" : std::string();
    return syntax_.sequence({syntax_.markup(attribute + syntax.key_end),
                             syntax.value_open.empty() ? syntax_.empty() : json.space(),
                             syntax_.markup(syntax.value_open), syntax_.bytes(newline),
                             syntax_.choice(std::move(ways))});
  };
  return syntax_.sequence({json.space(), syntax_.markup(syntax.key_open),
                           syntax_.bytes(member.name),
                           syntax_.choice({with_attribute("true", std::move(as_text)),
                                           with_attribute("false", std::move(as_json))}),
                           syntax_.bytes(newline), syntax_.markup(syntax.value_close)});
}

// ---- Parameters as tags, objects and lists in them as tags again.

Expression ElementWriter::nested_members(const CallSyntax& syntax, std::size_t tool,
                                         const Alternative& object, const SchemaChoices& known) {
  std::vector<Expression> all;
  for (const Member& member : members(tool, object)) {
    check_name(member.name, "<>\"\n]");
    const SchemaChoices inner = text::member_choices(known, *tools_[tool].parameters, member.name);
    const Expression one = syntax_.sequence(
        {syntax_.markup(syntax.tag_marker), syntax_.bytes("<" + member.name + ">"),
         nested_value(syntax, tool, member.schemas, inner), syntax_.markup(syntax.tag_marker),
         syntax_.bytes("</" + member.name + ">")});
    all.push_back(member.required ? one : syntax_.optional(one));
  }
  return syntax_.sequence(std::move(all));
}

Expression ElementWriter::nested_value(const CallSyntax& syntax, std::size_t tool,
                                       const SchemaList& schemas, const SchemaChoices& known) {
  const auto key = std::make_pair(schemas, known);
  if (const auto found = nested_.find(key); found != nested_.end())
    return syntax_.use(found->second);
  const Rule rule = syntax_.declare();
  nested_.emplace(key, rule);
  // As in SchemaCompiler::value(): a list instead of recursion.
  waiting_.push_back({rule, schemas, known});
  if (waiting_.size() > 1) return syntax_.use(rule);
  for (; !waiting_.empty(); waiting_.pop_front()) {
    const Waiting next = waiting_.front();
    std::vector<Expression> ways;
    const std::vector<Alternative> parts = values_.compiler(tool).reader().expand(next.schemas);
    if (is_anything(parts)) {
      ways.push_back(raw_text(std::nullopt, literal_pattern(syntax.tag_marker), text::kStringType));
    } else {
      for (const Alternative& part : parts)
        ways.push_back(nested_alternative(syntax, tool, part, next.known));
    }
    syntax_.define(next.rule, syntax_.choice(std::move(ways)));
  }
  return syntax_.use(rule);
}

Expression ElementWriter::nested_alternative(const CallSyntax& syntax, std::size_t tool,
                                             Alternative part, const SchemaChoices& known) {
  const unsigned types = text::schema_types(known, *tools_[tool].parameters);
  std::vector<Expression> ways;
  if ((part.types & kStringType) != 0)
    ways.push_back(texts(tool, part, literal_pattern(syntax.tag_marker), types));
  part.types &= ~static_cast<unsigned>(kStringType);
  if ((types & text::kStringType) != 0) part.types &= schema_types_of(types);
  // Where a text is possible too, an empty element is that; and values from a list have one
  // spelling: both are written as JSON.
  const bool may_nest =
      (types & text::kStringType) == 0 && !values_.compiler(tool).reader().values(part);
  if (may_nest && (part.types & kObjectType) != 0 && (types & text::kObjectType) != 0 &&
      says_any(part, {"properties"}) &&
      !says_any(part, {"minProperties", "maxProperties", "propertyNames"})) {
    ways.push_back(nested_members(syntax, tool, part, known));
    part.types &= ~static_cast<unsigned>(kObjectType);
  }
  if (may_nest && (part.types & kArrayType) != 0 && nested_list(syntax, tool, part, known, ways))
    part.types &= ~static_cast<unsigned>(kArrayType);
  if (part.types != 0) ways.push_back(values_.compiler(tool).alternative(part));
  return syntax_.choice(std::move(ways));
}

/// A list as elements called "item". False where the reader could take it for something else, or
/// the schema says more than elements can keep to.
bool ElementWriter::nested_list(const CallSyntax& syntax, std::size_t tool, const Alternative& part,
                                const SchemaChoices& known, std::vector<Expression>& ways) {
  const Json& root = *tools_[tool].parameters;
  const unsigned types = text::schema_types(known, root);
  if ((types & text::kArrayType) == 0 || (types & text::kObjectType) != 0) return false;
  if (says_any(part, {"uniqueItems", "prefixItems", "additionalItems"})) return false;
  SchemaList schemas;
  for (const Json* source : part.sources) {
    const ItemSchemas items = SchemaReader::items(*source);
    if (!items.prefix.empty()) return false;
    if (items.rest != nullptr) schemas.push_back(items.rest);
  }
  if (schemas.empty()) return false;
  const CountRange range = SchemaReader::counts(part.sources, "minItems", "maxItems");
  const Expression item =
      syntax_.sequence({syntax_.markup(syntax.tag_marker), syntax_.bytes("<item>"),
                        nested_value(syntax, tool, schemas, text::item_choices(known, root)),
                        syntax_.markup(syntax.tag_marker), syntax_.bytes("</item>")});
  ways.push_back(syntax_.repeat(item, range.minimum, range.maximum));
  return true;
}

// ---- Text that is not quoted.

/// The strings of one alternative.
Expression ElementWriter::texts(std::size_t tool, const Alternative& part,
                                const std::string& markers, unsigned types) {
  Alternative strings = part;
  strings.types = kStringType;
  SchemaCompiler& compiler = values_.compiler(tool);
  const auto words = compiler.reader().values(strings);
  if (!words) return raw_text(compiler.plain_strings(strings), markers, types);
  std::vector<std::u32string> list;
  for (const Json& word : *words)
    list.push_back(code_points_of(word.get<std::string>(), "a value of the schema"));
  return raw_text(exactly(list), markers, types);
}

/// Text that the reader, who knows of `types`, takes as it is: without the markers that would end
/// it, and without what it would read as a value of another type.
Expression ElementWriter::raw_text(std::optional<Dfa> allowed, const std::string& markers,
                                   unsigned types) {
  const RegexOptions options{.work = &syntax_.work()};
  Dfa text = complement(compile_pattern(markers, options), options.work);
  const bool knows_text = (types & text::kStringType) != 0;
  const unsigned others = knows_text ? types & ~text::kStringType : ~0U;
  if ((others & (text::kNumberType | text::kArrayType | text::kObjectType)) != 0)
    text = difference(text, compile_pattern("^\\s*[-+.0-9\\[{(\"']", options), options.work);
  if ((others & (text::kBooleanType | text::kNullType)) != 0)
    text = difference(text, compile_pattern("^\\s*(?:[Tt]rue|[Ff]alse|null|None)\\s*$", options),
                      options.work);
  if (allowed) text = intersection(text, *allowed, options.work);
  return syntax_.string_of(std::move(text));
}

}  // namespace hearth::generate::grammar
