// What was measured on this machine corrects what is expected of it next.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "measure/measurement_store.h"
#include "measure/model_identity.h"
#include "plan/estimate.h"

namespace hearth::plan {

/// Which of this machine's rows say something about an estimate.
struct CorrectionSubject {
  /// As far as it is known: zeroes and empty strings match anything, and a model of a catalog need
  /// only agree within 3 % in parameters and bytes, and in the type up to "_M" and the like.
  measure::ModelIdentity model;
  std::string version;  // of Hearth: other models' rows count only when it made them
  int threads = 0;      // that the estimate is for
  std::string kv_type = "F16";
  bool exact = false, mapped = false;
};

/// Measured by expected, for one kind of work.
struct CorrectionFactor {
  double value = 1;
  int rows = 0;             // it rests on
  bool same_model = false;  // otherwise on other models of the same type
};

struct Correction {
  CorrectionFactor decode, prefill;
  /// "expected 41, measured 39 tok/s here on 12 Nov": of the newest row of this model. Empty
  /// without one.
  std::string note;
};

/// Medians of the ratios of recent rows, drawn towards 1 the fewer they are: a benchmark counts as
/// three answers; other models of the same type count less than the model itself, and only while
/// there is no row of that. `rows`: this machine's, newest first. `now`: seconds since 1970.
[[nodiscard]] Correction correction(const Estimate& estimate, const CorrectionSubject& subject,
                                    std::span<const measure::Measurement> rows, std::int64_t now);

/// The estimate with its speeds and times corrected; memory stays. `inputs` tells it.
[[nodiscard]] Estimate corrected(Estimate estimate, const Correction& correction);

/// The estimate's speed at `depth`: its time per token, linear between the depths that it has, and
/// beyond. Nothing when it has none.
[[nodiscard]] std::optional<double> decode_tps_at(const Estimate& estimate, std::int64_t depth);
[[nodiscard]] std::optional<double> prefill_tps_at(const Estimate& estimate, std::int64_t depth);

/// "12 Nov", with the year when it is not that of `now`; by UTC.
[[nodiscard]] std::string day_text(std::int64_t when, std::int64_t now);

}  // namespace hearth::plan
