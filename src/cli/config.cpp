#include "cli/config.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "cli/suggest.h"
#include "support/error.h"
#include "support/file.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

const char* environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::filesystem::path folder(const char* variable, const char* fallback) {
  const char* given = environment(variable);
  if (given != nullptr && std::filesystem::path(given).is_absolute())
    return std::filesystem::path(given) / "hearth";
  return home_folder() / fallback / "hearth";
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

std::string unquoted(std::string_view value, const std::string& source) {
  if (value.empty() || value.front() != '"') return std::string(value);
  const auto refuse = [&source](const char* why) -> Error {
    return Error(fmt::format("{}: {}", source, why), "quoted values know \\n, \\t, \\\" and \\\\",
                 ExitCode::kUsage);
  };
  std::string result;
  for (std::size_t index = 1; index < value.size(); ++index) {
    const char character = value[index];
    if (character == '"') {
      if (index + 1 != value.size()) throw refuse("there is text after the closing quote");
      return result;
    }
    if (character != '\\') {
      result += character;
      continue;
    }
    if (++index == value.size()) break;
    switch (value[index]) {
      case 'n':
        result += '\n';
        break;
      case 't':
        result += '\t';
        break;
      case '"':
        result += '"';
        break;
      case '\\':
        result += '\\';
        break;
      default:
        throw refuse("unknown escape in the quoted value");
    }
  }
  throw refuse("the closing quote is missing");
}

/// A config file that cannot be read is as broken as one that cannot be understood.
std::string config_text(const std::filesystem::path& path) {
  try {
    return read_file(path, kMaxConfigBytes);
  } catch (const Error& error) {
    throw Error(fmt::format("the config file: {}", error.what()), error.hint(), ExitCode::kUsage);
  }
}

std::vector<std::string> known_keys() {
  std::vector<std::string> names = {"model", "offline"};
  for (const Setting& setting : all_settings()) names.emplace_back(setting.name);
  return names;
}

}  // namespace

std::filesystem::path home_folder() {
  if (const char* home = environment("HOME")) return home;
  std::vector<char> buffer(std::size_t{1} << 16);
  passwd entry{};
  passwd* found = nullptr;
  const int trouble = ::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found);
  const bool known = trouble == 0 && found != nullptr && found->pw_dir != nullptr;
  if (known && std::filesystem::path(found->pw_dir).is_absolute()) return found->pw_dir;
  throw Error("HOME is not set, and the system knows no home folder of this user",
              "set HOME to where Hearth may keep its files", ExitCode::kUsage);
}

UserFolders user_folders() {
  return {folder("XDG_CONFIG_HOME", ".config"), folder("XDG_STATE_HOME", ".local/state"),
          folder("XDG_DATA_HOME", ".local/share"), folder("XDG_CACHE_HOME", ".cache")};
}

Configuration parse_configuration(std::string_view text, std::string_view source) {
  Configuration result;
  for (int line_number = 1; !text.empty(); ++line_number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::string place = fmt::format("{} line {}", source, line_number);
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || find_invalid_utf8(line) != std::string_view::npos) {
      throw Error(fmt::format("{}: '{}' is not of the form key = value", place, printable(line)),
                  "see docs/cli.md, or begin comments with #", ExitCode::kUsage);
    }
    const std::string_view key = trimmed(line.substr(0, equals));
    std::string value = unquoted(trimmed(line.substr(equals + 1)), place);
    if (key == "model") {
      result.model = std::move(value);
      continue;
    }
    if (key == "offline") {
      if (value != "true" && value != "false") {
        throw Error(fmt::format("{}: offline is '{}'", place, printable(value)),
                    "write true or false", ExitCode::kUsage);
      }
      result.offline = value == "true";
      continue;
    }
    const Setting* setting = find_setting(key);
    if (setting == nullptr) {
      throw Error(fmt::format("{}: unknown key '{}'", place, printable(key)),
                  suggestion(key, known_keys()), ExitCode::kUsage);
    }
    result.values.push_back(
        {setting, std::move(value), Layer::kConfigFile, fmt::format("{} ({})", place, key)});
  }
  return result;
}

Configuration read_configuration() {
  Configuration result;
  const char* given = environment("HEARTH_CONFIG");
  const std::filesystem::path path =
      given != nullptr ? std::filesystem::path(given) : user_folders().config / "config";
  std::error_code unreadable;
  if (given != nullptr && !std::filesystem::exists(path, unreadable)) {
    throw Error(fmt::format("HEARTH_CONFIG names no file: '{}'", printable(path.string(), 300)),
                "correct or unset it", ExitCode::kUsage);
  }
  if (given != nullptr || std::filesystem::exists(path, unreadable)) {
    result = parse_configuration(config_text(path), printable(path.string()));
  }
  for (const Setting& setting : all_settings()) {
    std::string variable = "HEARTH_";
    for (const char character : setting.name) {
      variable +=
          character == '-'
              ? '_'
              : static_cast<char>(character - ('a' <= character && character <= 'z' ? 32 : 0));
    }
    if (const char* value = environment(variable)) {
      result.values.push_back({&setting, value, Layer::kEnvironment, variable});
    }
  }
  if (const char* model = environment("HEARTH_MODEL")) result.model = model;
  return result;
}

}  // namespace hearth::cli
