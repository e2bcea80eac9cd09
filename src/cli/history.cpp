#include "cli/history.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "support/error.h"
#include "support/file.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;

}  // namespace

std::string escape_entry(std::string_view entry) {
  std::string line;
  for (const char character : entry) {
    if (character == '\\') {
      line += "\\\\";
    } else if (character == '\n') {
      line += "\\n";
    } else {
      line += character;
    }
  }
  return line;
}

std::string unescape_entry(std::string_view line) {
  std::string entry;
  for (std::size_t index = 0; index < line.size(); ++index) {
    if (line[index] != '\\' || index + 1 == line.size()) {
      entry += line[index];
    } else {
      ++index;
      entry += line[index] == 'n' ? '\n' : line[index];
    }
  }
  return entry;
}

History::History(std::filesystem::path path) : path_(std::move(path)) {
  std::string text;
  try {
    std::error_code unreadable;
    if (!std::filesystem::exists(path_, unreadable)) return;
    text = read_file(path_, kMaxFileBytes);
  } catch (const Error&) {
    path_.clear();
    return;
  }
  std::size_t lines = 0;
  for (std::string_view rest = text; !rest.empty(); ++lines) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    entries_.push_back(to_valid_utf8(unescape_entry(rest.substr(0, end))));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (entries_.size() > kMaxEntries) {
    entries_.erase(entries_.begin(), entries_.end() - static_cast<std::ptrdiff_t>(kMaxEntries));
  }
  if (lines <= 2 * kMaxEntries) return;
  std::string shorter;
  for (const std::string& entry : entries_) shorter += escape_entry(entry) + '\n';
  try {
    write_file_atomically(path_, shorter);
    std::filesystem::permissions(
        path_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  } catch (const std::exception&) {
    path_.clear();
  }
}

void History::add(const std::string& entry) {
  if (entry.empty() || (!entries_.empty() && entries_.back() == entry)) return;
  entries_.push_back(entry);
  if (entries_.size() > kMaxEntries) entries_.erase(entries_.begin());
  if (!path_.empty()) append_to_file(entry);
}

void History::append_to_file(const std::string& entry) const {
  std::error_code ignored;
  std::filesystem::create_directories(path_.parent_path(), ignored);
  const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return;
  const std::string line = escape_entry(entry) + '\n';
  // One write: lines of programs that run at the same time do not mix. A full disk loses a line of
  // history.
  [[maybe_unused]] const ssize_t written = write(file, line.data(), line.size());
  close(file);
}

}  // namespace hearth::cli
