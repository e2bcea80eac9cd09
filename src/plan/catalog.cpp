#include "plan/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "measure/json_reader.h"
#include "plan/data.h"
#include "support/ascii.h"
#include "support/error.h"
#include "support/file.h"
#include "support/set_aside.h"

namespace hearth::plan {
namespace {

using Json = nlohmann::json;
using measure::JsonReader;

constexpr const char* kFormat = "hearth-catalog-1";
constexpr std::int64_t kMaxSize = std::int64_t{1} << 26;
constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return ascii_lower(x) == ascii_lower(y); });
}

CatalogShape read_shape(JsonReader& reader) {
  CatalogShape shape;
  const auto size = [&](const char* key, std::int64_t& to) {
    to = reader.integer(key, to, 0, kMaxSize);
  };
  size("layers", shape.layers);
  size("width", shape.width);
  size("heads", shape.heads);
  size("kv_heads", shape.kv_heads);
  size("head_size", shape.head_size);
  size("feed_forward", shape.feed_forward);
  size("vocabulary", shape.vocabulary);
  shape.tied = reader.flag("tied", false);
  size("experts", shape.experts);
  size("experts_used", shape.experts_used);
  size("expert_width", shape.expert_width);
  size("shared_expert_width", shape.shared_expert_width);
  size("dense_layers", shape.dense_layers);
  size("moe_layers", shape.moe_layers);
  size("expert_matrices", shape.expert_matrices);
  size("kv_layers", shape.kv_layers);
  size("window", shape.window);
  size("full_every", shape.full_every);
  size("global_kv_heads", shape.global_kv_heads);
  size("global_head_size", shape.global_head_size);
  size("shared_kv_layers", shape.shared_kv_layers);
  size("latent_size", shape.latent_size);
  size("per_layer_embedding", shape.per_layer_embedding);
  shape.kv_bytes_per_token = reader.number("kv_bytes_per_token", 0, 0, 1e9);
  shape.state_bytes = reader.number("state_bytes", 0, 0, 1e11);
  if (shape.layers > 4096) reader.fail("layers", "is more than 4096");
  if (shape.experts_used > shape.experts) reader.fail("experts_used", "is more than 'experts'");
  if (shape.kv_layers > shape.layers) reader.fail("kv_layers", "is more than 'layers'");
  if (shape.shared_kv_layers > shape.layers)
    reader.fail("shared_kv_layers", "is more than 'layers'");
  return shape;
}

CatalogFile read_file_entry(JsonReader& reader) {
  CatalogFile file;
  file.quant = reader.needed_text("quant");
  file.file = reader.text("file");
  file.bytes = static_cast<std::uint64_t>(reader.integer("bytes", 0, 1, std::int64_t{1} << 45));
  if (file.bytes == 0) reader.fail("bytes", "is missing");
  file.exact = reader.flag("exact", false);
  file.source = reader.text("source");
  return file;
}

Score read_score(JsonReader& reader) {
  Score score;
  score.benchmark = reader.needed_text("benchmark");
  if (!reader.has("value")) reader.fail("value", "is missing");
  score.value = reader.number("value", 0, 0, 100);
  score.mode = reader.text("mode");
  score.source = reader.text("source");
  score.link = reader.text("link");
  return score;
}

CatalogModel read_model(const Json& json, const std::string& source, const std::string& where) {
  JsonReader reader(json, source, where, measure::kDataFile);
  CatalogModel model;
  model.name = reader.needed_text("name");
  if (model.name.find_first_of(" \t\n/:") != std::string::npos || model.name.size() > 100)
    reader.fail("name", "must be short and without spaces, slashes and colons");
  model.repo = reader.text("repo");
  model.family = reader.text("family");
  model.architecture = reader.text("architecture");
  model.role = reader.text("role", "chat");
  model.modalities = reader.texts("modalities");
  if (model.modalities.empty()) model.modalities = {"text"};
  model.license = reader.text("license");
  model.license_source = reader.text("license_source");
  model.parameters = 1e9 * reader.number("parameters_b", 0, 0, 1e5);
  model.parameters_source = reader.text("parameters_source");
  model.active_parameters = 1e9 * reader.number("active_parameters_b", 0, 0, 1e5);
  model.active_source = reader.text("active_source");
  model.context = reader.integer("context", 0, 0, std::int64_t{1} << 32);
  model.context_source = reader.text("context_source");
  model.published_quant = reader.text("published_quant");
  reader.inside("shape", [&](JsonReader& shape) { model.shape = read_shape(shape); });
  model.shape_source = reader.text("shape_source");
  model.repositories = reader.texts("repositories");
  reader.each("files", [&](JsonReader& entry) { model.files.push_back(read_file_entry(entry)); });
  reader.each("scores", [&](JsonReader& entry) { model.scores.push_back(read_score(entry)); });
  model.notes = reader.text("notes");
  reader.finish();
  return model;
}

/// Everything but the models.
Catalog read_head(JsonReader& reader) {
  Catalog catalog;
  if (reader.needed_text("format") != kFormat)
    reader.fail("format", fmt::format("is not \"{}\", which this Hearth reads", kFormat));
  catalog.compiled = reader.text("compiled");
  (void)reader.texts("about");
  catalog.attribution = reader.text("attribution");
  reader.each_text("sources", [&](const std::string& key, const std::string& explanation) {
    catalog.sources[key] = explanation;
  });
  return catalog;
}

/// The place of the model with this name, or npos.
std::size_t index_of(const Json& models, const Json& entry) {
  const auto name = entry.is_object() ? entry.find("name") : entry.end();
  if (!entry.is_object() || name == entry.end() || !name->is_string()) return std::string::npos;
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (same_name(models[i]["name"].get_ref<const std::string&>(),
                  name->get_ref<const std::string&>()))
      return i;
  }
  return std::string::npos;
}

/// Puts one entry of a user's file into the catalog; `models` is the JSON of the catalog's models.
void add_entry(Catalog& catalog, Json& models, const Json& entry, const std::string& source,
               const std::string& where) {
  const std::size_t known = index_of(models, entry);
  Json merged = known == std::string::npos ? Json::object() : models[known];
  merged.merge_patch(entry);
  CatalogModel model = read_model(merged, source, where);
  model.from_user = true;
  if (known == std::string::npos) {
    catalog.models.push_back(std::move(model));
    models.push_back(std::move(merged));
  } else {
    catalog.models[known] = std::move(model);
    models[known] = std::move(merged);
  }
}

void extend(Catalog& catalog, Json& models, const std::filesystem::path& path) {
  const std::string source = fmt::format("'{}'", printable(path.string(), 300));
  const Json json = measure::parse_json(read_file(path, kMaxFileBytes), source, measure::kDataFile);
  JsonReader reader(json, source, "", measure::kDataFile);
  Catalog head = read_head(reader);
  const Json* entries = reader.list("models");
  reader.finish();
  catalog.sources.merge(head.sources);
  if (entries == nullptr) return;
  std::size_t index = 0;
  for (const Json& entry : *entries) {
    try {
      add_entry(catalog, models, entry, source, fmt::format("models[{}]", index++));
    } catch (const Error& error) {
      catalog.warnings.push_back(fmt::format("{}; this entry is left out", error.what()));
    }
  }
}

/// A whole catalog; `models` receives the JSON of its models.
Catalog read_catalog(std::string_view text, const std::string& source, Json& models) {
  const Json json = measure::parse_json(text, source, measure::kDataFile);
  JsonReader reader(json, source, "", measure::kDataFile);
  Catalog catalog = read_head(reader);
  const Json* entries = reader.list("models");
  reader.finish();
  models = entries == nullptr ? Json::array() : *entries;
  for (std::size_t i = 0; i < models.size(); ++i) {
    CatalogModel model = read_model(models[i], source, fmt::format("models[{}]", i));
    if (catalog.find(model.name) != nullptr)
      throw Error(fmt::format("{}: '{}' is there twice", source, printable(model.name)));
    catalog.models.push_back(std::move(model));
  }
  return catalog;
}

}  // namespace

const CatalogModel* Catalog::find(std::string_view name) const noexcept {
  for (const CatalogModel& model : models) {
    if (same_name(model.name, name) || same_name(model.repo, name)) return &model;
  }
  return nullptr;
}

Catalog parse_catalog(std::string_view text, const std::string& source) {
  Json models;
  return read_catalog(text, source, models);
}

Catalog builtin_catalog() {
  return parse_catalog(embedded_file("catalog.json"), "the built-in catalog");
}

namespace {

/// What became of a broken file, for a warning: it is kept for its owner under another name, so
/// that the warning does not come again.
std::string put_aside(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return "it is left out";
  try {
    return fmt::format("it was set aside as '{}'", printable(set_aside(path).filename().string()));
  } catch (const Error&) {
    return "it is left out";
  }
}

}  // namespace

Catalog load_catalog(const std::vector<std::filesystem::path>& user_files) {
  Json models;
  Catalog catalog = read_catalog(embedded_file("catalog.json"), "the built-in catalog", models);
  for (const std::filesystem::path& path : user_files) {
    std::error_code error;
    if (!std::filesystem::exists(path, error) && !error) continue;
    try {
      extend(catalog, models, path);
    } catch (const Error& broken) {
      catalog.warnings.push_back(fmt::format("{}; {}", broken.what(), put_aside(path)));
    }
  }
  return catalog;
}

}  // namespace hearth::plan
