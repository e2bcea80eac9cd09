#include "measure/self_test.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "measure/self_test_parts.h"
#include "support/error.h"

namespace hearth::measure {
namespace {

/// Sum of squared differences over sum of squares; infinite when either is not a number.
double nmse(const std::vector<float>& expected, const std::vector<float>& actual) {
  if (expected.size() != actual.size()) return std::numeric_limits<double>::infinity();
  double error = 0, power = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = static_cast<double>(expected[i]) - actual[i];
    error += difference * difference;
    power += static_cast<double>(expected[i]) * expected[i];
  }
  const double ratio = power > 0 ? error / power : error;
  return std::isfinite(ratio) ? ratio : std::numeric_limits<double>::infinity();
}

/// The first thing that is wrong counts as what is wrong: the rest mostly follows from it.
SelfTestResult compare(const std::string& kernels, std::string_view part,
                       const std::vector<Outcome>& expected, const std::vector<Outcome>& actual) {
  SelfTestResult result{kernels, std::string(part), 0, 0, {}};
  for (std::size_t i = 0; i < expected.size() && i < actual.size(); ++i) {
    const double error = nmse(expected[i].values, actual[i].values);
    result.compared += 1;
    result.worst = std::max(result.worst, error / expected[i].tolerance);
    if (error <= expected[i].tolerance || !result.wrong.empty()) continue;
    result.wrong =
        std::isfinite(error)
            ? fmt::format("{}: the error is {:.2g} of the result, and {:.2g} is allowed",
                          expected[i].name, std::sqrt(error), std::sqrt(expected[i].tolerance))
            : fmt::format("{}: the result is not a number", expected[i].name);
  }
  return result;
}

std::vector<std::string> kernels_here() {
  const char* const wanted = std::getenv("HEARTH_CPU");
  if (wanted != nullptr && *wanted != '\0') return {compute::chosen_cpu_instruction_set()};
  return compute::cpu_instruction_sets();
}

}  // namespace

std::vector<SelfTestResult> self_test(const SelfTestOptions& options) {
  std::vector<std::vector<Outcome>> expected;
  const auto reference = compute::make_reference_backend();
  const auto stop = [&options] {
    if (options.stop != nullptr && options.stop->load()) {
      throw Error("interrupted", "", ExitCode::kInterrupted);
    }
  };
  for (const SelfTestPart& part : all_self_test_parts()) {
    stop();
    Workbench bench(*reference, options.seed);
    expected.push_back(part.run(bench));
  }
  std::vector<SelfTestResult> results;
  for (const std::string& kernels : options.kernels.empty() ? kernels_here() : options.kernels) {
    const auto backend =
        options.make
            ? options.make(kernels, options.threads)
            : compute::make_cpu_backend({.threads = options.threads, .instruction_set = kernels});
    for (std::size_t i = 0; i < expected.size(); ++i) {
      stop();
      const SelfTestPart& part = all_self_test_parts()[i];
      Workbench bench(*backend, options.seed);
      results.push_back(compare(kernels, part.name, expected[i], part.run(bench)));
      if (const auto trouble = backend->finish(); trouble && results.back().right()) {
        results.back().wrong = *trouble;
      }
      if (options.on_result) options.on_result(results.back());
    }
  }
  return results;
}

std::vector<std::string_view> self_test_parts() {
  std::vector<std::string_view> names;
  for (const SelfTestPart& part : all_self_test_parts()) names.push_back(part.name);
  return names;
}

}  // namespace hearth::measure
