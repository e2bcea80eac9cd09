// hearth list: what the store has.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/fetching.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/said.h"
#include "cli/words.h"
#include "hub/store.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string source_text(const hub::StoredModel& model) {
  if (model.by_hand) return "put there by hand";
  if (model.manifest.source == "huggingface" || model.manifest.source == "ollama") {
    const std::string& reference = model.manifest.reference;
    // The file's name says nothing new.
    const std::size_t colon = reference.find(':', reference.find(':') + 1);
    const std::string place =
        model.manifest.source == "huggingface" ? reference.substr(0, colon) : reference;
    return model.manifest.files.front().adopted.empty() ? place : place + " (adopted)";
  }
  return model.manifest.reference;
}

Json to_json(const hub::Listing& listing) {
  Json models = Json::array();
  for (const hub::StoredModel& model : listing.models) {
    Json entry{{"name", model.manifest.name},
               {"path", model.path.string()},
               {"size", model.manifest.size()},
               {"quant", model.manifest.quant},
               {"source", model.by_hand ? "hand" : model.manifest.source},
               {"reference", model.manifest.reference},
               {"added", model.manifest.added},
               {"used", model.used.empty() ? Json(nullptr) : Json(model.used)},
               {"files", model.manifest.files.size()},
               {"adopted", !model.manifest.files.front().adopted.empty()},
               {"problem", model.problem.empty() ? Json(nullptr) : Json(model.problem)}};
    models.push_back(std::move(entry));
  }
  Json unfinished = Json::array();
  for (const hub::UnfinishedDownload& download : listing.unfinished) {
    unfinished.push_back({{"name", download.name},
                          {"reference", download.reference},
                          {"done", download.done},
                          {"size", download.size},
                          {"running", download.running}});
  }
  return {{"models", std::move(models)}, {"unfinished", std::move(unfinished)}};
}

void print_table(const hub::Listing& listing) {
  std::size_t width = 4;
  for (const hub::StoredModel& model : listing.models) {
    if (model.problem.empty()) width = std::max(width, printable(model.manifest.name).size());
  }
  bool any = false;
  for (const hub::StoredModel& model : listing.models) {
    if (!model.problem.empty()) continue;
    if (!any)
      fmt::print("{:<{}}  {:>9}  {:<10}  {:<10}  {}\n", "NAME", width, "SIZE", "QUANT", "USED",
                 "FROM");
    any = true;
    fmt::print("{:<{}}  {:>9}  {:<10}  {:<10}  {}\n", printable(model.manifest.name), width,
               size_text(model.manifest.size()),
               model.manifest.quant.empty() ? "-" : printable(model.manifest.quant),
               model.used.empty() ? "never" : model.used.substr(0, 10),
               printable(source_text(model), 200));
  }
  if (!any) {
    fmt::print(
        "No models yet: hearth pull fetches one, hearth import adopts those of other "
        "programs.\n");
  }
  bool heading = false;
  for (const hub::StoredModel& model : listing.models) {
    if (model.problem.empty()) continue;
    if (!std::exchange(heading, true)) fmt::print("\nNot usable:\n");
    fmt::print("  {}: {}\n", printable(model.manifest.name), model.problem);
  }
  heading = false;
  for (const hub::UnfinishedDownload& download : listing.unfinished) {
    if (!std::exchange(heading, true)) fmt::print("\nUnfinished downloads:\n");
    fmt::print("  {}: {} of {}{}\n", printable(download.name), size_text(download.done),
               size_text(download.size),
               download.running ? ", being fetched"
                                : fmt::format("; go on with hearth pull {}",
                                              printable(download.reference, 300)));
  }
}

}  // namespace

void add_list_command(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("list", "List the models of the store");
  command->footer(
      "Models of the store, and .gguf files that were put into its models folder by hand. What "
      "cannot be used (an adopted file that is gone, say) is listed apart, and why; so are "
      "unfinished downloads.\n\n"
      "Examples:\n"
      "  hearth list\n"
      "  hearth list --json\n"
      "\n"
      "Exit status:\n"
      "  0  listed             2  wrong usage\n"
      "  1  failed\n");
  command->add_flag("--json", *json, "Print one JSON object");
  command->callback([json] {
    const hub::Listing listing = model_store().list();
    print_notes(listing.warnings);
    if (*json) {
      print_json(to_json(listing));
    } else {
      print_table(listing);
    }
  });
}

}  // namespace hearth::cli
