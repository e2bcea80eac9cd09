// hearth doctor: does this machine compute correctly, and what keeps it from being fast?

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/config.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/said.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "measure/self_test.h"
#include "measure/setup_advice.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;
using measure::Advice;
using measure::SelfTestResult;

constexpr double kWatchSeconds = 0.5;

/// One line per part, as soon as it is known.
void print_result(const SelfTestResult& result) {
  fmt::print(
      "  {:<14} {:<12} {}\n", result.kernels, result.part,
      result.right() ? fmt::format("ok, {} compared", result.compared) : "WRONG: " + result.wrong);
  std::fflush(stdout);
}

void print_advice(const std::vector<Advice>& advice) {
  if (advice.empty()) {
    fmt::print("Setup: nothing to improve.\n");
    return;
  }
  fmt::print("Setup\n");
  for (const Advice& one : advice) {
    fmt::print("{}{}", wrapped(one.what, 2), wrapped("-> " + one.fix, 4));
  }
}

Json to_json(const std::vector<SelfTestResult>& results, const std::vector<Advice>& advice,
             bool right) {
  Json tests = Json::array();
  for (const SelfTestResult& result : results) {
    tests.push_back({{"kernels", result.kernels},
                     {"part", result.part},
                     {"compared", result.compared},
                     {"right", result.right()},
                     {"wrong", result.wrong}});
  }
  Json list = Json::array();
  for (const Advice& one : advice) {
    list.push_back({{"name", one.name}, {"what", one.what}, {"fix", one.fix}});
  }
  return {{"right", right}, {"self_test", std::move(tests)}, {"advice", std::move(list)}};
}

/// From the cache when it is there: doctor measures nothing.
machine::Machine known_machine() {
  measure::CacheLook look = measure::look_into_cache(machine_cache_file());
  for (const std::string& remark : look.found.remarks) tell(remark);
  if (look.usable) return std::move(look.found.machine);
  return measure::unmeasured_machine(probe_options());
}

void examine(bool json) {
  const InterruptGuard guard(/*second_ends=*/true);
  // First: what runs besides, before this program itself is busy.
  const std::vector<Advice> advice = measure::setup_advice(measure::setup_facts(
      known_machine(), (user_folders().data / "models").string(), kWatchSeconds));
  std::vector<SelfTestResult> results;
  {
    ProgressLine line;
    if (!json) fmt::print("Computing, compared with the reference\n");
    measure::SelfTestOptions options;
    options.stop = &InterruptGuard::flag();
    options.on_result = [&](const SelfTestResult& result) {
      if (json) {
        line.show(fmt::format("testing {} {}", result.kernels, result.part));
      } else {
        print_result(result);
      }
    };
    results = measure::self_test(options);
  }
  const bool right = std::all_of(results.begin(), results.end(),
                                 [](const SelfTestResult& result) { return result.right(); });
  if (json) {
    print_json(to_json(results, advice, right));
  } else {
    print_advice(advice);
  }
  if (right) return;
  if (!json) {
    fmt::print(
        "This machine computes wrongly with the kernels above. HEARTH_CPU chooses others; "
        "please report it with the output of `hearth doctor --json`.\n");
  }
  throw QuietExit{ExitCode::kFailure};
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "doctor", "Check that this machine computes correctly, and what keeps it from being fast");
  command->footer(
      "Compares every set of kernels that can run here with the reference, on random shapes and in "
      "every format of weights and of keys and values. Then tells what is slow or wrong about the "
      "machine's setup, and what to do about it. Takes some seconds; measures no speeds (`hearth "
      "probe` does, and what it found is used).\n\n"
      "Examples:\n"
      "  hearth doctor\n"
      "  HEARTH_CPU=avx2 hearth doctor            these kernels only\n"
      "  hearth doctor --json\n"
      "\n"
      "Exit status:\n"
      "  0  computes correctly (there may be advice)    2    wrong usage\n"
      "  1  a computation is wrong, or it failed        130  interrupted\n");
  command->add_flag("--json", *json, "Print one JSON object");
  command->callback([json] { examine(*json); });
}

}  // namespace hearth::cli
