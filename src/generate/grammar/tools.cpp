// Replies with tool calls, in the syntax of each family (text/chat_format.h): what
// text::ReplyReader reads, and nothing that it would read otherwise.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "generate/grammar/compiled.h"
#include "generate/grammar/regex.h"
#include "generate/grammar/tool_elements.h"
#include "generate/grammar/tool_frames.h"
#include "generate/grammar/tool_values.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

using text::CallKind;
using text::CallSyntax;

class ToolSyntax {
 public:
  ToolSyntax(const text::ChatFormat& format, const Json& tools, const CallRules& rules,
             const Options& options)
      : format_(format),
        rules_(rules),
        declared_(tools),
        white_space_(options.white_space),
        tools_(read_tools(tools, rules)) {
    for (const Tool& tool : tools_) {
      if (tool.parameters != nullptr) check_document(*tool.parameters);
    }
  }

  /// The replies; `ends` receives what may end the reasoning besides its closing marker.
  Syntax build(std::vector<ReasoningEnd>& ends) {
    if (format_.frame != text::ReplyFrame::kPlain) {
      syntax_.set_root(framed_calls(syntax_, format_.frame, values(), tools_, rules_, declared_));
      return std::move(syntax_);
    }
    for (const CallSyntax& call : format_.calls) {
      if (is_written(call)) calls_.push_back(&call);
    }
    if (calls_.empty()) refuse();
    syntax_.set_root(rules_.required ? required(ends) : voluntary(ends));
    return std::move(syntax_);
  }

 private:
  [[noreturn]] void refuse() const {
    throw Error(
        "tool calls cannot be enforced in the syntax of this model's family (" + format_.name + ")",
        "use tool_choice \"auto\" without strict tools");
  }

  /// Code for an interpreter is no object of arguments, and lists of Python calls are written where
  /// they are what the family writes first: elsewhere they are read, as a mistake.
  [[nodiscard]] bool is_written(const CallSyntax& call) const {
    if (call.kind == CallKind::kCode) return false;
    return call.kind != CallKind::kPython || &call == &format_.calls.front();
  }

  [[nodiscard]] static bool is_marked(const CallSyntax& call) { return !call.open.empty(); }

  // ---- The whole reply.

  Expression required(std::vector<ReasoningEnd>& ends) {
    std::vector<std::pair<std::string, Expression>> marked;
    std::vector<Expression> blocks, ways;
    for (const CallSyntax* call : calls_) {
      if (!is_marked(*call)) continue;
      marked.emplace_back(call->open, after_open(*call));
      blocks.push_back(syntax_.sequence({syntax_.markup(call->open), marked.back().second}));
    }
    // Calls without markers stand alone, and where they are not the family's way, they are a
    // mistake.
    if (!is_marked(*calls_.front())) ways.push_back(after_open(*calls_.front()));
    if (!marked.empty()) {
      const Expression block = shared(syntax_, syntax_.choice(std::move(blocks)));
      const Expression more =
          rules_.parallel ? syntax_.repeat(syntax_.sequence({space(), block}), 0, kUnlimited)
                          : syntax_.empty();
      const Expression rest = syntax_.sequence({more, optional_section_marker()});
      ways.push_back(syntax_.sequence({optional_section_marker(), block, rest}));
      for (const auto& [open, after] : marked)
        ends.push_back({open, syntax_.sequence({after, rest})});
    }
    return syntax_.choice(std::move(ways));
  }

  Expression voluntary(std::vector<ReasoningEnd>& ends) {
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
    for (const CallSyntax& call : format_.calls) {
      if (is_marked(call) && !is_written(call)) add(call.open, syntax_.never());
    }
    std::vector<Expression> children;
    for (std::vector<Expression>& rests : ways) {
      const Expression block = syntax_.choice(std::move(rests));
      const Expression after = rules_.parallel ? syntax_.use(text) : optional_section_marker();
      children.push_back(shared(syntax_, syntax_.sequence({block, after})));
    }
    for (std::size_t i = 0; i < markers.size(); ++i) ends.push_back({markers[i], children[i]});
    syntax_.define(text, syntax_.until(std::move(markers), std::move(children), true));
    if (is_marked(first)) return syntax_.use(text);
    return syntax_.choice(
        {after_open(first), unlike_a_call(first, syntax_.use(text)), syntax_.empty()});
  }

  /// Text that does not begin like a call without a marker: what does is one.
  Expression unlike_a_call(const CallSyntax& call, Expression text) {
    if (call.kind == CallKind::kMarked) {  // a name alone in its line, or before an object
      std::string names;
      for (const std::string& name : names_of_tools(declared_))
        names += (names.empty() ? "" : "|") + literal_pattern(name);
      const RegexOptions options{.work = &syntax_.work()};
      const Dfa line =
          difference(compile_pattern("^[^\\s{][^\\n\\r{]*$", options),
                     compile_pattern("^\\s*(?:" + names + ")\\s*$", options), options.work);
      const Expression rest =
          syntax_.sequence({syntax_.one_of({{U'\n', U'\n'}, {U'\r', U'\r'}, {U'{', U'{'}}), text});
      return syntax_.sequence({syntax_.string_of(line), syntax_.optional(rest)});
    }
    const CodePointSet opening{{U'{', U'{'},   {U'[', U'['},   {U' ', U' '},  {U'`', U'`'},
                               {U'\t', U'\t'}, {U'\n', U'\n'}, {U'\r', U'\r'}};
    return syntax_.sequence({syntax_.one_of(opening.complement()), text});
  }

  Expression space() { return values().json().space(); }

  /// What some families write around all calls together.
  Expression optional_section_marker() {
    std::vector<Expression> markers;
    for (const text::IgnoredMarkup& markup : format_.ignored) {
      if (markup.close.empty() && markup.open.find("calls") != std::string::npos)
        markers.push_back(syntax_.markup(markup.open));
    }
    if (markers.empty()) return syntax_.empty();
    return syntax_.optional(
        syntax_.sequence({space(), syntax_.choice(std::move(markers)), space()}));
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
      case CallKind::kNestedElements:
        return element_calls(call, false);
      case CallKind::kPython:
        return python_calls(call);
      case CallKind::kGeneric:
        return generic_reply();
      case CallKind::kCode:
        break;
    }
    refuse();
  }

  // ---- Arguments.

  /// As JSON.
  ToolValues& values() {
    if (!values_) values_.emplace(syntax_, tools_, white_space_, ValueStyle{});
    return *values_;
  }

  /// In the style of a syntax.
  Expression arguments(const CallSyntax& call, std::size_t tool) {
    if (call.quote_token.empty()) return values().object(tool);
    if (!token_values_) {
      token_values_.emplace(syntax_, tools_, white_space_,
                            ValueStyle{.kind = ValueStyle::Kind::kQuoteToken,
                                       .escaped = {},
                                       .quote_token = call.quote_token});
    }
    return token_values_->object(tool);
  }

  // ---- JSON objects.

  Expression json_call(bool name_is_key) {
    JsonSyntax& json = values().json();
    const auto key = [&](const char* name) {
      return syntax_.sequence({json.key(name), json.colon()});
    };
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools_.size(); ++tool) {
      const Expression name = json.key(tools_[tool].name);
      if (name_is_key) {
        calls.push_back(json.member(name, values().object(tool)));
      } else {
        calls.push_back(syntax_.sequence({name, json.comma(),
                                          syntax_.choice({key("arguments"), key("parameters")}),
                                          values().object(tool)}));
      }
    }
    const Expression rest = syntax_.choice(std::move(calls));
    if (name_is_key) return json.object(rest);
    const Expression type =
        syntax_.sequence({key("type"), syntax_.bytes("\"function\""), json.comma()});
    const Expression id = syntax_.sequence(
        {key("tool_call_id"), json.string_of(compile_pattern("^[0-9]{1,3}$")), json.comma()});
    return json.object(syntax_.sequence({syntax_.optional(syntax_.choice({type, id})),
                                         syntax_.choice({key("name"), key("tool_name")}), rest}));
  }

  Expression list_of(Expression call) {
    const Expression comma = values().json().comma();
    const Expression more = rules_.parallel
                                ? syntax_.repeat(syntax_.sequence({comma, call}), 0, kUnlimited)
                                : syntax_.empty();
    return values().json().array(syntax_.sequence({call, more}));
  }

  Expression json_block(const CallSyntax& syntax) {
    const Expression call = shared(syntax_, json_call(syntax.name_is_key));
    const Expression calls = syntax_.choice({call, list_of(call)});
    if (!is_marked(syntax)) return calls;
    if (syntax.close.empty()) return syntax_.sequence({space(), calls});
    return syntax_.sequence({space(), calls, space(), syntax_.markup(syntax.close)});
  }

  Expression generic_reply() {
    JsonSyntax& json = values().json();
    const Expression call = shared(syntax_, json_call(false));
    const Expression calls = json.object(json.member(json.key("tool_calls"), list_of(call)));
    if (rules_.required) return calls;
    const Expression answer = json.object(json.member(json.key("response"), json.any_string()));
    return syntax_.choice({calls, answer});
  }

  // ---- A marker, the name, a marker, arguments.

  Expression marked_call(const CallSyntax& call) {
    const Expression id = syntax_.string_of(compile_pattern("^[A-Za-z0-9_-]{1,40}$"));
    // DeepSeek's V3.1 leaves out what its older models write before the name.
    const Expression prefix = call.name_ends.empty()
                                  ? syntax_.markup(call.prefix)
                                  : syntax_.optional(syntax_.markup(call.prefix));
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
        ways.push_back(syntax_.sequence({prefix, name, marker, space(), arguments(call, tool)}));
      }
      if (call.name_ends.empty())
        ways.push_back(syntax_.sequence({prefix, name, arguments(call, tool)}));
      if (!call.prefix.empty() && !call.name_ends.empty()) {
        // DeepSeek V3 and R1 put the arguments into a fence instead of behind a marker.
        ways.push_back(
            syntax_.sequence({syntax_.markup(call.prefix), name, syntax_.bytes("\n```json\n"),
                              arguments(call, tool), syntax_.bytes("\n```")}));
      }
      calls.push_back(syntax_.choice(std::move(ways)));
    }
    const Expression all = syntax_.choice(std::move(calls));
    if (call.close.empty()) return all;
    return syntax_.sequence({all, space(), syntax_.markup(call.close)});
  }

  // ---- Tags.

  Expression element_calls(const CallSyntax& syntax, bool call_is_open) {
    if (!elements_) elements_.emplace(syntax_, format_, declared_, tools_, white_space_);
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools_.size(); ++tool)
      calls.push_back(elements_->call(syntax, tool));
    const Expression call = shared(syntax_, syntax_.choice(std::move(calls)));
    const Expression next = syntax_.sequence({syntax_.markup(syntax.call_open), call});
    if (syntax.close.empty()) return call_is_open ? call : next;
    const Expression more = rules_.parallel
                                ? syntax_.repeat(syntax_.sequence({space(), next}), 0, kUnlimited)
                                : syntax_.empty();
    const Expression first = call_is_open ? call : syntax_.sequence({space(), next});
    return syntax_.sequence({first, more, space(), syntax_.markup(syntax.close)});
  }

  // ---- Python.

  Expression python_calls(const CallSyntax& syntax) {
    if (!python_values_) {
      python_values_.emplace(syntax_, tools_, white_space_,
                             ValueStyle{.kind = ValueStyle::Kind::kPython});
    }
    static const Dfa kNames = compile_pattern("^[A-Za-z_][A-Za-z0-9_.-]*$");
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools_.size(); ++tool) {
      const std::string& name = tools_[tool].name;
      if (!kNames.accepts(code_points_of(name, "a tool's name")) || name.ends_with(".call")) {
        throw Error("the tool name '" + printable(name, 60) +
                        "' cannot be called in the syntax of this model's family (Python)",
                    "name it with letters, digits and '_'");
      }
      calls.push_back(syntax_.sequence({syntax_.bytes(name), python_values_->keywords(tool)}));
    }
    const Expression call = shared(syntax_, syntax_.choice(std::move(calls)));
    const Expression close = syntax_.markup(syntax.close);
    if (!syntax.on_lines) return syntax_.sequence({space(), list_of(call), space(), close});
    const Expression more =
        rules_.parallel
            ? syntax_.repeat(syntax_.sequence({syntax_.bytes("\n"), call}), 0, kUnlimited)
            : syntax_.empty();
    return syntax_.sequence({space(), call, more, space(), close});
  }

  const text::ChatFormat& format_;
  const CallRules& rules_;
  const Json& declared_;
  WhiteSpace white_space_;
  Syntax syntax_;
  std::vector<Tool> tools_;
  std::vector<const CallSyntax*> calls_;
  std::optional<ToolValues> values_, token_values_, python_values_;
  std::optional<ElementWriter> elements_;
};

}  // namespace

std::shared_ptr<const Grammar> for_tools(const text::ChatFormat& format,
                                         const nlohmann::ordered_json& tools,
                                         const CallRules& rules, const Options& options) {
  try {
    std::vector<ReasoningEnd> ends;
    ToolSyntax calls(format, tools, rules, options);
    Syntax syntax = calls.build(ends);
    if (!format.calls_end_reasoning) ends.clear();
    Options outer = options;
    outer.frame = text::ReplyFrame::kPlain;  // the calls bring their own
    return finish(std::move(syntax), outer, ends);
  } catch (const nlohmann::json::exception&) {
    throw Error("the tools cannot be used: a keyword of a schema has a value of the wrong type",
                "check them against the JSON Schema specification");
  }
}

}  // namespace hearth::generate::grammar
