// hearth catalog: the models that Hearth knows about.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/plan_table.h"
#include "cli/planning.h"
#include "cli/said.h"
#include "cli/words.h"
#include "hub/sources.h"
#include "plan/catalog_workload.h"
#include "plan/rank.h"
#include "support/error.h"
#include "support/file.h"
#include "support/units.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CatalogOptions {
  std::string role, name;
  bool json = false;
};

std::string parameter_words(const plan::CatalogModel& model) {
  if (model.parameters <= 0) return "?";
  std::string text = three_digits(model.parameters / kGiga) + "B";
  if (model.active_parameters > 0)
    text += fmt::format(", {:.2g}B active", model.active_parameters / kGiga);
  return text;
}

Json quant_json(const plan::Quantization& quant) {
  return {{"quant", quant.name},           {"bytes", quant.bytes},
          {"exact", quant.exact},          {"listed", quant.listed},
          {"bits_per_weight", quant.bits}, {"quality_lost_percent", quant.loss}};
}

Json model_json(const plan::CatalogModel& model, const plan::Uses& uses) {
  Json json = {{"name", model.name},
               {"repo", model.repo},
               {"family", model.family},
               {"architecture", model.architecture},
               {"runs_here", plan::engine_runs(model, "hearth")},
               {"role", model.role},
               {"modalities", model.modalities},
               {"license", model.license.empty() ? Json(nullptr) : Json(model.license)},
               {"parameters", model.parameters},
               {"active_parameters", plan::active_parameters(model)},
               {"context", model.context},
               {"repositories", model.repositories},
               {"notes", model.notes}};
  json["quantizations"] = Json::array();
  for (const plan::Quantization& quant : plan::quantizations(model, uses))
    json["quantizations"].push_back(quant_json(quant));
  json["scores"] = Json::array();
  for (const plan::Score& score : model.scores) {
    json["scores"].push_back({{"benchmark", score.benchmark},
                              {"value", score.value},
                              {"mode", score.mode},
                              {"source", score.source},
                              {"link", score.link}});
  }
  return json;
}

/// A role that no model has is a mistake.
void check_role(const plan::Catalog& catalog, const std::string& role) {
  if (role.empty()) return;
  std::set<std::string> known;
  for (const plan::CatalogModel& model : catalog.models) known.insert(model.role);
  if (known.contains(role)) return;
  std::string names;
  for (const std::string& name : known) names += (names.empty() ? "" : ", ") + printable(name);
  throw Error(fmt::format("unknown role '{}'", printable(role)), "known are " + names,
              ExitCode::kUsage);
}

void list(const CatalogOptions& options) {
  const plan::Catalog catalog = planned_catalog();
  check_role(catalog, options.role);
  const plan::Uses uses = plan::builtin_uses();
  TextTable table({"name", "parameters", "context", "licence", "for", "scores", ""},
                  {true, true, false, true, true, false, true});
  Json models = Json::array();
  for (const plan::CatalogModel& model : catalog.models) {
    if (!options.role.empty() && model.role != options.role) continue;
    if (options.json) {
      models.push_back(model_json(model, uses));
      continue;
    }
    const bool runs = plan::engine_runs(model, "hearth");
    table.row({printable(model.name), parameter_words(model), context_words(model.context),
               model.license.empty() ? "?" : printable(model.license),
               printable(model.role) + (model.modalities.size() > 1 ? ", sees" : ""),
               std::to_string(model.scores.size()),
               model.from_user ? "yours"
               : runs          ? ""
                               : "not run by Hearth"});
  }
  if (options.json) return print_json({{"models", models}, {"attribution", catalog.attribution}});
  fmt::print("{}\n{} {}, compiled {}. {}\n", table.text(""), table.rows(),
             table.rows() == 1 ? "model" : "models", printable(catalog.compiled),
             printable(catalog.attribution, 1000));
}

/// What the source keys that the model uses mean.
void print_sources(const plan::Catalog& catalog, const plan::CatalogModel& model) {
  std::set<std::string> keys = {model.license_source, model.parameters_source, model.active_source,
                                model.context_source, model.shape_source};
  for (const plan::CatalogFile& file : model.files) keys.insert(file.source);
  for (const plan::Score& score : model.scores) keys.insert(score.source);
  fmt::print("\nSources:\n");
  for (const std::string& key : keys) {
    const auto found = catalog.sources.find(key);
    if (found == catalog.sources.end()) continue;
    fmt::print("  {}: {}\n", printable(key), printable(found->second, 500));
  }
  if (!catalog.attribution.empty()) fmt::print("  {}\n", printable(catalog.attribution, 1000));
}

void show(const CatalogOptions& options) {
  const plan::Catalog catalog = planned_catalog();
  const plan::Uses uses = plan::builtin_uses();
  const plan::CatalogModel& model = catalog_model(catalog, plain_word(options.name));
  if (options.json) return print_json(model_json(model, uses));
  const auto sourced = [](const std::string& text, const std::string& source) {
    return source.empty() ? text : fmt::format("{} [{}]", text, printable(source));
  };
  fmt::print("{} ({})\n", printable(model.name), printable(model.repo));
  fmt::print("  family        {}, architecture {}{}\n", printable(model.family),
             printable(model.architecture),
             plan::engine_runs(model, "hearth") ? "" : ", which Hearth does not run");
  fmt::print("  for           {}; reads {}\n", printable(model.role),
             printable(joined(model.modalities), 1000));
  fmt::print(
      "  licence       {}\n",
      sourced(model.license.empty() ? "unknown" : printable(model.license), model.license_source));
  fmt::print("  parameters    {}\n", sourced(parameter_words(model), model.parameters_source));
  fmt::print("  context       {}\n", sourced(context_words(model.context), model.context_source));
  const plan::CatalogShape& shape = model.shape;
  if (shape.layers > 0) {
    std::string text = fmt::format("{} layers of {}, {} heads of {}, {} for keys", shape.layers,
                                   shape.width, shape.heads, shape.head_size, shape.kv_heads);
    if (shape.experts > 0)
      text += fmt::format(", {} of {} experts", shape.experts_used, shape.experts);
    fmt::print("  shape         {}\n", sourced(text, model.shape_source));
  }
  fmt::print("  repositories  {}\n", model.repositories.empty()
                                         ? "none known"
                                         : printable(joined(model.repositories), 1000));
  if (!model.notes.empty()) fmt::print("  notes         {}\n", printable(model.notes, 1000));
  fmt::print("\nFormats (a ~ before sizes that were rounded or worked out):\n");
  TextTable formats({"format", "bits", "file", "quality lost"}, {true, false, false, false});
  for (const plan::Quantization& quant : plan::quantizations(model, uses)) {
    formats.row({printable(quant.name), fmt::format("{:.2f}", quant.bits),
                 (quant.exact ? "" : "~") + size_text(quant.bytes),
                 fmt::format("{:.1f} %", quant.loss)});
  }
  fmt::print("{}", formats.text());
  fmt::print("\nScores (vendors' own unless it says otherwise; before quantization):\n");
  TextTable scores({"benchmark", "percent", "how", "source"}, {true, false, true, true});
  for (const plan::Score& score : model.scores) {
    scores.row({printable(score.benchmark), fmt::format("{:g}", score.value), printable(score.mode),
                printable(score.link.empty() ? score.source : score.link)});
  }
  fmt::print("{}", model.scores.empty() ? "  none found\n" : scores.text());
  print_sources(catalog, model);
}

/// Replaces the refreshed catalog by the one at an address, if it is one.
void refresh(const CatalogOptions& options) {
  constexpr std::size_t kMostBytes = std::size_t{16} << 20;
  const InterruptGuard guard(/*second_ends=*/true);
  const std::string url = plain_word(options.name);
  const std::string text = hub::fetch_text(user_network(), url, kMostBytes);
  const plan::Catalog catalog = plan::parse_catalog(text, printable(url, 300));
  std::filesystem::create_directories(refreshed_catalog_file().parent_path());
  write_file_atomically(refreshed_catalog_file(), text);
  fmt::print("{} models, compiled {}; kept in {}\n", catalog.models.size(),
             printable(catalog.compiled), printable(refreshed_catalog_file().string(), 300));
}

}  // namespace

void add_catalog_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("catalog", "The models that Hearth knows about");
  command->require_subcommand(1);
  command->footer(
      "The catalog is part of the program: parameters, shapes, files with their sizes, licences "
      "and "
      "published scores, each with its source. Entries in $XDG_CONFIG_HOME/hearth/catalog.json "
      "(default ~/.config/hearth/catalog.json) add models, or change keys of those with the same "
      "name; docs/planner.md shows how.\n\n"
      "Examples:\n"
      "  hearth catalog list\n"
      "  hearth catalog list --role embedding\n"
      "  hearth catalog show qwen3.5-4b\n"
      "\n"
      "Exit status:\n"
      "  0  printed            2    wrong usage, or no such model\n");
  auto options = std::make_shared<CatalogOptions>();
  CLI::App* lists = command->add_subcommand("list", "All models");
  lists
      ->add_option("--role", options->role,
                   "Only those for chat, code, embedding, rerank, vision, tool-router or test")
      ->type_name("ROLE");
  lists->add_flag("--json", options->json, "Print one JSON object");
  lists->callback([options] { list(*options); });
  CLI::App* shows = command->add_subcommand("show", "Everything about one model");
  shows->add_option("NAME", options->name, "A name of the list, or a repository")->required();
  shows->add_flag("--json", options->json, "Print one JSON object");
  shows->callback([options] { show(*options); });
  CLI::App* refreshes = command->add_subcommand(
      "refresh", "Fetch a newer catalog, which replaces the last one fetched");
  refreshes->add_option("URL", options->name, "Where it is")->required();
  refreshes->callback([options] { refresh(*options); });
}

}  // namespace hearth::cli
