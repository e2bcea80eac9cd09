// hearth plan --predict: speeds for a table of setups, so that the cost model can be judged against
// measurements by others. Every row goes through estimate_by_class().
#pragma once

#include <cstddef>
#include <filesystem>

#include "machine/machine.h"
#include "plan/csv.h"
#include "plan/estimate.h"
#include "plan/hardware_class.h"
#include "plan/workload.h"

namespace hearth::plan {

/// One row of the table as the cost model sees it.
struct TableRow {
  Workload workload;
  machine::Machine machine;
  /// `depths`: where decoding is asked for, and how many tokens lie before the prompt.
  Conditions conditions;
  ClassOptions options;
  bool speculative = false;
};

struct Prediction {
  double decode_tps = 0, prefill_tps = 0;
};

/// Reads row `row` (columns: docs/planner-model.md). Columns may be missing and fields empty or no
/// numbers: names, then what is usual for the class, stand in. Columns that hold measurements are
/// never read.
[[nodiscard]] TableRow read_table_row(const CsvTable& table, std::size_t row);

/// Both speeds are positive and finite.
[[nodiscard]] Prediction predict(const TableRow& row);

/// Writes `row_id,pred_decode_tps,pred_prefill_tps` for every row of `in` to `out`, which appears
/// when it is complete. Throws Error when `in` is no table or has no column row_id.
void predict_file(const std::filesystem::path& in, const std::filesystem::path& out);

}  // namespace hearth::plan
