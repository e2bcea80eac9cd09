// Every mode of goldens/arch, evaluated in any chunking with float32 activations, and compared.
// Used by the tests and by the program that prints the table (hearth-goldens).
#pragma once

#include <string>
#include <vector>

namespace hearth::testing {

/// How a prompt is cut: sizes of passes, repeated; empty: as one batch.
struct Cut {
  std::string name;
  std::vector<std::size_t> sizes;
};
[[nodiscard]] const std::vector<Cut>& golden_cuts();

struct GoldenResult {
  double nmse = 0;           // worst of all arrays of the case
  std::string worst;         // the array it belongs to
  bool tokens_equal = true;  // greedy and draft ids
};

struct GoldenInfo {
  std::string name, architecture, mode;
  bool known = false;  // the architecture
};

/// All cases of the folder, sorted by name.
[[nodiscard]] std::vector<GoldenInfo> golden_list();

/// What the issue asks of --exact: NMSE at most 1e-8, and 1e-6 of three cases that amplify
/// rounding.
[[nodiscard]] double golden_tolerance(const std::string& name);

/// Throws Error when the model cannot be loaded or run. Models that read whole texts are evaluated
/// at once whatever the cut.
[[nodiscard]] GoldenResult evaluate_golden(const std::string& name, const Cut& cut);

}  // namespace hearth::testing
