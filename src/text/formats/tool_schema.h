// The request's tools as the reply reader needs them: which names exist, and the type of every
// parameter.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::text {

/// The schemas that may hold for one value: several where alternatives ("anyOf" and its relatives)
/// speak of it, none where the schema says nothing of it.
using SchemaChoices = std::vector<const nlohmann::ordered_json*>;

/// A view of the tools of a request.
class DeclaredTools {
 public:
  /// `tools`: an array, or null when the tools are not known; must outlive this object.
  explicit DeclaredTools(const nlohmann::ordered_json* tools);

  /// False when the request's tools are not known: any name is good then.
  [[nodiscard]] bool known() const { return tools_ != nullptr; }
  /// The request has no tools.
  [[nodiscard]] bool none() const;
  [[nodiscard]] bool allows(std::string_view name) const;
  [[nodiscard]] bool has_parameter(std::string_view tool, std::string_view key) const;

  /// `raw`, the text of a value without any quoting, as JSON text, typed by the tool's schema: text
  /// stays text where the schema says string (even `123`), everything else is JSON or a Python
  /// literal. Where the schema allows a string and other types, a value that reads as one of the
  /// others is that. Without a schema the looks of the value decide.
  [[nodiscard]] std::string typed_value(std::string_view tool, std::string_view key,
                                        std::string_view raw) const;

  /// The schemas of a parameter.
  [[nodiscard]] SchemaChoices parameter(std::string_view tool, std::string_view key) const;
  /// The types (SchemaTypes) by which typed_value() reads a parameter.
  [[nodiscard]] unsigned parameter_types(std::string_view tool, std::string_view key) const;
  /// The schema of all parameters of a tool, or null.
  [[nodiscard]] const nlohmann::ordered_json* parameters(std::string_view tool) const;

 private:
  [[nodiscard]] const nlohmann::ordered_json* function(std::string_view name) const;
  const nlohmann::ordered_json* tools_;
};

/// The JSON types a schema allows, as bits.
enum SchemaTypes : unsigned {
  kNoTypes = 0,
  kStringType = 1,
  kNumberType = 2,
  kBooleanType = 4,
  kNullType = 8,
  kObjectType = 16,
  kArrayType = 32,
};
/// Union over type, anyOf, oneOf, allOf, enum, const, nullable and $ref (inside `root`); kNoTypes
/// when they say nothing.
[[nodiscard]] unsigned schema_types(const SchemaChoices& schemas,
                                    const nlohmann::ordered_json& root);

/// What `schemas` say of an object's member `name`, and of a list's items.
[[nodiscard]] SchemaChoices member_choices(const SchemaChoices& schemas,
                                           const nlohmann::ordered_json& root,
                                           std::string_view name);
[[nodiscard]] SchemaChoices item_choices(const SchemaChoices& schemas,
                                         const nlohmann::ordered_json& root);

/// Follows "$ref": "#/…" inside `root`, a bounded number of times.
[[nodiscard]] const nlohmann::ordered_json& resolve_schema(const nlohmann::ordered_json& schema,
                                                           const nlohmann::ordered_json& root);

/// `raw` as JSON text for a value of one of `types`.
[[nodiscard]] std::string typed_value(std::string_view raw, unsigned types);

}  // namespace hearth::text
