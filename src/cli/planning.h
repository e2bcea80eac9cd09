// What `plan`, `cost`, `catalog` and `up` plan with: the machine, the catalog, the uses.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "machine/machine.h"
#include "plan/catalog.h"
#include "plan/uses.h"

namespace hearth::cli {

/// A machine to plan for, and where it comes from.
struct PlannedMachine {
  machine::Machine machine;
  std::string preset;              // the key, when it is one
  double watts = 0;                // while it generates; 0: unknown
  std::vector<std::string> notes;  // what data sheets filled in, what is assumed
};

/// `wanted`: empty (this machine, measured or from the cache), the key of a preset, or a file of
/// `hearth probe --json`. Throws Error (ExitCode::kUsage) naming the presets for anything else.
[[nodiscard]] PlannedMachine planned_machine(const std::string& wanted);

/// Where catalogs of the user's lie, in the order they are read: a refreshed one, then their own.
[[nodiscard]] std::filesystem::path refreshed_catalog_file();
[[nodiscard]] std::filesystem::path own_catalog_file();

/// The catalog with the user's files; says on stderr what is wrong with them.
[[nodiscard]] plan::Catalog planned_catalog();

/// "NAME" or "NAME:QUANT" as its two parts.
[[nodiscard]] std::pair<std::string, std::string> split_quant(const std::string& text);

/// The names of all its models.
[[nodiscard]] std::vector<std::string> catalog_names(const plan::Catalog& catalog);

/// The model of the catalog called `name`. Throws Error (ExitCode::kUsage) with a suggestion.
[[nodiscard]] const plan::CatalogModel& catalog_model(const plan::Catalog& catalog,
                                                      const std::string& name);

/// "laptop-8gb, laptop-16gb, …".
[[nodiscard]] std::string preset_names();

}  // namespace hearth::cli
