// Reading the planner's data files, which people edit: every value is checked, and every complaint
// names the place. Internal to the room.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::plan {

using Json = nlohmann::json;

/// Parses `text` with bounds on size and nesting. `source` is what messages call it ("'x.json'").
/// Throws Error.
[[nodiscard]] Json parse_json(std::string_view text, const std::string& source);

/// One object. Every reading function remembers its key, and finish() refuses the others. Absent
/// keys and nulls leave the default.
class JsonReader {
 public:
  /// `where`: "models[3]"; empty at the top. `json` must outlive the reader. Throws Error when it
  /// is no object.
  JsonReader(const Json& json, std::string source, std::string where);

  [[nodiscard]] std::string text(const char* key, const std::string& fallback = {});
  /// Must be there and not be empty.
  [[nodiscard]] std::string needed_text(const char* key);
  /// A number in [least, most], or the fallback.
  [[nodiscard]] double number(const char* key, double fallback, double least, double most);
  [[nodiscard]] std::int64_t integer(const char* key, std::int64_t fallback, std::int64_t least,
                                     std::int64_t most);
  [[nodiscard]] bool flag(const char* key, bool fallback);
  [[nodiscard]] std::vector<std::string> texts(const char* key);
  /// The array or object at `key`; null when it is absent.
  [[nodiscard]] const Json* list(const char* key);
  [[nodiscard]] const Json* object(const char* key);
  /// A reader of every object of the list at `key`.
  void each(const char* key, const std::function<void(JsonReader&)>& read);
  /// A reader of every member, which must be objects, of the object at `key`.
  void each_member(const char* key,
                   const std::function<void(const std::string&, JsonReader&)>& read);
  /// Every member of the object at `key` as a number in [least, most].
  void each_number(const char* key, double least, double most,
                   const std::function<void(const std::string&, double)>& read);
  /// Keys beginning with _ are remarks.
  void finish() const;

  [[nodiscard]] bool has(const char* key) const;
  [[noreturn]] void fail(const std::string& key, const std::string& trouble) const;

 private:
  const Json* find(const char* key);
  [[nodiscard]] std::string place(const std::string& key) const;
  [[nodiscard]] double checked_number(const Json& value, const std::string& key, double least,
                                      double most) const;

  const Json& json_;
  std::string source_, where_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace hearth::plan
