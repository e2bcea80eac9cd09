// build/hearth-goldens: the table of all cases of goldens/arch with their errors, as docs/models.md
// has it. Arguments: names of cases (none: all). Exit status 1 when one is missed.
#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "golden/golden_modes.h"

namespace {

using hearth::testing::evaluate_golden;
using hearth::testing::golden_cuts;
using hearth::testing::golden_tolerance;
using hearth::testing::GoldenInfo;
using hearth::testing::GoldenResult;

/// One line of the table; whether the case is reproduced.
bool print_case(const GoldenInfo& info) {
  std::string line = fmt::format("| {} | {} | {} |", info.name, info.architecture, info.mode);
  bool tokens = true;
  bool good = true;
  for (const auto& cut : golden_cuts()) {
    try {
      const GoldenResult result = evaluate_golden(info.name, cut);
      line += fmt::format(" {:.1e} |", result.nmse);
      tokens = tokens && result.tokens_equal;
      good = good && result.nmse <= golden_tolerance(info.name) && result.tokens_equal;
    } catch (const std::exception& error) {
      line += " error |";
      fmt::print(stderr, "{} {}: {}\n", info.name, cut.name, error.what());
      good = false;
    }
  }
  fmt::print("{} {} |{}\n", line, tokens ? "equal" : "DIFFERENT", good ? "" : " MISSED");
  std::fflush(stdout);
  return good;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> wanted(arguments + 1, arguments + count);
  fmt::print("| Case | Architecture | Mode |");
  for (const auto& cut : golden_cuts()) fmt::print(" {} |", cut.name);
  fmt::print(" Tokens |\n|---|---|---|---|---|---|---|\n");
  int good = 0;
  int all = 0;
  for (const GoldenInfo& info : hearth::testing::golden_list()) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), info.name) == wanted.end()) {
      continue;
    }
    ++all;
    good += print_case(info) ? 1 : 0;
  }
  fmt::print("\n{} of {} cases reproduced.\n", good, all);
  return good == all && all > 0 ? 0 : 1;
}
