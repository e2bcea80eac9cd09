// JSON files of a checkpoint (config.json and its companions), read with clear errors: they come
// from strangers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hearth::model::convert {

using Json = nlohmann::json;

/// Parses a JSON file of at most `limit` bytes; nesting is bounded. Throws Error naming the file.
[[nodiscard]] Json read_json(const std::filesystem::path& path, std::size_t limit);

/// A JSON object of settings. Keys that are absent or null give the fallback, or throw Error naming
/// the file and the key where there is none; so do values of another kind or out of range. Cheap to
/// copy.
class Config {
 public:
  /// An empty one.
  Config();
  /// `where` is what errors call it: "config.json".
  Config(Json object, std::string where);

  [[nodiscard]] bool has(std::string_view key) const;
  /// A size: 0 to 2^28.
  [[nodiscard]] std::int64_t integer(std::string_view key,
                                     std::optional<std::int64_t> fallback = {}) const;
  /// Finite.
  [[nodiscard]] double number(std::string_view key, std::optional<double> fallback = {}) const;
  [[nodiscard]] bool boolean(std::string_view key, std::optional<bool> fallback = {}) const;
  [[nodiscard]] std::string string(std::string_view key,
                                   std::optional<std::string> fallback = {}) const;
  /// Empty when absent.
  [[nodiscard]] std::vector<std::string> strings(std::string_view key) const;
  [[nodiscard]] std::vector<double> numbers(std::string_view key) const;
  /// A number or a list of numbers.
  [[nodiscard]] std::vector<std::int64_t> integers(std::string_view key) const;
  /// The object under `key`, empty when absent. It is not copied, and keeps this one's data alive.
  [[nodiscard]] Config object(std::string_view key) const;
  /// This with the members of `other` instead of or besides its own.
  [[nodiscard]] Config overlaid(const Config& other) const;

  [[nodiscard]] const Json& json() const noexcept { return *json_; }
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  /// Throws Error "WHERE: 'KEY' WHAT".
  [[noreturn]] void fail(std::string_view key, const std::string& what) const;

 private:
  Config(std::shared_ptr<const Json> object, std::string where)
      : json_(std::move(object)), where_(std::move(where)) {}
  [[nodiscard]] const Json* find(std::string_view key) const;

  std::shared_ptr<const Json> json_;
  std::string where_;
};

/// The object in `path`, or an empty Config when there is no such file.
[[nodiscard]] Config read_config(const std::filesystem::path& path);

}  // namespace hearth::model::convert
