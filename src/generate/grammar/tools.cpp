// Replies with tool calls, in the syntax of each family (text/chat_format.h): what
// text::ReplyReader reads, and nothing that it would read otherwise.
#include <algorithm>
#include <memory>
#include <string>
#include <unordered_set>

#include "generate/grammar/compiled.h"
#include "generate/grammar/regex.h"
#include "generate/grammar/schema_compiler.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

using text::CallKind;
using text::CallSyntax;

struct Tool {
  std::string name;
  const Json* parameters = nullptr;  ///< null: none
};

bool is_usable_name(std::string_view name) {
  static constexpr std::string_view kForbidden = "\"'`<>{}[]()|,;= \t\r\n";
  return !name.empty() && name.size() <= 256 && name.find_first_of(kForbidden) == std::string::npos;
}

std::vector<Tool> read_tools(const Json& tools, const CallRules& rules) {
  std::vector<Tool> result;
  std::unordered_set<std::string> names;
  if (tools.is_array()) {
    for (const Json& entry : tools) {
      const Json* inner = member_of(entry, "function");
      const Json& function = inner != nullptr && inner->is_object() ? *inner : entry;
      const Json* name = member_of(function, "name");
      if (name == nullptr || !name->is_string() || !is_usable_name(name->get<std::string>()))
        throw Error("a tool has no usable name", "name it with letters, digits, '_' and '-'");
      Tool tool{name->get<std::string>(), nullptr};
      for (const char* key : {"parameters", "input_schema", "inputSchema"}) {
        const Json* schema = member_of(function, key);
        if (tool.parameters == nullptr && schema != nullptr && !schema->is_null())
          tool.parameters = schema;
      }
      names.insert(tool.name);
      const bool wanted = rules.functions.empty() ||
                          std::find(rules.functions.begin(), rules.functions.end(), tool.name) !=
                              rules.functions.end();
      if (wanted) result.push_back(std::move(tool));
    }
  }
  for (const std::string& name : rules.functions) {
    if (!names.contains(name))
      throw Error("there is no tool named '" + printable(name, 60) + "'",
                  "name one of the request's tools");
  }
  if (result.empty()) throw Error("there are no tools to call", "send at least one tool");
  return result;
}

std::string escaped_for_pattern(std::string_view text) {
  static constexpr std::string_view kSyntax = "^$\\.*+?()[]{}|/";
  std::string result;
  for (const char c : text) {
    if (kSyntax.find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

class ToolSyntax {
 public:
  ToolSyntax(const text::ChatFormat& format, const Json& tools, const CallRules& rules,
             const Options& options)
      : format_(format),
        rules_(rules),
        json_(syntax_, options.white_space),
        // Values between tags hold no '<', which could begin the closing tag.
        tag_json_(syntax_, options.white_space, CodePointSet{{U'<', U'<'}}) {
    for (Tool& tool : read_tools(tools, rules)) {
      if (tool.parameters != nullptr) check_document(*tool.parameters);
      tools_.push_back(std::move(tool));
    }
  }

  Syntax build() {
    if (format_.frame != text::ReplyFrame::kPlain) refuse();
    for (const CallSyntax& call : format_.calls) {
      if (is_supported(call)) calls_.push_back(&call);
    }
    if (calls_.empty()) refuse();
    syntax_.set_root(rules_.required ? required() : voluntary());
    return std::move(syntax_);
  }

 private:
  [[noreturn]] void refuse() const {
    throw Error(
        "tool calls cannot be enforced in the syntax of this model's family (" + format_.name + ")",
        "use tool_choice \"auto\" without strict tools");
  }

  static bool is_supported(const CallSyntax& call) {
    switch (call.kind) {
      case CallKind::kJson:
      case CallKind::kGeneric:
        return true;
      case CallKind::kMarked:
        return call.quote_token.empty();
      case CallKind::kElements:
        return !call.value_close.empty() && !call.call_close.empty() && !call.call_open.empty();
      default:
        return false;
    }
  }

  [[nodiscard]] static bool is_marked(const CallSyntax& call) { return !call.open.empty(); }

  // ---- The whole reply.

  Expression required() {
    std::vector<Expression> marked, ways;
    for (const CallSyntax* call : calls_) {
      if (is_marked(*call))
        marked.push_back(syntax_.sequence({syntax_.markup(call->open), after_open(*call)}));
    }
    // Calls without markers stand alone, and where they are not the family's way, they are a
    // mistake.
    if (!is_marked(*calls_.front())) ways.push_back(after_open(*calls_.front()));
    if (!marked.empty()) {
      const Expression block = shared(syntax_.choice(std::move(marked)));
      const Expression more =
          rules_.parallel ? syntax_.repeat(syntax_.sequence({json_.space(), block}), 0, kUnlimited)
                          : syntax_.empty();
      ways.push_back(
          syntax_.sequence({optional_section_marker(), block, more, optional_section_marker()}));
    }
    return syntax_.choice(std::move(ways));
  }

  Expression voluntary() {
    const CallSyntax& first = *calls_.front();
    if (first.kind == CallKind::kGeneric) return after_open(first);
    const Rule text = syntax_.declare("text");
    std::vector<std::string> markers;
    std::vector<std::vector<Expression>> ways;
    const auto add = [&](const std::string& marker, Expression rest) {
      auto at = static_cast<std::size_t>(std::find(markers.begin(), markers.end(), marker) -
                                         markers.begin());
      if (at == markers.size()) {
        markers.push_back(marker);
        ways.emplace_back();
      }
      ways[at].push_back(rest);
    };
    for (const CallSyntax* call : calls_) {
      if (is_marked(*call)) add(call->open, after_open(*call));
      if (call->kind == CallKind::kElements && call->bare_call_open &&
          call->call_open != call->open)
        add(call->call_open, element_calls(*call, true));
    }
    std::vector<Expression> children;
    for (std::vector<Expression>& rests : ways) {
      const Expression block = syntax_.choice(std::move(rests));
      const Expression after = rules_.parallel ? syntax_.use(text) : optional_section_marker();
      children.push_back(syntax_.sequence({block, after}));
    }
    const Expression free_text = syntax_.until(std::move(markers), std::move(children), true);
    syntax_.define(text, free_text);
    if (is_marked(first)) return syntax_.use(text);
    // What begins like a call is one.
    const CodePointSet opening{{U'{', U'{'},   {U'[', U'['},   {U' ', U' '},
                               {U'\t', U'\t'}, {U'\n', U'\n'}, {U'\r', U'\r'}};
    const Expression other =
        syntax_.sequence({syntax_.one_of(opening.complement()), syntax_.use(text)});
    return syntax_.choice({after_open(first), other, syntax_.empty()});
  }

  /// What some families write around all calls together.
  Expression optional_section_marker() {
    std::vector<Expression> markers;
    for (const text::IgnoredMarkup& markup : format_.ignored) {
      if (markup.close.empty() && markup.open.find("calls") != std::string::npos)
        markers.push_back(syntax_.markup(markup.open));
    }
    if (markers.empty()) return syntax_.empty();
    return syntax_.optional(
        syntax_.sequence({json_.space(), syntax_.choice(std::move(markers)), json_.space()}));
  }

  /// A block of calls behind its opening marker, the closing one included.
  Expression after_open(const CallSyntax& call) {
    switch (call.kind) {
      case CallKind::kJson:
        return json_block(call);
      case CallKind::kMarked:
        return marked_call(call);
      case CallKind::kElements:
        return element_calls(call, call.call_open == call.open);
      default:
        return generic_reply();
    }
  }

  /// Used several times, written once.
  Expression shared(Expression expression) {
    const Rule rule = syntax_.declare();
    syntax_.define(rule, expression);
    return syntax_.use(rule);
  }

  // ---- Arguments as JSON.

  SchemaCompiler& compiler(std::size_t tool) {
    while (compilers_.size() < tools_.size()) {
      const Tool& next = tools_[compilers_.size()];
      static const Json kNone = Json::object();
      compilers_.push_back(std::make_unique<SchemaCompiler>(
          json_, next.parameters != nullptr ? *next.parameters : kNone));
    }
    return *compilers_[tool];
  }

  Expression arguments(std::size_t tool) {
    if (arguments_.empty()) arguments_.resize(tools_.size());
    if (!arguments_[tool]) {
      std::vector<Expression> ways;
      if (tools_[tool].parameters == nullptr) {
        ways.push_back(syntax_.bytes("{}"));
      } else {
        for (Alternative part : compiler(tool).reader().expand({tools_[tool].parameters})) {
          part.types &= kObjectType;
          if (part.types != 0) ways.push_back(compiler(tool).alternative(part));
        }
      }
      arguments_[tool] = shared(syntax_.choice(std::move(ways)));
    }
    return *arguments_[tool];
  }

  Expression json_call(bool name_is_key) {
    const auto key = [&](const char* name) {
      return syntax_.sequence({json_.key(name), json_.colon()});
    };
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools_.size(); ++tool) {
      const Expression name = json_.key(tools_[tool].name);
      if (name_is_key) {
        calls.push_back(json_.member(name, arguments(tool)));
      } else {
        calls.push_back(syntax_.sequence({name, json_.comma(),
                                          syntax_.choice({key("arguments"), key("parameters")}),
                                          arguments(tool)}));
      }
    }
    const Expression rest = syntax_.choice(std::move(calls));
    if (name_is_key) return json_.object(rest);
    const Expression type =
        syntax_.sequence({key("type"), syntax_.bytes("\"function\""), json_.comma()});
    const Expression id = syntax_.sequence(
        {key("tool_call_id"), json_.string_of(compile_pattern("^[0-9]{1,3}$")), json_.comma()});
    return json_.object(syntax_.sequence({syntax_.optional(syntax_.choice({type, id})),
                                          syntax_.choice({key("name"), key("tool_name")}), rest}));
  }

  Expression list_of(Expression call) {
    const Expression more =
        rules_.parallel ? syntax_.repeat(syntax_.sequence({json_.comma(), call}), 0, kUnlimited)
                        : syntax_.empty();
    return json_.array(syntax_.sequence({call, more}));
  }

  Expression json_block(const CallSyntax& syntax) {
    const Expression call = shared(json_call(syntax.name_is_key));
    const Expression calls = syntax_.choice({call, list_of(call)});
    if (!is_marked(syntax)) return calls;
    if (syntax.close.empty()) return syntax_.sequence({json_.space(), calls});
    return syntax_.sequence({json_.space(), calls, json_.space(), syntax_.markup(syntax.close)});
  }

  Expression generic_reply() {
    const Expression call = shared(json_call(false));
    const Expression calls = json_.object(json_.member(json_.key("tool_calls"), list_of(call)));
    if (rules_.required) return calls;
    const Expression answer = json_.object(json_.member(json_.key("response"), json_.any_string()));
    return syntax_.choice({calls, answer});
  }

  // ---- A marker, the name, a marker, arguments as JSON.

  Expression marked_call(const CallSyntax& call) {
    const Expression id = syntax_.string_of(compile_pattern("^[A-Za-z0-9_-]{1,40}$"));
    const Expression prefix = syntax_.optional(syntax_.markup(call.prefix));
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools_.size(); ++tool) {
      Expression name = syntax_.bytes(tools_[tool].name);
      if (call.name_in_id) {
        name = syntax_.sequence({syntax_.bytes("functions."), name, syntax_.bytes(":"),
                                 syntax_.string_of(compile_pattern("^(0|[1-9][0-9]{0,2})$"))});
      }
      if (!call.id_end.empty()) name = syntax_.sequence({id, syntax_.markup(call.id_end), name});
      std::vector<Expression> ways;
      for (const std::string& end : call.name_ends) {
        const bool with_id = !call.id_open.empty() && end == call.id_open;
        Expression marker = syntax_.markup(end);
        if (with_id) marker = syntax_.sequence({marker, id, syntax_.markup(call.arguments_open)});
        ways.push_back(syntax_.sequence({prefix, name, marker, json_.space(), arguments(tool)}));
      }
      if (call.name_ends.empty()) ways.push_back(syntax_.sequence({prefix, name, arguments(tool)}));
      if (!call.prefix.empty() && !call.name_ends.empty()) {
        // DeepSeek V3 and R1 put the arguments into a fence instead of behind a marker.
        ways.push_back(
            syntax_.sequence({syntax_.markup(call.prefix), name, syntax_.bytes("\n```json\n"),
                              arguments(tool), syntax_.bytes("\n```")}));
      }
      calls.push_back(syntax_.choice(std::move(ways)));
    }
    const Expression all = syntax_.choice(std::move(calls));
    if (call.close.empty()) return all;
    return syntax_.sequence({all, json_.space(), syntax_.markup(call.close)});
  }

  // ---- Tags around raw values.

  Expression element_calls(const CallSyntax& syntax, bool call_is_open) {
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools_.size(); ++tool)
      calls.push_back(element_call(syntax, tool));
    const Expression call = shared(syntax_.choice(std::move(calls)));
    const Expression next = syntax_.sequence({syntax_.markup(syntax.call_open), call});
    if (syntax.close.empty()) return call_is_open ? call : next;
    const Expression more =
        rules_.parallel ? syntax_.repeat(syntax_.sequence({json_.space(), next}), 0, kUnlimited)
                        : syntax_.empty();
    const Expression first = call_is_open ? call : syntax_.sequence({json_.space(), next});
    return syntax_.sequence({first, more, json_.space(), syntax_.markup(syntax.close)});
  }

  /// A call behind call_open.
  Expression element_call(const CallSyntax& syntax, std::size_t tool) {
    std::vector<Expression> ways;
    if (tools_[tool].parameters == nullptr) {
      ways.push_back(syntax_.empty());
    } else {
      for (const Alternative& part : compiler(tool).reader().expand({tools_[tool].parameters})) {
        if ((part.types & kObjectType) != 0) ways.push_back(element_members(syntax, tool, part));
      }
    }
    const Expression end =
        syntax.name_end.empty() ? syntax_.empty() : syntax_.markup(syntax.name_end);
    return syntax_.sequence({syntax_.bytes(tools_[tool].name), end, syntax_.choice(std::move(ways)),
                             json_.space(), syntax_.markup(syntax.call_close)});
  }

  Expression element_members(const CallSyntax& syntax, std::size_t tool,
                             const Alternative& object) {
    std::vector<std::string> names;
    for (const Json* source : object.sources) {
      for (const char* keyword :
           {"minProperties", "maxProperties", "propertyNames", "enum", "const"}) {
        if (source->contains(keyword))
          throw Error(std::string("\"") + keyword +
                          "\" of a tool's parameters cannot be enforced in the "
                          "syntax of this model's family (" +
                          format_.name + ")",
                      "leave it out");
      }
      const Json* properties = member_of(*source, "properties");
      if (properties == nullptr) continue;
      for (const auto& [name, schema] : properties->items()) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
    for (const Json* source : object.sources) {
      const Json* required = member_of(*source, "required");
      if (required == nullptr) continue;
      for (const Json& name : *required) {
        if (std::find(names.begin(), names.end(), name.get<std::string>()) == names.end())
          names.push_back(name.get<std::string>());
      }
    }
    std::vector<Expression> members;
    for (const std::string& name : names) {
      SchemaList schemas;
      for (const Json* source : object.sources) {
        const SchemaList more = compiler(tool).reader().member_schemas(*source, name);
        schemas.insert(schemas.end(), more.begin(), more.end());
      }
      const Expression member = element_member(syntax, tool, name, schemas);
      members.push_back(SchemaReader::requires_member(object, name) ? member
                                                                    : syntax_.optional(member));
    }
    return syntax_.sequence(std::move(members));
  }

  Expression element_member(const CallSyntax& syntax, std::size_t tool, const std::string& name,
                            const SchemaList& schemas) {
    if (name.empty() || name.find_first_of("<>\"\n") != std::string::npos)
      throw Error("a parameter's name cannot be written in the syntax of this model's family",
                  "name it with letters, digits, '_' and '-'");
    std::vector<Alternative> parts = compiler(tool).reader().expand(schemas);
    unsigned types = 0;
    for (const Alternative& part : parts) types |= part.types;
    const bool free =
        schemas.empty() || std::all_of(parts.begin(), parts.end(), [](const Alternative& part) {
          return part.types == kAllTypes && part.sources.empty();
        });
    std::vector<Expression> texts, values;  // as they are; as JSON
    if (free) {
      texts.push_back(raw_text(syntax, std::nullopt, kStringType));
    } else {
      for (Alternative& part : parts) {
        if ((part.types & kStringType) != 0) add_strings(syntax, tool, part, types, texts);
        part.types &= ~kStringType;
        if (part.types != 0) values.push_back(tag_compiler(tool).alternative(part));
      }
    }
    const std::string newline = syntax.newline_around_values ? "\n" : "";
    const auto with_attribute = [&](const char* is_string, std::vector<Expression> ways) {
      const std::string attribute =
          syntax.string_attribute ? std::string("\" string=\"") + is_string + "\"" : std::string();
      return syntax_.sequence({syntax_.markup(attribute + syntax.key_end),
                               syntax.value_open.empty() ? syntax_.empty() : json_.space(),
                               syntax_.markup(syntax.value_open), syntax_.bytes(newline),
                               syntax_.choice(std::move(ways))});
    };
    return syntax_.sequence({json_.space(), syntax_.markup(syntax.key_open), syntax_.bytes(name),
                             syntax_.choice({with_attribute("true", std::move(texts)),
                                             with_attribute("false", std::move(values))}),
                             syntax_.bytes(newline), syntax_.markup(syntax.value_close)});
  }

  SchemaCompiler& tag_compiler(std::size_t tool) {
    while (tag_compilers_.size() < tools_.size()) {
      const Tool& next = tools_[tag_compilers_.size()];
      static const Json kNone = Json::object();
      tag_compilers_.push_back(std::make_unique<SchemaCompiler>(
          tag_json_, next.parameters != nullptr ? *next.parameters : kNone));
    }
    return *tag_compilers_[tool];
  }

  void add_strings(const CallSyntax& syntax, std::size_t tool, const Alternative& part,
                   unsigned types, std::vector<Expression>& texts) {
    Alternative strings = part;
    strings.types = kStringType;
    std::optional<Dfa> allowed;
    if (const auto words = compiler(tool).reader().values(strings)) {
      std::vector<std::u32string> list;
      for (const Json& word : *words)
        list.push_back(code_points_of(word.get<std::string>(), "a value of the schema"));
      allowed = exactly(list);
    } else {
      allowed = compiler(tool).plain_strings(strings);
    }
    texts.push_back(
        raw_text(syntax, std::move(allowed), syntax.string_attribute ? kStringType : types));
  }

  /// Text of a value that the reader takes as it is: without the markers that would end it, and
  /// without what it would read as another type that the schema allows too.
  Expression raw_text(const CallSyntax& syntax, std::optional<Dfa> allowed, unsigned types) {
    std::string markers = escaped_for_pattern(syntax.value_close);
    for (const std::string* marker : {&syntax.call_close, &syntax.key_open, &syntax.close}) {
      if (!marker->empty()) markers += "|" + escaped_for_pattern(*marker);
    }
    Dfa text = complement(compile_pattern(markers));
    if ((types & ~kStringType & (kIntegerType | kFractionType | kArrayType | kObjectType)) != 0)
      text = difference(text, compile_pattern("^\\s*[-+.0-9\\[{(\"']"));
    if (allowed) text = intersection(text, *allowed);
    return syntax_.string_of(std::move(text));
  }

  const text::ChatFormat& format_;
  const CallRules& rules_;
  Syntax syntax_;
  JsonSyntax json_, tag_json_;
  std::vector<Tool> tools_;
  std::vector<const CallSyntax*> calls_;
  std::vector<std::unique_ptr<SchemaCompiler>> compilers_, tag_compilers_;
  std::vector<std::optional<Expression>> arguments_;
};

}  // namespace

std::shared_ptr<const Grammar> for_tools(const text::ChatFormat& format,
                                         const nlohmann::ordered_json& tools,
                                         const CallRules& rules, const Options& options) {
  try {
    return finish(ToolSyntax(format, tools, rules, options).build(), options);
  } catch (const nlohmann::json::exception&) {
    throw Error("the tools cannot be used: a keyword of a schema has a value of the wrong type",
                "check them against the JSON Schema specification");
  }
}

}  // namespace hearth::generate::grammar
