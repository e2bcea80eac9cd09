// The lines that were typed into the chat, kept in a file between runs.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::cli {

/// Oldest first. A file that cannot be read or written only means that nothing is remembered:
/// history is a convenience.
class History {
 public:
  static constexpr std::size_t kMaxEntries = 1000;

  History() = default;
  /// Reads `path`, which need not exist; add() then appends to it. The file is readable by its
  /// owner only.
  explicit History(std::filesystem::path path);

  /// Empty lines and repetitions of the newest entry are not added.
  void add(const std::string& entry);
  [[nodiscard]] const std::vector<std::string>& entries() const noexcept { return entries_; }

 private:
  void append_to_file(const std::string& entry) const;

  std::filesystem::path path_;
  std::vector<std::string> entries_;
};

/// One line of the file for an entry of any text, and back.
[[nodiscard]] std::string escape_entry(std::string_view entry);
[[nodiscard]] std::string unescape_entry(std::string_view line);

}  // namespace hearth::cli
