// What `hearth up` decides and how it says so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/measurements.h"
#include "cli/settings.h"
#include "machine/machine.h"
#include "measure/measurement_store.h"
#include "plan/correction.h"
#include "plan/estimate.h"
#include "plan/rank.h"
#include "plan/setup_file.h"

namespace hearth::cli {

/// A model, how it will be run, and what is expected of it.
struct UpPlan {
  std::filesystem::path path;  // of its file; empty when it must be fetched
  std::string name, quant;
  std::string reference;  // what `hearth pull` takes; empty for files
  std::string why;
  double file_bytes = 0;
  std::int64_t context = 0;
  std::int64_t trained_context = 0;  // 0: unknown
  std::string kv_type = "F16";
  int threads = 0;
  bool exact = false, mapped = false;
  std::optional<spec::RopeScaling> rope_scaling;
  /// What of RunOptions says how much memory keys and values take, and where the rest is.
  std::uint64_t kv_budget = 0;
  KvDisk kv_disk;
  std::string kv_disk_key;
  plan::Estimate estimate;  // not corrected
  plan::Correction correction;

  /// What is told: the estimate as earlier measurements correct it.
  [[nodiscard]] plan::Estimate expected() const { return plan::corrected(estimate, correction); }
};

/// Plans a file that is here. The context is the one asked for, or the default one made as small as
/// memory wants. Throws Error; exit code 3, with the numbers, when it does not fit.
[[nodiscard]] UpPlan plan_file(const std::filesystem::path& path, const std::string& why,
                               const machine::Machine& machine, const RunOptions& options,
                               const std::vector<measure::Measurement>& earlier);

/// The best model of the catalog that can be fetched, for a use. Throws Error: an unknown use; exit
/// code 3, with the numbers, when nothing fits.
[[nodiscard]] UpPlan plan_catalog(const std::string& use, const machine::Machine& machine,
                                  const RunOptions& options,
                                  const std::vector<measure::Measurement>& earlier);
/// The same of one model: `name` is the catalog's, perhaps with ":QUANT". Nothing when the catalog
/// has no such model.
[[nodiscard]] std::optional<UpPlan> plan_catalog_model(
    const std::string& name, const std::string& use, const machine::Machine& machine,
    const RunOptions& options, const std::vector<measure::Measurement>& earlier);

/// The best models of the catalog that fit and can be fetched, at most `most`, best first.
[[nodiscard]] std::vector<UpPlan> plan_choices(const std::string& use,
                                               const machine::Machine& machine,
                                               const RunOptions& options,
                                               const std::vector<measure::Measurement>& earlier,
                                               std::size_t most);

/// The four lines: the machine, the model and why, the memory, the speed.
[[nodiscard]] std::vector<std::string> plan_lines(const UpPlan& plan,
                                                  const machine::Machine& machine,
                                                  std::int64_t now);

/// What is saved of a plan for the next time, and what that asks for then: the weakest layer.
[[nodiscard]] plan::SavedSetup saved_setup(const UpPlan& plan, const std::string& use,
                                           std::int64_t now);
[[nodiscard]] std::vector<SettingValue> setup_values(const plan::SavedSetup& saved,
                                                     const std::filesystem::path& source);

/// What was promised with a plan's lines.
[[nodiscard]] Promise promise_of(const UpPlan& plan);

/// "now", "3 minutes ago", "2 days ago".
[[nodiscard]] std::string age_text(std::int64_t seconds);

}  // namespace hearth::cli
