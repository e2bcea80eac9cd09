// Any bytes as a table of setups: an Error, or a positive finite prediction for every row, and
// fields that are read back as they were written.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "plan/csv.h"
#include "plan/predict.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  try {
    const plan::CsvTable table(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    for (std::size_t row = 0; row < table.rows(); ++row) {
      const plan::Prediction p = plan::predict(plan::read_table_row(table, row));
      if (!(std::isfinite(p.decode_tps) && p.decode_tps > 0)) std::abort();
      if (!(std::isfinite(p.prefill_tps) && p.prefill_tps > 0)) std::abort();
      const std::string id(table.field(row, "row_id"));
      const plan::CsvTable again("row_id,x\n" + plan::csv_field(id) + ",\n", "again");
      if (again.rows() != 1 || again.field(0, "row_id") != id) std::abort();
    }
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) std::abort();
  }
  return 0;
}
