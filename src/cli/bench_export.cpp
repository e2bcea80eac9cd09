#include "cli/bench_export.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/main.h"
#include "cli/measurements.h"
#include "machine/cpu.h"
#include "machine/memory.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

Json when(bool present, double value) { return present ? Json(value) : Json(nullptr); }

std::string day(std::int64_t now) {
  const std::time_t seconds = now;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
  return text;
}

Json row_json(const measure::BenchRow& row, const measure::BenchPlan& plan) {
  const bool prefill = plan.prompt > 0, decode = plan.generated > 0;
  return {{"depth", row.depth},
          {"batch", row.batch},
          {"prefill_tps", when(prefill, row.prefill_tps.median)},
          {"prefill_spread", when(prefill, row.prefill_tps.spread)},
          {"decode_tps", when(decode, row.decode_tps.median)},
          {"decode_spread", when(decode, row.decode_tps.spread)},
          {"pass_weight_bytes", row.pass_weight_bytes},
          {"pass_kv_bytes", row.pass_kv_bytes},
          {"rss_bytes", row.rss_bytes},
          {"read_gbs", row.read_bandwidth / 1e9},
          {"int8_gmacs", when(row.int8_peak > 0, row.int8_peak / 1e9)},
          {"bf16_gmacs", when(row.bf16_peak > 0, row.bf16_peak / 1e9)},
          {"f32_gmacs", when(row.f32_peak > 0, row.f32_peak / 1e9)}};
}

}  // namespace

std::string bench_export(const measure::ModelIdentity& model, const spec::Setup& setup,
                         const measure::BenchResult& result, const measure::BenchPlan& plan,
                         std::int64_t now) {
  Json rows = Json::array();
  for (const measure::BenchRow& row : result.rows) rows.push_back(row_json(row, plan));
  const Json json = {
      {"hearth_bench", 1},
      {"version", kVersion},
      {"day", day(now)},
      {"machine",
       {{"fingerprint", this_machine_fingerprint()},
        {"cpu", printable(machine::cpu_name())},
        {"cores", machine::usable_cores()},
        {"memory_gib", static_cast<double>(machine::memory_facts().total >> 20) / 1024},
        {"kernels", result.kernels}}},
      {"model",
       {{"name", model.name},
        {"architecture", model.architecture},
        {"parameters", model.parameters},
        {"type", model.type},
        {"file_bytes", model.file_bytes}}},
      {"setup",
       {{"threads", result.threads},
        {"kv_type", result.kv_type.name()},
        {"context", result.context},
        {"exact", setup.exact},
        {"mapped", setup.mapped}}},
      {"prompt", plan.prompt},
      {"generated", plan.generated},
      {"rounds", plan.rounds},
      {"load_ms", result.load_seconds * 1e3},
      {"memory_bytes", result.weights + result.kv + result.state + result.buffers + result.other},
      {"rows", std::move(rows)},
  };
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hearth::cli
