#include "cli/models.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/config.h"
#include "cli/planning.h"
#include "cli/said.h"
#include "cli/suggest.h"
#include "hub/reference.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPathBytes = 65536;

fs::path last_model_file() { return user_folders().state / "last-model"; }

char lower(char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c + 32) : c; }
std::string lowered(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), lower);
  return text;
}

/// The reference written in full, when it is one to a model elsewhere.
std::optional<hub::Reference> remote_reference(const std::string& name) {
  const std::string start = lowered(name.substr(0, 8));
  for (const char* mark : {"hf:", "hf.co/", "ollama:", "http://", "https://"}) {
    if (start.starts_with(mark)) return hub::parse_reference(name);
  }
  return std::nullopt;
}

/// Whether `model` was fetched from what `reference` names.
bool came_from(const hub::StoredModel& model, const hub::Reference& reference) {
  const std::string& known = model.manifest.reference;
  const auto* hf = std::get_if<hub::HuggingFaceReference>(&reference);
  if (hf == nullptr || hf->names_file()) return known == hub::to_text(reference);
  hub::HuggingFaceReference repository = *hf;
  repository.selector.clear();
  return known.starts_with(hub::to_text(hub::Reference(repository)) + ":") &&
         (hf->selector.empty() || lowered(hf->selector) == lowered(model.manifest.quant));
}

/// What `name` can mean: models that are called so, or else those that begin so.
std::vector<const hub::StoredModel*> meant(const std::vector<hub::StoredModel>& models,
                                           const std::string& name) {
  const std::optional<hub::Reference> reference = remote_reference(name);
  std::vector<const hub::StoredModel*> exact, beginning;
  for (const hub::StoredModel& model : models) {
    const std::string& own = model.manifest.name;
    if (own == name || model.path.filename() == name) return {&model};
    if (model.manifest.requested == name || (reference && came_from(model, *reference))) {
      exact.push_back(&model);
    } else if (lowered(own).starts_with(lowered(name))) {
      beginning.push_back(&model);
    }
  }
  return exact.empty() ? beginning : exact;
}

std::vector<std::string> names_of(const std::vector<const hub::StoredModel*>& models) {
  std::vector<std::string> names;
  for (const hub::StoredModel* model : models) names.push_back(model->manifest.name);
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string result;
  for (const std::string& name : names) result += (result.empty() ? "" : ", ") + printable(name);
  return result;
}

[[noreturn]] void refuse_absent(const std::string& name) {
  throw Error(fmt::format("the store does not have {}", printable(name, 300)),
              fmt::format("fetch it: hearth pull {}", printable(name, 300)));
}

/// A name that is neither a file's nor a stored model's: perhaps one of the catalog.
[[noreturn]] void refuse_unknown(const std::string& name,
                                 const std::vector<hub::StoredModel>& stored) {
  const plan::Catalog catalog = planned_catalog();
  if (catalog.find(split_quant(name).first) != nullptr) refuse_absent(name);
  std::vector<std::string> names;
  for (const hub::StoredModel& model : stored) names.push_back(model.manifest.name);
  std::string hint = suggestion(name, names);
  if (hint.empty()) {
    const std::string fetched = suggestion(name, catalog_names(catalog));
    if (!fetched.empty()) hint = fetched + " hearth pull fetches models of hearth catalog list";
  }
  if (hint.empty()) {
    hint = names.empty() ? "hearth pull fetches models of hearth catalog list"
                         : fmt::format("the store has {}", listed(names));
  }
  throw Error(fmt::format("no such file or model: '{}'", printable(name)), hint);
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

hub::Store model_store() { return hub::Store(user_folders().data); }

std::vector<fs::path> stored_models() {
  std::vector<fs::path> models;
  const hub::Listing listing = model_store().list();
  for (const std::string& warning : listing.warnings) tell(warning);
  for (const hub::StoredModel& model : listing.models) {
    if (model.problem.empty()) models.push_back(model.path);
  }
  return models;
}

fs::path resolve_model(const std::string& name) {
  std::error_code ignored;
  const bool remote = remote_reference(name).has_value();
  if (name.empty() || fs::exists(name, ignored) || (!remote && name.find('/') != std::string::npos))
    return name;
  const hub::Listing listing = model_store().list();
  for (const std::string& warning : listing.warnings) tell(warning);
  const std::vector<const hub::StoredModel*> found = meant(listing.models, name);
  if (found.size() == 1) {
    if (found.front()->problem.empty()) return found.front()->path;
    throw Error(fmt::format("the model {} cannot be used: {}",
                            printable(found.front()->manifest.name), found.front()->problem));
  }
  if (found.size() > 1) {
    throw Error(
        fmt::format("'{}' can mean several models: {}", printable(name), listed(names_of(found))),
        "write more of the name", ExitCode::kUsage);
  }
  if (remote) refuse_absent(name);
  if (name.ends_with(".gguf")) return name;  // opening it says that there is no such file
  refuse_unknown(name, listing.models);
}

std::vector<hub::StoredModel> models_meant(const std::vector<hub::StoredModel>& models,
                                           const std::string& name) {
  std::vector<hub::StoredModel> found;
  for (const hub::StoredModel* model : meant(models, name)) found.push_back(*model);
  return found;
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
            "fetch one (hearth pull hf:ORG/REPO), adopt those of other programs (hearth import), "
            "name one (hearth up MODEL.gguf), or put a .gguf file into {}",
            printable(model_store().models().string(), 300)));
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
