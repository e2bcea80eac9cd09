#include "machine/system_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

namespace hearth::machine {
namespace {

constexpr std::size_t kMostNames = 4096;

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\0'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

SystemFiles::SystemFiles(std::string root) : root_(std::move(root)) {
  while (!root_.empty() && root_.back() == '/') root_.pop_back();
}

bool SystemFiles::exists(const std::string& path) const {
  return ::access((root_ + path).c_str(), F_OK) == 0;
}

std::optional<std::string> SystemFiles::text(const std::string& path, std::size_t limit) const {
  // Not to be stopped by a pipe or device of that name.
  const int descriptor = ::open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return std::nullopt;
  // Files of /proc have no size: they are read to their end.
  std::string result;
  char buffer[4096];
  bool failed = false;
  while (result.size() < limit) {
    const ssize_t got = ::read(descriptor, buffer, std::min(sizeof buffer, limit - result.size()));
    if (got < 0 && errno == EINTR) continue;
    failed = got < 0;
    if (got <= 0) break;
    result.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(descriptor);
  if (failed) return std::nullopt;
  return result;
}

std::optional<std::string> SystemFiles::line(const std::string& path) const {
  const auto all = text(path, 4096);
  if (!all) return std::nullopt;
  return std::string(trimmed(std::string_view(*all).substr(0, all->find('\n'))));
}

std::vector<std::string> SystemFiles::lines(const std::string& path) const {
  std::vector<std::string> result;
  const auto all = text(path);
  if (!all) return result;
  for (std::string_view rest = *all; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    result.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return result;
}

std::optional<std::uint64_t> SystemFiles::number(const std::string& path) const {
  const auto first = line(path);
  if (!first) return std::nullopt;
  if (first->starts_with("0x")) return leading_number(std::string_view(*first).substr(2), 16);
  return leading_number(*first);
}

std::vector<std::string> SystemFiles::list(const std::string& folder) const {
  std::vector<std::string> names;
  std::error_code trouble;
  std::filesystem::directory_iterator entries(root_ + folder, trouble);
  for (; !trouble && entries != std::filesystem::directory_iterator(); entries.increment(trouble)) {
    if (names.size() == kMostNames) break;
    names.push_back(entries->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string SystemFiles::link_name(const std::string& path) const {
  std::error_code trouble;
  const auto target = std::filesystem::read_symlink(root_ + path, trouble);
  return trouble ? std::string() : target.filename().string();
}

std::string SystemFiles::resolved(const std::string& path) const {
  std::error_code trouble;
  std::string target = std::filesystem::canonical(root_ + path, trouble).string();
  if (trouble) return {};
  if (real()) return target;
  const std::string base = std::filesystem::canonical(root_, trouble).string();
  return target.starts_with(base + "/") ? target.substr(base.size()) : std::string();
}

std::optional<std::uint64_t> leading_number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

}  // namespace hearth::machine
