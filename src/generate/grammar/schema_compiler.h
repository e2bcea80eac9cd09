// JSON Schemas as expressions.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "generate/grammar/json_syntax.h"
#include "generate/grammar/schema_reader.h"
#include "generate/grammar/syntax.h"

namespace hearth::generate::grammar {

/// One document's schemas; several compilers may share a JsonSyntax.
class SchemaCompiler {
 public:
  /// Both must outlive the compiler.
  SchemaCompiler(JsonSyntax& json, const Json& root)
      : json_(json), reader_(root, json.syntax().work()) {}

  /// JSON texts of values for which all `schemas` hold (they are in the document). Throws Error as
  /// compile_json_schema() does.
  [[nodiscard]] Expression value(const SchemaList& schemas);
  /// One alternative of a schema.
  [[nodiscard]] Expression alternative(const Alternative& alternative);
  /// Texts of strings of one alternative without quotes or escapes, nothing for any string.
  [[nodiscard]] std::optional<Dfa> plain_strings(const Alternative& alternative);

  [[nodiscard]] SchemaReader& reader() { return reader_; }
  [[nodiscard]] JsonSyntax& json() { return json_; }

 private:
  [[nodiscard]] Expression number(const Alternative& alternative);
  [[nodiscard]] Expression string(const Alternative& alternative);
  [[nodiscard]] Expression array(const Alternative& alternative);
  [[nodiscard]] Expression unique_array(const Alternative& alternative, const CountRange& range);
  [[nodiscard]] std::vector<Json> finite_values(const SchemaList& schemas);

  JsonSyntax& json_;
  SchemaReader reader_;
  std::map<SchemaList, Rule> rules_;
  std::deque<std::pair<Rule, SchemaList>> waiting_;  // declared, to be defined
};

enum class ObjectForm : std::uint8_t {
  kObject,
  kKeywords,  ///< the arguments of a call in Python: (a=1, b="x")
};

/// Objects of one alternative. Throws Error for names that `form` cannot write.
[[nodiscard]] Expression write_object(SchemaCompiler& compiler, const Alternative& alternative,
                                      ObjectForm form);

}  // namespace hearth::generate::grammar
