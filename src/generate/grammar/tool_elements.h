// Tool calls in tags, with values that are not quoted: what text/formats/element_calls.cpp and
// nested_element_calls.cpp read.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "generate/grammar/tool_values.h"
#include "text/chat_format.h"
#include "text/formats/tool_schema.h"

namespace hearth::generate::grammar {

/// Writes the calls of one request in CallKind::kElements and kNestedElements.
class ElementWriter {
 public:
  /// `declared` is the request's list, as the reader of the reply gets it. All must outlive this
  /// object.
  ElementWriter(Syntax& syntax, const text::ChatFormat& format, const Json& declared,
                const std::vector<Tool>& tools, WhiteSpace white_space);

  /// A call behind syntax.call_open, up to and with call_close. Throws Error for parameters that
  /// cannot be written so.
  [[nodiscard]] Expression call(const text::CallSyntax& syntax, std::size_t tool);

 private:
  /// One member of an object: what must hold for it, and what the reader knows of its type.
  struct Member {
    std::string name;
    bool required = false;
    SchemaList schemas = {};
  };
  [[nodiscard]] std::vector<Member> members(std::size_t tool, const Alternative& object);
  void refuse_counts(const Alternative& object) const;

  [[nodiscard]] Expression flat_members(const text::CallSyntax& syntax, std::size_t tool,
                                        const Alternative& object);
  [[nodiscard]] Expression flat_member(const text::CallSyntax& syntax, std::size_t tool,
                                       const Member& member);
  [[nodiscard]] Expression nested_members(const text::CallSyntax& syntax, std::size_t tool,
                                          const Alternative& object,
                                          const text::SchemaChoices& known);
  [[nodiscard]] Expression nested_value(const text::CallSyntax& syntax, std::size_t tool,
                                        const SchemaList& schemas,
                                        const text::SchemaChoices& known);
  [[nodiscard]] Expression nested_alternative(const text::CallSyntax& syntax, std::size_t tool,
                                              Alternative part, const text::SchemaChoices& known);
  [[nodiscard]] bool nested_list(const text::CallSyntax& syntax, std::size_t tool,
                                 const Alternative& part, const text::SchemaChoices& known,
                                 std::vector<Expression>& ways);
  [[nodiscard]] Expression texts(std::size_t tool, const Alternative& part,
                                 const std::string& markers, unsigned types);
  [[nodiscard]] Expression raw_text(std::optional<Dfa> allowed, const std::string& markers,
                                    unsigned types);

  Syntax& syntax_;
  const text::ChatFormat& format_;
  text::DeclaredTools declared_;
  const std::vector<Tool>& tools_;
  ToolValues values_;
  /// Values of nested elements, by what must hold and what the reader knows.
  std::map<std::pair<SchemaList, text::SchemaChoices>, Rule> nested_;
  struct Waiting {
    Rule rule;
    SchemaList schemas;
    text::SchemaChoices known;
  };
  std::deque<Waiting> waiting_;  // declared, to be defined
};

}  // namespace hearth::generate::grammar
