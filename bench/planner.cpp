// The planner's word against the machine: predicted and measured decode, prefill and memory of
// models with random weights. The engine's kernels are measured before and after each model, in the
// same process, because the bandwidth of a virtual machine changes from run to run; the prediction
// knows nothing else.
//
//   build/bench/planner [--rounds N] [--depth N] [--save FILE] SHAPE:TYPE…
//   build/bench/planner --replay FILE        predicts again what was measured and saved
//
// Without shapes: all of issue 5's first acceptance. The largest needs 12 GB of memory.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "machine/cpu.h"
#include "machine/memory.h"
#include "measure/kernel_speed.h"
#include "measure/model_bench.h"
#include "measure/samples.h"
#include "measure/shape_image.h"
#include "measure/shapes.h"
#include "plan/counted_workload.h"
#include "plan/estimate.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace hearth::bench {
namespace {

using Json = nlohmann::ordered_json;
using tensor::DType;

struct Options {
  std::vector<std::string> shapes;
  std::string save, replay;
  int rounds = 3;
  std::int64_t depth = 0;
};

Json to_json(const measure::KernelSpeeds& speeds) {
  Json json = Json::object();
  for (const machine::KernelSpeed& kernel : speeds.kernels) {
    json["kernels"][kernel.format] = {kernel.decode_bytes_per_second, kernel.prefill_multiply_adds};
  }
  const machine::EngineSpeed& e = speeds.engine;
  json["engine"] = {
      e.product_seconds,          e.operation_seconds,       e.attention_seconds,
      e.kv_bytes_per_second,      e.kv_multiply_adds,        e.row_values_per_second,
      e.stored_values_per_second, e.attention_multiply_adds, e.attention_values_per_second,
      e.scan_multiply_adds,       e.logits_per_second,       e.pack_bytes_per_second};
  for (const machine::ExpertSpeed& expert : e.experts) {
    json["experts"].push_back({expert.rows, expert.fraction});
  }
  return json;
}

/// The middle between two measurements.
machine::Machine machine_of(const Json& before, const Json& after) {
  machine::Machine machine;
  const auto mean = [](const Json& a, const Json& b) {
    return (a.get<double>() + b.get<double>()) / 2;
  };
  for (const auto& [format, speeds] : before["kernels"].items()) {
    const Json& later = after["kernels"][format];
    machine.kernels.push_back({format, mean(speeds[0], later[0]), mean(speeds[1], later[1])});
  }
  machine::EngineSpeed& e = machine.engine;
  double* const fields[] = {
      &e.product_seconds,          &e.operation_seconds,       &e.attention_seconds,
      &e.kv_bytes_per_second,      &e.kv_multiply_adds,        &e.row_values_per_second,
      &e.stored_values_per_second, &e.attention_multiply_adds, &e.attention_values_per_second,
      &e.scan_multiply_adds,       &e.logits_per_second,       &e.pack_bytes_per_second};
  for (std::size_t i = 0; i < std::size(fields); ++i) {
    *fields[i] = mean(before["engine"][i], after["engine"][i]);
  }
  for (std::size_t i = 0; i < before["experts"].size(); ++i) {
    const Json& a = before["experts"][i];
    e.experts.push_back({a[0].get<double>(), mean(a[1], after["experts"][i][1])});
  }
  machine.cpu.usable_cores = machine::usable_cores();
  machine.memory.available_bytes = machine::memory_facts().available;
  return machine;
}

measure::Shape shape_of(const std::string& word) {
  const std::size_t colon = word.find(':');
  const auto dtype =
      colon == std::string::npos ? DType::kQ4_K : tensor::dtype_from_name(word.substr(colon + 1));
  if (!dtype) throw Error("'" + printable(word) + "' names no type", "use for example Q4_K");
  return measure::known_shape(word.substr(0, colon), *dtype);
}

Json measure_shape(const std::string& word, const Options& options) {
  const measure::Shape shape = shape_of(word);
  measure::KernelPlan kernels;
  kernels.seconds = 1.5;
  kernels.formats = {DType::kQ4_K, DType::kQ8_0, DType::kF32};
  Json record = {{"shape", word}, {"depth", options.depth}};
  (void)measure::kernel_speeds(kernels);  // memory that was in use before is there sooner
  record["before"] = to_json(measure::kernel_speeds(kernels));
  {
    ThreadTeam team(machine::usable_cores());
    const measure::ShapeImage image(shape, team);
    measure::BenchModel model;
    model.open = [&] { return std::make_shared<gguf::File>(image.file()); };
    model.loaded = [&] { image.forget_pages(); };
    measure::BenchPlan plan;
    plan.generated = 32;
    plan.rounds = options.rounds;
    plan.depths = {options.depth};
    const measure::BenchResult result = measure::run_bench(model, {}, plan);
    const measure::BenchRow& row = result.rows.front();
    record["decode"] = row.decode_tps.median;
    record["decode_spread"] = row.decode_tps.spread;
    record["prefill"] = row.prefill_tps.median;
    record["read"] = row.read_bandwidth;
    record["load"] = result.load_seconds;
    record["context"] = result.context;
    record["memory"] = result.weights + result.kv + result.state + result.buffers + result.other;
  }
  record["after"] = to_json(measure::kernel_speeds(kernels));
  return record;
}

struct Errors {
  std::vector<double> decode, prefill, memory;
};

double percent(double predicted, double measured) { return 100 * (predicted / measured - 1); }

void compare(const Json& record, Errors& errors) {
  const std::string word = record["shape"];
  const plan::HeaderFile header(shape_of(word));
  const plan::Workload work = plan::counted_workload(header.file());
  plan::Conditions conditions;
  conditions.context = record["context"];
  conditions.depths = {record["depth"].get<std::int64_t>()};
  machine::Machine machine = machine_of(record["before"], record["after"]);
  machine.read_bytes_per_second = record["read"];
  const plan::Estimate estimate = plan::estimate(work, machine, conditions);
  const plan::SpeedAt& at = estimate.speeds.front();
  spec::Setup setup;
  setup.context = conditions.context;
  const double memory = plan::planned_memory(header.file(), setup).total();
  const double decode = record["decode"], prefill = record["prefill"];
  errors.decode.push_back(percent(at.decode.tps, decode));
  errors.prefill.push_back(percent(at.prefill.tps, prefill));
  errors.memory.push_back(percent(memory, record["memory"]));
  std::printf(
      "| %-21s | %4.1f | %6.1f | %6.1f | %+5.1f %% | %6.1f | %6.1f | %+5.1f %% | %6.0f | "
      "%+5.2f %% | %+5.1f %% |\n",
      word.c_str(), record["read"].get<double>() / 1e9, decode, at.decode.tps, errors.decode.back(),
      prefill, at.prefill.tps, errors.prefill.back(), record["memory"].get<double>() / 1e6,
      errors.memory.back(), percent(estimate.memory.total(), record["memory"]));
  std::fflush(stdout);
}

void summary(const char* what, const std::vector<double>& errors) {
  std::vector<double> sizes;
  for (const double error : errors) sizes.push_back(std::abs(error));
  std::printf("%s: median error %.1f %%, worst %.1f %%\n", what, measure::median(sizes),
              *std::max_element(sizes.begin(), sizes.end()));
}

void run(const Options& options) {
  std::vector<Json> records;
  std::vector<std::string> shapes = options.shapes;
  if (!options.replay.empty()) {
    std::ifstream file(options.replay);
    for (std::string line; std::getline(file, line);) records.push_back(Json::parse(line));
  } else if (shapes.empty()) {
    for (const char* name :
         {"lfm2-350m", "qwen3-0.6b", "llama3.2-1b", "qwen3-4b", "llama3-8b", "olmoe-7b-a1.3b"}) {
      for (const char* type : {":Q4_K", ":Q8_0"}) shapes.push_back(std::string(name) + type);
    }
  }
  std::printf(
      "| Shape | GB/s | Decode | predicted | off | Prefill 512 | predicted | off | MB | "
      "planned | estimated |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
  Errors errors;
  for (const std::string& shape : shapes) {
    records.push_back(measure_shape(shape, options));
    if (!options.save.empty()) {
      std::ofstream(options.save, std::ios::app) << records.back().dump() << "\n";
    }
    compare(records.back(), errors);
  }
  if (shapes.empty()) {
    for (const Json& record : records) compare(record, errors);
  }
  if (errors.decode.empty()) return;
  std::vector<double> speeds = errors.decode;
  speeds.insert(speeds.end(), errors.prefill.begin(), errors.prefill.end());
  summary("decode", errors.decode);
  summary("prefill", errors.prefill);
  summary("both", speeds);
  summary("memory", errors.memory);
}

Options options_of(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (!word.starts_with("--")) {
      options.shapes.push_back(word);
      continue;
    }
    if (i + 1 == count) throw Error("'" + printable(word) + "' lacks its value");
    const std::string value = words[++i];
    if (word == "--save") options.save = value;
    if (word == "--replay") options.replay = value;
    if (word == "--rounds") options.rounds = std::max(1, std::atoi(value.c_str()));
    if (word == "--depth") options.depth = std::max(0, std::atoi(value.c_str()));
  }
  return options;
}

}  // namespace
}  // namespace hearth::bench

int main(int count, char** words) {
  try {
    hearth::bench::run(hearth::bench::options_of(count, words));
    return 0;
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s\n%s\n", error.what(), error.hint().c_str());
    return static_cast<int>(error.exit_code());
  }
}
