#include "cli/models.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/config.h"
#include "cli/suggest.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPathBytes = 65536;

fs::path store() { return user_folders().data / "models"; }
fs::path last_model_file() { return user_folders().state / "last-model"; }

/// "-00002-of-00003": a part of a split model that is not its first.
bool later_part(const std::string& stem) {
  const std::size_t of = stem.rfind("-of-");
  if (of == std::string::npos || of < 6 || stem[of - 6] != '-') return false;
  const std::string number = stem.substr(of - 5, 5);
  return std::all_of(number.begin(), number.end(), [](char c) { return '0' <= c && c <= '9'; }) &&
         number != "00001";
}

std::vector<std::string> names_of(const std::vector<fs::path>& models) {
  std::vector<std::string> names;
  for (const fs::path& path : models) names.push_back(path.stem().string());
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string result;
  for (const std::string& name : names) result += (result.empty() ? "" : ", ") + printable(name);
  return result;
}

std::optional<fs::path> last_model() {
  try {
    std::error_code ignored;
    if (!fs::exists(last_model_file(), ignored)) return std::nullopt;
    std::string text = read_file(last_model_file(), kMaxPathBytes);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (!fs::is_regular_file(text, ignored)) return std::nullopt;
    return fs::path(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<fs::path> stored_models() {
  std::vector<fs::path> models;
  std::error_code error;
  for (fs::directory_iterator entry(store(), error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    const fs::path& path = entry->path();
    if (path.extension() != ".gguf" || !entry->is_regular_file(ignored) ||
        later_part(path.stem().string()))
      continue;
    models.push_back(path);
  }
  std::sort(models.begin(), models.end());
  return models;
}

fs::path resolve_model(const std::string& name) {
  std::error_code ignored;
  if (fs::exists(name, ignored) || name.find('/') != std::string::npos || name.empty()) return name;
  const std::vector<fs::path> models = stored_models();
  std::vector<fs::path> found;
  for (const fs::path& path : models) {
    if (path.filename() == name || path.stem() == name) return path;
    if (path.stem().string().starts_with(name)) found.push_back(path);
  }
  if (found.size() == 1) return found.front();
  if (found.size() > 1) {
    throw Error(
        fmt::format("'{}' can mean several models: {}", printable(name), listed(names_of(found))),
        "write more of the name", ExitCode::kUsage);
  }
  if (models.empty() || name.ends_with(".gguf"))
    return name;  // opening it says that there is no such file
  const std::string nearest = suggestion(name, names_of(models));
  throw Error(
      fmt::format("no such file or model: '{}'", printable(name)),
      nearest.empty() ? fmt::format("the store has {}", listed(names_of(models))) : nearest);
}

ChosenModel choose_model(const std::optional<std::string>& configured) {
  if (configured.has_value()) return {resolve_model(*configured), {}};
  const std::vector<fs::path> models = stored_models();
  if (models.size() == 1) return {models.front(), {}};
  if (const std::optional<fs::path> last = last_model()) return {*last, "it was used last"};
  if (models.empty()) {
    throw Error(
        "there is no model yet",
        fmt::format(
            "name one (hearth up MODEL.gguf), set HEARTH_MODEL, or put a .gguf file into {}",
            printable(store().string(), 300)));
  }
  const auto newest =
      std::max_element(models.begin(), models.end(), [](const fs::path& a, const fs::path& b) {
        std::error_code ignored;
        return fs::last_write_time(a, ignored) < fs::last_write_time(b, ignored);
      });
  return {*newest, fmt::format("it is the newest of {}", models.size())};
}

void remember_model(const fs::path& path) {
  try {
    fs::create_directories(last_model_file().parent_path());
    write_file_atomically(last_model_file(), fs::absolute(path).string() + "\n");
  } catch (const std::exception&) {
    return;  // as documented
  }
}

}  // namespace hearth::cli
