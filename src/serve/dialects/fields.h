// What the bodies of requests consist of, as tables: field names, types and ranges. The same table
// checks a body, is written into /openapi.json, and tells tests what to get wrong.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>

namespace hearth::serve {

/// JSON types a field may have: a set of bits. null counts as absent everywhere and is not listed.
enum Types : std::uint8_t {
  kBoolean = 1,
  kInteger = 2,  ///< a number without a fraction; 3.0 counts
  kNumber = 4,
  kString = 8,
  kArray = 16,
  kObject = 32,
  kAnything = 63,
};
constexpr Types operator|(Types a, Types b) {
  return static_cast<Types>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

/// Largest integer that JSON carries exactly for every client (2^53).
inline constexpr double kExact = 9007199254740992.0;
inline constexpr double kMostInt32 = 2147483647;

/// One member of an object.
struct Field {
  std::string_view name;
  Types types = kString;
  std::string_view what = {};  ///< one phrase for the documentation
  bool required = false;
  double least = -std::numeric_limits<double>::infinity();  ///< of integers and numbers, inclusive
  double most = std::numeric_limits<double>::infinity();
  std::span<const std::string_view> words = {};  ///< the values that a string may have; empty: any
  std::span<const Field> members = {};           ///< of an object; empty: anything
  Types items = kAnything;                       ///< of an array
  std::span<const Field> item_members = {};      ///< of objects in an array
  std::size_t most_items = std::numeric_limits<std::size_t>::max();  ///< of an array
  /// Of a string, or of each one in an array.
  std::size_t most_bytes = std::numeric_limits<std::size_t>::max();
};

/// What stops a text, or interrupts repetitions: it is compared with every piece of every choice.
inline constexpr std::size_t kMostStopBytes = 4096;

/// The body of one route. Its members are all those of `parts`; later parts never repeat a name.
struct BodyFields {
  std::string_view name;  ///< of the schema in the OpenAPI document
  std::array<std::span<const Field>, 4> parts = {};
};

/// A route that takes a body.
struct BodyRoute {
  std::string_view method;  ///< "POST" or "DELETE"
  std::string_view path;
  std::string_view what;  ///< one phrase
  const BodyFields* body;
  /// The smallest body that is right, as JSON text; tests change one field of it.
  std::string_view example;
};

/// Every route with a JSON body that the dialects can read.
[[nodiscard]] std::span<const BodyRoute> body_routes();

/// Checks types, ranges and what is required, at every depth the tables describe. Members that no
/// table names are ignored. Throws RequestError (400) naming the first wrong parameter by its path,
/// such as "messages[0].content".
void check_body(const nlohmann::ordered_json& body, const BodyFields& fields);

/// The same of one object inside a body; `path` is the object's ("tools[0]").
void check_members(const nlohmann::ordered_json& object, std::span<const Field> fields,
                   std::string_view path);

/// JSON Schema (2020-12) of a body, for "components/schemas" of an OpenAPI 3.1 document.
[[nodiscard]] nlohmann::ordered_json json_schema(const BodyFields& fields);

}  // namespace hearth::serve
