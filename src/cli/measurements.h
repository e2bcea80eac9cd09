// What commands do with the store of measurements: add to it, read this machine's rows, and compare
// what was promised with what was then measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "generate/session.h"
#include "measure/measurement_store.h"
#include "measure/model_bench.h"
#include "model/loaded_model.h"
#include "plan/catalog.h"
#include "plan/correction.h"
#include "plan/estimate.h"

namespace hearth::cli {

/// $XDG_STATE_HOME/hearth/measurements.db.
[[nodiscard]] std::filesystem::path measurements_path();

/// The fingerprint of this machine as this process may use it.
[[nodiscard]] std::string this_machine_fingerprint();

/// False when HEARTH_NO_MEASUREMENTS is set to anything but 0.
[[nodiscard]] bool measurements_allowed();

/// This machine's rows, newest first; none when nothing is kept or it cannot be read. That a store
/// was set aside is told on stderr.
[[nodiscard]] std::vector<measure::Measurement> earlier_measurements();

/// Adds rows. Failures are no one's concern: only that a store was set aside is told on stderr.
void keep_measurements(const std::vector<measure::Measurement>& rows);

/// What the planner expects of a model here, for rows that are kept; nothing where the machine was
/// not probed before, or nothing can be said. Takes milliseconds.
[[nodiscard]] std::optional<plan::Estimate> expectation(const gguf::File& file,
                                                        plan::Conditions conditions);

/// What a model of the catalog in a format shares with the files that it stands for.
[[nodiscard]] measure::ModelIdentity identity_of(const plan::CatalogModel& model,
                                                 const std::string& quant);

/// How earlier rows of this machine, newest first, correct an estimate for it, with the default
/// threads.
[[nodiscard]] plan::Correction correction_here(const plan::Estimate& estimate,
                                               measure::ModelIdentity model, std::string kv_type,
                                               std::span<const measure::Measurement> rows);

/// The rows of a benchmark: of single sequences, prompts and answers apart.
[[nodiscard]] std::vector<measure::Measurement> bench_measurements(
    const measure::ModelIdentity& model, const spec::Setup& setup,
    const measure::BenchResult& result, const measure::BenchPlan& plan,
    const std::optional<plan::Estimate>& expected, std::int64_t now);

/// Speeds that a person was told before the model was loaded.
struct Promise {
  double decode_tps = 0, prefill_tps = 0;  // 0: nothing was said
  /// What they were made of, before earlier measurements corrected it.
  std::optional<plan::Estimate> estimate;
};

/// Watches the answers of one model.
class AnswerLog {
 public:
  /// Shorter ones say nothing about a speed.
  static constexpr std::int64_t kLeastGenerated = 32, kLeastPrompt = 128;

  void promise(Promise promise) { promise_ = std::move(promise); }
  /// Takes the speeds of an answer, if it was long enough, into account and, with `keep`, into the
  /// store.
  void answered(const model::LoadedModel& model, const generate::GenerateResult& result, bool keep);
  /// "expected 41, measured 39 tok/s" of all answers so far; empty when nothing was promised or
  /// no answer was long enough.
  [[nodiscard]] std::string comparison() const;

 private:
  std::optional<Promise> promise_;
  std::optional<measure::ModelIdentity> identity_;
  std::int64_t passes_ = 0;
  double seconds_ = 0;
};

/// The row of an answer; nothing when it was too short, or some of its context may be on disk.
[[nodiscard]] std::optional<measure::Measurement> answer_measurement(
    const measure::ModelIdentity& model, const spec::Setup& setup,
    const generate::GenerateResult& result, const std::optional<plan::Estimate>& expected,
    std::int64_t now);

/// "41" or "4.1".
[[nodiscard]] std::string speed_text(double tokens_per_second);

}  // namespace hearth::cli
