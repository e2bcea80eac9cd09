// Reading JSON files that people edit (machines, catalogs, prices, setups): every value is checked,
// and every complaint names its place. The files of others are read leniently elsewhere
// (hub/json.h).
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::measure {

/// What a kind of file may hold.
struct JsonRules {
  std::string_view noun = "the file";  // what messages call the whole
  std::string_view hint = {};          // of every Error
  std::size_t max_bytes = std::size_t{16} << 20;
  int max_depth = 12;
  std::size_t max_entries = 20000;  // of one list or object
  std::size_t max_text = 4096;      // bytes of one text
  /// Data files: null is as good as absent, and keys that begin with _ are remarks.
  bool annotated = false;
};

/// Of data files.
inline constexpr JsonRules kDataFile{.annotated = true};

/// Parses `text`. `source` is what messages call it ("'x.json'"; empty: the noun). Throws Error.
[[nodiscard]] nlohmann::json parse_json(std::string_view text, const std::string& source,
                                        const JsonRules& rules);

/// One object. Every reading function remembers its key, and finish() refuses the others. What is
/// absent leaves the default.
class JsonReader {
 public:
  /// `where`: "models[3]"; empty at the top. `json` and `rules` must outlive the reader. Throws
  /// Error when it is no object.
  JsonReader(const nlohmann::json& json, std::string source, std::string where,
             const JsonRules& rules);

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
  [[nodiscard]] const nlohmann::json* list(const char* key);
  [[nodiscard]] const nlohmann::json* object(const char* key);
  /// A reader of the object at `key`, if there is one.
  void inside(const char* key, const std::function<void(JsonReader&)>& read);
  /// A reader of every object of the list at `key`.
  void each(const char* key, const std::function<void(JsonReader&)>& read);
  /// A reader of every member, which must be objects, of the object at `key`.
  void each_member(const char* key,
                   const std::function<void(const std::string&, JsonReader&)>& read);
  /// Every member of the object at `key`, as a text.
  void each_text(const char* key,
                 const std::function<void(const std::string&, const std::string&)>& read);
  /// Every member of the object at `key` as a number in [least, most].
  void each_number(const char* key, double least, double most,
                   const std::function<void(const std::string&, double)>& read);
  void finish() const;

  [[nodiscard]] bool has(const char* key) const;
  [[noreturn]] void fail(const std::string& key, const std::string& trouble) const;

 private:
  const nlohmann::json* find(const char* key);
  [[nodiscard]] std::string place(const std::string& key) const;
  [[nodiscard]] double checked_number(const nlohmann::json& value, const std::string& key,
                                      double least, double most) const;
  [[nodiscard]] std::string checked_text(const nlohmann::json& value, const std::string& key) const;
  [[noreturn]] void fail_at(const std::string& what, const std::string& trouble) const;
  [[noreturn]] void refuse(const std::string& key, std::string_view wanted,
                           const nlohmann::json& value) const;

  const nlohmann::json& json_;
  std::string source_, where_;
  const JsonRules& rules_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace hearth::measure
