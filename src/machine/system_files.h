// The small files in which the system describes itself (/proc, /sys, /dev, /etc), under a root that
// tests replace by a tree of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::machine {

/// Reads files whose paths are given as the system names them ("/proc/meminfo"), below a root. A
/// file that is not there or cannot be read is nothing, never an error: which of them exist differs
/// from one machine to the next.
class SystemFiles {
 public:
  /// An empty root: the real ones.
  explicit SystemFiles(std::string root = {});

  [[nodiscard]] const std::string& root() const noexcept { return root_; }
  /// Whether these are the machine's own files, so that asking the system itself makes sense.
  [[nodiscard]] bool real() const noexcept { return root_.empty(); }

  [[nodiscard]] bool exists(const std::string& path) const;
  /// At most `limit` bytes.
  [[nodiscard]] std::optional<std::string> text(const std::string& path,
                                                std::size_t limit = std::size_t{1} << 20) const;
  /// The first line, without spaces at its ends.
  [[nodiscard]] std::optional<std::string> line(const std::string& path) const;
  /// All lines, none longer than the file's first MiB.
  [[nodiscard]] std::vector<std::string> lines(const std::string& path) const;
  /// The number that the first line begins with, decimal or (after "0x") hexadecimal.
  [[nodiscard]] std::optional<std::uint64_t> number(const std::string& path) const;
  /// Names in a folder, sorted, at most 4096.
  [[nodiscard]] std::vector<std::string> list(const std::string& folder) const;
  /// The last part of what a link points to: "nvidia" for …/driver.
  [[nodiscard]] std::string link_name(const std::string& path) const;
  /// The path below the root with all links followed; empty when it does not exist.
  [[nodiscard]] std::string resolved(const std::string& path) const;

 private:
  std::string root_;
};

/// The number that `text` begins with, or nothing.
[[nodiscard]] std::optional<std::uint64_t> leading_number(std::string_view text, int base = 10);

/// Words separated by spaces and tabs.
[[nodiscard]] std::vector<std::string> words_of(std::string_view text);

}  // namespace hearth::machine
