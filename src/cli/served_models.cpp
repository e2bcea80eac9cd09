#include "cli/served_models.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "cli/models.h"
#include "hub/reference.h"
#include "hub/store.h"
#include "serve/http/message.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using serve::AvailableModel;
using serve::bare_name;

/// Seconds since 1970.
std::int64_t modified_time(const std::filesystem::path& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 ? static_cast<std::int64_t>(facts.st_mtime) : 0;
}

AvailableModel of_path(const std::filesystem::path& path) {
  std::error_code ignored;
  AvailableModel model;
  model.name = path.stem().string();
  model.path = std::filesystem::absolute(path);
  model.bytes = std::filesystem::file_size(path, ignored);
  model.modified = modified_time(path);
  model.source = "file";
  return model;
}

AvailableModel of_stored(const hub::StoredModel& stored) {
  AvailableModel model = of_path(stored.path);
  model.name = stored.manifest.name;
  model.bytes = stored.manifest.size() > 0 ? stored.manifest.size() : model.bytes;
  model.quant = stored.manifest.quant;
  model.source = stored.manifest.source;
  model.extras = serve::extras_of(stored.manifest, model_store());
  if (!stored.manifest.files.empty()) model.digest = stored.manifest.files.front().sha256;
  return model;
}

std::vector<hub::StoredModel> usable_models() {
  std::vector<hub::StoredModel> models = model_store().list().models;
  std::erase_if(models, [](const hub::StoredModel& model) { return !model.problem.empty(); });
  return models;
}

/// The model of the store whose first file this is, if it can be used.
std::optional<hub::StoredModel> usable_model(const std::filesystem::path& file) {
  const hub::Store store = model_store();
  if (file.parent_path() != std::filesystem::absolute(store.models())) return std::nullopt;
  std::optional<hub::StoredModel> model = store.find_file(file.filename().string());
  if (model && !model->problem.empty()) model.reset();
  return model;
}

/// It may have been made anew, or fetched again, since the server began.
AvailableModel as_it_is_now(const AvailableModel& model) {
  const std::optional<hub::StoredModel> stored = usable_model(model.path);
  return stored ? of_stored(*stored) : model;
}

/// A model that is loaded outlives its file, but nobody should choose it.
bool is_gone(const AvailableModel& model) {
  std::error_code ignored;  // what cannot be asked about says more when it is loaded
  return !std::filesystem::exists(model.path, ignored) && !ignored;
}

}  // namespace

LocalModels::LocalModels(const ServedModels& models) : only_named_(models.only_named) {
  for (const std::string& name : models.named) {
    const std::filesystem::path path = resolve_model(name);
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      throw Error(fmt::format("no such file: '{}'", printable(name)),
                  "check the path; hearth list shows the models of the store");
    }
    named_.push_back(as_it_is_now(of_path(path)));
  }
  for (const auto& [alias, target] : models.aliases) {
    if (!find(target)) {
      throw Error(
          fmt::format("--alias {}: there is no model '{}'", printable(alias), printable(target)),
          "hearth list shows the models of the store", ExitCode::kUsage);
    }
    aliases_[serve::lower_case(alias)] = target;
  }
}

std::vector<AvailableModel> LocalModels::models() const {
  std::vector<AvailableModel> all;
  for (const AvailableModel& model : named_) {
    if (!is_gone(model)) all.push_back(as_it_is_now(model));
  }
  const std::vector<hub::StoredModel> of_store =
      only_named_ ? std::vector<hub::StoredModel>() : usable_models();
  for (const hub::StoredModel& stored : of_store) {
    const bool listed = std::any_of(named_.begin(), named_.end(), [&](const auto& each) {
      return each.path == stored.path || each.name == stored.manifest.name;
    });
    if (!listed) all.push_back(of_stored(stored));
  }
  return all;
}

std::vector<AvailableModel> LocalModels::list() {
  std::vector<AvailableModel> all = models();
  // Clients let people choose from what is listed.
  for (const auto& [alias, target] : aliases_) {
    std::optional<AvailableModel> model = find(target);
    if (!model || is_gone(*model)) continue;  // it was removed since
    model->name = alias;
    all.push_back(std::move(*model));
  }
  return all;
}

std::optional<AvailableModel> LocalModels::find_named(std::string_view name) const {
  const std::string bare = bare_name(name);
  for (const AvailableModel& model : named_) {
    if (bare_name(model.name) == bare) return as_it_is_now(model);
  }
  return std::nullopt;
}

std::optional<AvailableModel> LocalModels::find(std::string_view name) {
  const auto alias = aliases_.find(serve::lower_case(name));
  const std::string wanted = alias != aliases_.end() ? alias->second : std::string(name);
  if (auto model = find_named(wanted)) return model;
  if (only_named_) return std::nullopt;
  const std::vector<hub::StoredModel> stored = usable_models();
  const std::string bare = bare_name(wanted);
  for (const hub::StoredModel& model : stored) {
    if (bare_name(model.manifest.name) == bare) return of_stored(model);
  }
  const std::string safe = hub::safe_name(bare);
  if (safe.empty()) return std::nullopt;  // the store keeps nothing under such names
  // "qwen3:0.6b" was fetched from Ollama's registry, and is kept as "qwen3-0.6b".
  for (const std::string& form : {wanted, bare, safe, "ollama:" + wanted}) {
    const std::vector<hub::StoredModel> meant = models_meant(stored, form);
    if (meant.size() == 1) return of_stored(meant.front());
  }
  return std::nullopt;
}

void LocalModels::used(const std::filesystem::path& path) { model_store().mark_used(path); }

}  // namespace hearth::cli
