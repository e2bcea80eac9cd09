#include "cli/kv_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "cli/config.h"
#include "state/store_key.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

constexpr std::uint64_t kDefaultBytes = 8'000'000'000;
constexpr double kLeastBytes = 1e6;
constexpr double kMostBytes = 1e15;

/// "4G", "500M"; nothing when it is no size.
std::optional<double> parse_size(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit.ends_with('B') || unit.ends_with('b')) unit.remove_suffix(1);
  if (unit.empty()) return number;
  constexpr std::string_view kUnits = "kMGT";
  const std::size_t power = unit == "K"        ? 0
                            : unit == "m"      ? 1
                            : unit == "g"      ? 2
                            : unit == "t"      ? 3
                            : unit.size() == 1 ? kUnits.find(unit.front())
                                               : std::string_view::npos;
  if (power == std::string_view::npos) return std::nullopt;
  return number * std::pow(1000.0, static_cast<double>(power + 1));
}

std::uint64_t checked(double bytes, std::string_view value) {
  if (bytes >= kLeastBytes && bytes <= kMostBytes) return static_cast<std::uint64_t>(bytes);
  throw Error(fmt::format("'{}' is no size for a store of conversations", printable(value)),
              "1M is the least", ExitCode::kUsage);
}

/// A bare word is rather a misspelt "off" than a folder here.
std::string checked_folder(std::string_view name) {
  if (name.find('/') != std::string_view::npos) return std::string(name);
  throw Error(fmt::format("'{}' is neither on, off, a size nor a folder", printable(name)),
              fmt::format("write ./{} for a folder here", printable(name)), ExitCode::kUsage);
}

}  // namespace

std::filesystem::path default_kv_folder() { return user_folders().cache / "kv"; }

KvDisk parse_kv_disk(std::string_view value) {
  if (value == "off" || value == "false" || value == "none" || value == "no") return {};
  if (value.empty()) {
    throw Error("--kv-disk needs on, off, DIR, SIZE or DIR:SIZE", "for example ~/kv:20G",
                ExitCode::kUsage);
  }
  if (value == "on" || value == "true" || value == "yes")
    return {default_kv_folder(), kDefaultBytes};
  if (const std::optional<double> size = parse_size(value))
    return {default_kv_folder(), checked(*size, value)};
  const std::size_t colon = value.rfind(':');
  if (colon != std::string_view::npos && colon > 0) {
    if (const std::optional<double> size = parse_size(value.substr(colon + 1)))
      return {checked_folder(value.substr(0, colon)), checked(*size, value)};
  }
  return {checked_folder(value), kDefaultBytes};
}

std::shared_ptr<const state::StoreKey> read_kv_key(const std::string& file) {
  return file.empty() ? nullptr : state::StoreKey::read(file);
}

std::uint64_t parse_kv_budget(std::string_view value) {
  if (value == "off" || value == "none") return 0;
  const std::optional<double> size = parse_size(value);
  if (size && (*size == 0 || (*size >= kLeastBytes && *size <= kMostBytes)))
    return static_cast<std::uint64_t>(*size);
  throw Error(fmt::format("'{}' is no amount of memory for keys and values", printable(value)),
              "for example --kv-budget 4G; 1M is the least", ExitCode::kUsage);
}

std::string show_kv_disk(const KvDisk& disk) {
  return disk.folder.empty() ? "off" : fmt::format("{}:{}", disk.folder.string(), disk.bytes);
}

}  // namespace hearth::cli
