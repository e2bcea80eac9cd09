// JSON Schemas as alternatives without choices in them: references followed, "allOf" joined,
// "anyOf" and "oneOf" multiplied out. Also: whether a value is valid, and whether two alternatives
// exclude each other. Semantics: JSON Schema 2020-12, core and validation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "generate/grammar/dfa.h"
#include "generate/grammar/numbers.h"

namespace hearth::generate::grammar {

using Json = nlohmann::ordered_json;

/// Throws the Error about a schema that cannot be used: what is wrong with it, and what to do.
[[noreturn]] void refuse_schema(const std::string& what, const std::string& hint);

/// JSON's types as bits; numbers are whole or not.
enum SchemaType : unsigned {
  kNullType = 1,
  kBooleanType = 2,
  kIntegerType = 4,
  kFractionType = 8,
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64,
  kAllTypes = 127,
};

/// Schemas that all hold; they live in the document.
using SchemaList = std::vector<const Json*>;

/// A conjunction: the keywords of all sources hold, but not those that combine schemas ("$ref",
/// "allOf", "anyOf", "oneOf"): they are worked in.
struct Alternative {
  unsigned types = kAllTypes;
  SchemaList sources;
};

/// Whether one of its sources has one of the keywords.
[[nodiscard]] bool has_any(const Alternative& alternative,
                           std::initializer_list<const char*> keywords);

/// A range of counts: lengths, items, members.
struct CountRange {
  std::uint32_t minimum = 0;
  std::uint32_t maximum = std::numeric_limits<std::uint32_t>::max();  ///< that: no end
};

/// What one source says of an array's items.
struct ItemSchemas {
  std::vector<const Json*> prefix;
  const Json* rest = nullptr;  ///< of the items after them; null: any
};

class SchemaReader {
 public:
  /// Both must outlive the reader; references begin at `root`, automata are counted in `automata`.
  SchemaReader(const Json& root, DfaWork& automata) : root_(root), automata_(automata) {}

  /// The alternatives of a value for which all of `schemas` hold; none when they contradict each
  /// other. Throws Error for keywords that cannot be enforced, broken schemas, "oneOf" whose
  /// alternatives may hold at once, and references that lead in circles.
  [[nodiscard]] std::vector<Alternative> expand(const SchemaList& schemas);

  /// Whether `value` is valid.
  [[nodiscard]] bool validates(const Json& value, const Json& schema);
  /// The values of "enum" and "const" in the sources that all of them allow; nothing when none has
  /// such a keyword.
  [[nodiscard]] std::optional<std::vector<Json>> values(const Alternative& alternative);
  /// Whether no value is valid for both. False when that is not clear.
  [[nodiscard]] bool disjoint(const Alternative& a, const Alternative& b, int depth = 0);

  [[nodiscard]] NumberLimits number_limits(const Alternative& alternative);
  /// Strings by "pattern" and "format"; nothing when there is neither.
  [[nodiscard]] std::optional<Dfa> string_texts(const Alternative& alternative);
  /// From a keyword for the minimum and one for the maximum.
  [[nodiscard]] static CountRange counts(const SchemaList& sources, const char* minimum,
                                         const char* maximum);
  [[nodiscard]] static ItemSchemas items(const Json& source);
  /// The schemas of member `name` by one source: of "properties", of matching "patternProperties",
  /// else "additionalProperties".
  [[nodiscard]] SchemaList member_schemas(const Json& source, const std::string& name);
  [[nodiscard]] static bool requires_member(const Alternative& alternative,
                                            const std::string& name);
  /// Undeclared members are written only where nothing is declared, or where a schema for them is
  /// given.
  [[nodiscard]] static bool writes_declared_members_only(const Alternative& alternative);
  [[nodiscard]] const Dfa& pattern(const std::string& pattern);

 private:
  [[nodiscard]] static bool demands_foreign_member(const Alternative& one,
                                                   const Alternative& other);
  [[nodiscard]] std::vector<Alternative> expand_one(const Json& schema, int depth);
  [[nodiscard]] std::vector<Alternative> expand_choices(const Json& schema,
                                                        std::vector<Alternative> base, int depth);
  [[nodiscard]] std::vector<Alternative> join(const std::vector<Alternative>& a,
                                              const std::vector<Alternative>& b);
  void check_one_of(const std::vector<std::vector<Alternative>>& alternatives);
  void check_keywords(const Json& schema, int depth);
  [[nodiscard]] const Json& resolve(const std::string& reference);
  [[nodiscard]] bool validates_own(const Json& value, const Json& schema, int depth);
  [[nodiscard]] bool validates_at(const Json& value, const Json& schema, int depth);
  [[nodiscard]] bool validates_number(const Json& value, const Json& schema);
  [[nodiscard]] bool validates_string(const Json& value, const Json& schema);
  [[nodiscard]] bool validates_array(const Json& value, const Json& schema, int depth);
  [[nodiscard]] bool validates_object(const Json& value, const Json& schema, int depth);
  /// Whether `value` is one of the list of an "enum".
  [[nodiscard]] bool lists(const Json& list, const Json& value);
  [[nodiscard]] bool disjoint_strings(const Alternative& a, const Alternative& b);
  [[nodiscard]] bool disjoint_objects(const Alternative& a, const Alternative& b, int depth);
  [[nodiscard]] bool disjoint_arrays(const Alternative& a, const Alternative& b, int depth);
  [[nodiscard]] bool disjoint_lists(const SchemaList& a, const SchemaList& b, int depth);

  /// Schemas that may be read, those of alternatives every time: they multiply.
  static constexpr std::size_t kMaxWork = 400'000;

  const Json& root_;
  DfaWork& automata_;
  std::unordered_map<std::string, std::unique_ptr<const Dfa>> patterns_;
  std::unordered_set<const Json*> checked_;
  /// The values of every "enum" that was asked about, by hash_of().
  std::unordered_map<const Json*, std::unordered_multimap<std::size_t, const Json*>> listed_;
  std::vector<const Json*> open_;  // references that are being followed
  std::size_t work_ = 0;
};

/// The member of an object, or null.
[[nodiscard]] const Json* member_of(const Json& object, const std::string& name);
/// Throws Error when a document is nested more than 200 deep or has more than 500,000 values: what
/// reads it may then recurse.
void check_document(const Json& document);
/// Equal as JSON Schema means it: the order of members does not matter.
[[nodiscard]] bool equal_values(const Json& a, const Json& b);
[[nodiscard]] unsigned type_of(const Json& value);

}  // namespace hearth::generate::grammar
