// Tables as comma-separated values (RFC 4180): fields in double quotes may hold commas, line ends
// and doubled quotes; lines end with LF or CRLF.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hearth::plan {

/// A table with a header. Every row has as many fields as the header.
class CsvTable {
 public:
  /// Parses `text`; `name` is what errors call it. Empty lines are left out. Throws Error naming
  /// the line: no header, a column named twice, a quote out of place or never closed, a row with
  /// too few or too many fields.
  CsvTable(std::string_view text, std::string_view name);

  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }
  [[nodiscard]] bool has(std::string_view column) const;
  /// Empty when there is no such column. Valid as long as the table.
  [[nodiscard]] std::string_view field(std::size_t row, std::string_view column) const;

 private:
  std::unordered_map<std::string, std::size_t> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// `text` as one field: in quotes where it must be.
[[nodiscard]] std::string csv_field(std::string_view text);

}  // namespace hearth::plan
