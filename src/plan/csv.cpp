#include "plan/csv.h"

#include <fmt/format.h>

#include <utility>

#include "support/error.h"

namespace hearth::plan {
namespace {

constexpr std::size_t kMaxColumns = 4096;

class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : text_(text), name_(name) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
  }

  /// The next line that is not empty; false at the end.
  bool next(std::vector<std::string>& fields) {
    while (at_ < text_.size()) {
      start_ = line_;
      fields.clear();
      if (end_of_line()) continue;
      while (field(fields)) {
        if (fields.size() > kMaxColumns) fail("has too many fields");
      }
      return true;
    }
    return false;
  }

  [[noreturn]] void fail(std::string_view problem) const {
    throw Error(fmt::format("{}: line {} {}", printable(name_), start_, problem),
                "the file must hold comma-separated values with a header (RFC 4180)");
  }

 private:
  /// Passes over a line end, or nothing at the end of the text.
  bool end_of_line() {
    if (at_ == text_.size()) return true;
    const std::size_t length = text_.substr(at_).starts_with("\r\n") ? 2 : text_[at_] == '\n';
    if (length == 0) return false;
    at_ += length;
    ++line_;
    return true;
  }

  /// Reads one field; true when another follows in the same line.
  bool field(std::vector<std::string>& fields) {
    std::string value;
    if (at_ < text_.size() && text_[at_] == '"') {
      quoted(value);
    } else {
      while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' &&
             !text_.substr(at_).starts_with("\r\n")) {
        if (text_[at_] == '"') fail("has a quote inside a field that does not begin with one");
        value += text_[at_++];
      }
    }
    fields.push_back(std::move(value));
    if (at_ < text_.size() && text_[at_] == ',') {
      ++at_;
      return true;
    }
    if (!end_of_line()) fail("has text after a closing quote");
    return false;
  }

  void quoted(std::string& value) {
    for (++at_;; ++at_) {
      if (at_ == text_.size()) fail("opens a quote that is never closed");
      if (text_[at_] == '"') {
        if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
        ++at_;
      }
      line_ += text_[at_] == '\n';
      value += text_[at_];
    }
    ++at_;
  }

  std::string_view text_, name_;
  std::size_t at_ = 0, line_ = 1, start_ = 1;
};

}  // namespace

CsvTable::CsvTable(std::string_view text, std::string_view name) {
  Reader reader(text, name);
  std::vector<std::string> fields;
  if (!reader.next(fields)) {
    throw Error(fmt::format("{} is empty", printable(name)),
                "its first line must name the columns");
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!columns_.emplace(fields[i], i).second)
      reader.fail(fmt::format("names the column '{}' twice", printable(fields[i])));
  }
  const std::size_t width = fields.size();
  while (reader.next(fields)) {
    if (fields.size() != width) {
      reader.fail(
          fmt::format("has {} fields where the header has {} columns", fields.size(), width));
    }
    rows_.push_back(fields);
  }
}

bool CsvTable::has(std::string_view column) const { return columns_.contains(std::string(column)); }

std::string_view CsvTable::field(std::size_t row, std::string_view column) const {
  const auto found = columns_.find(std::string(column));
  return found == columns_.end() ? std::string_view() : rows_.at(row).at(found->second);
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + '"';
}

}  // namespace hearth::plan
