#include "cli/planning.h"

#include <fmt/format.h>

#include <cstdio>
#include <system_error>

#include "cli/config.h"
#include "cli/said.h"
#include "cli/suggest.h"
#include "cli/this_machine.h"
#include "measure/machine_file.h"
#include "plan/presets.h"
#include "support/error.h"

namespace hearth::cli {

std::string preset_names() {
  std::string names;
  for (const plan::Preset& preset : plan::presets())
    names += (names.empty() ? "" : ", ") + preset.key;
  return names;
}

PlannedMachine planned_machine(const std::string& wanted) {
  PlannedMachine result;
  std::error_code error;
  if (wanted.empty()) {
    result.machine = this_machine(false).machine;
  } else if (auto preset = plan::find_preset(wanted)) {
    result.machine = std::move(preset->machine);
    result.preset = preset->key;
    result.watts = preset->watts;
  } else if (std::filesystem::exists(wanted, error)) {
    result.machine = measure::read_machine_file(wanted);
  } else {
    std::vector<std::string> names;
    for (const plan::Preset& known : plan::presets()) names.push_back(known.key);
    const std::string nearest = suggestion(wanted, names);
    throw Error(
        fmt::format("'{}' is neither a file nor a machine that Hearth knows", printable(wanted)),
        (nearest.empty() ? "" : nearest + " ") + "known are " + preset_names(), ExitCode::kUsage);
  }
  result.notes = plan::fill_from_sheets(result.machine);
  const auto& sets = result.machine.cpu.instruction_sets;
  if (result.machine.kernels.empty() && !sets.empty() && sets.front().starts_with("neon")) {
    result.notes.emplace_back(
        "Hearth's kernels for Arm were tested but never timed: that they reach the same share of "
        "their peak as those for x86 is an assumption");
  }
  return result;
}

std::filesystem::path refreshed_catalog_file() { return user_folders().data / "catalog.json"; }
std::filesystem::path own_catalog_file() { return user_folders().config / "catalog.json"; }

plan::Catalog planned_catalog() {
  plan::Catalog catalog = plan::load_catalog({refreshed_catalog_file(), own_catalog_file()});
  for (const std::string& warning : catalog.warnings) tell(warning);
  return catalog;
}

std::pair<std::string, std::string> split_quant(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return {text, {}};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::vector<std::string> catalog_names(const plan::Catalog& catalog) {
  std::vector<std::string> names;
  for (const plan::CatalogModel& model : catalog.models) names.push_back(model.name);
  return names;
}

const plan::CatalogModel& catalog_model(const plan::Catalog& catalog, const std::string& name) {
  if (const plan::CatalogModel* model = catalog.find(name)) return *model;
  const std::string nearest = suggestion(name, catalog_names(catalog));
  throw Error(fmt::format("the catalog has no model '{}'", printable(name)),
              nearest.empty() ? "see hearth catalog list" : nearest, ExitCode::kUsage);
}

}  // namespace hearth::cli
