// The planner's word against the machine: predicted and measured decode, prefill and memory of
// models with random weights. The engine's kernels are measured before every round of a model and
// after the last, in the same process, because the bandwidth of a virtual machine changes from run
// to run; the prediction knows nothing else.
//
//   build/bench/planner [--rounds N] [--depth N] [--save FILE] SHAPE:TYPE…
//   build/bench/planner --replay FILE        predicts again what was measured and saved
//
// "Others" is how much of one processor other programs had meanwhile. Without shapes: all of issue
// 5's first acceptance. The largest needs 12 GB of memory.
#include <sys/times.h>
#include <unistd.h>

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

/// In the order in which they are saved.
constexpr double machine::EngineSpeed::*kEngineFields[] = {
    &machine::EngineSpeed::product_seconds,
    &machine::EngineSpeed::operation_seconds,
    &machine::EngineSpeed::attention_seconds,
    &machine::EngineSpeed::kv_bytes_per_second,
    &machine::EngineSpeed::kv_multiply_adds,
    &machine::EngineSpeed::row_values_per_second,
    &machine::EngineSpeed::stored_values_per_second,
    &machine::EngineSpeed::attention_multiply_adds,
    &machine::EngineSpeed::attention_values_per_second,
    &machine::EngineSpeed::scan_multiply_adds,
    &machine::EngineSpeed::logits_per_second,
    &machine::EngineSpeed::pack_bytes_per_second,
    &machine::EngineSpeed::expert_decode_fraction};

Json to_json(const measure::KernelSpeeds& speeds) {
  Json json = Json::object();
  for (const machine::KernelSpeed& kernel : speeds.kernels) {
    json["kernels"][kernel.format] = {kernel.decode_bytes_per_second, kernel.prefill_multiply_adds};
  }
  for (const auto field : kEngineFields) json["engine"].push_back(speeds.engine.*field);
  for (const machine::ExpertSpeed& expert : speeds.engine.experts) {
    json["experts"].push_back({expert.rows, expert.fraction});
  }
  return json;
}

/// The middle of several measurements. The host of a virtual machine sometimes runs both of its
/// processors on one core: measurements at less than 0.7 of `peak` (multiply-adds of floats per
/// second, measured between the rounds of the model; 0: the best of these measurements) are left
/// out.
machine::Machine machine_of(const Json& given, double peak) {
  machine::Machine machine;
  const auto floats = [](const Json& each) { return each["kernels"]["F32"][1].get<double>(); };
  if (peak == 0) {
    for (const Json& each : given) peak = std::max(peak, floats(each));
  }
  Json all = Json::array();
  for (const Json& each : given) {
    if (floats(each) > 0.7 * peak) all.push_back(each);
  }
  if (all.empty()) all = given;
  const auto middle = [&](auto part) {
    std::vector<double> values;
    for (const Json& each : all) values.push_back(part(each).template get<double>());
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  };
  for (const auto& [format, speeds] : all[0]["kernels"].items()) {
    const auto column = [&](int i) {
      return middle([&](const Json& each) { return each["kernels"][format][i]; });
    };
    machine.kernels.push_back({format, column(0), column(1)});
  }
  machine::EngineSpeed& e = machine.engine;
  for (std::size_t i = 0; i < std::size(kEngineFields); ++i) {
    e.*kEngineFields[i] = middle([i](const Json& each) { return each["engine"][i]; });
  }
  for (std::size_t i = 0; i < all[0]["experts"].size(); ++i) {
    e.experts.push_back({all[0]["experts"][i][0].get<double>(),
                         middle([i](const Json& each) { return each["experts"][i][1]; })});
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

/// Seconds that processors spent on anything (stolen by the host included), and of these on us.
struct Busy {
  double all = 0, own = 0;
  /// Of others, since `before`.
  [[nodiscard]] double without(const Busy& before) const {
    return all - before.all - (own - before.own);
  }
};
Busy busy() {
  std::ifstream stat("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
  stat >> name >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal;
  tms own{};
  (void)times(&own);
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return {(user + nice + system + irq + soft + steal) / ticks,
          static_cast<double>(own.tms_utime + own.tms_stime) / ticks};
}

Json measure_shape(const std::string& word, const Options& options) {
  const measure::Shape shape = shape_of(word);
  const Busy busy_before = busy();
  const double start = measure::now();
  measure::KernelPlan kernels;
  kernels.seconds = 1.4;
  kernels.formats = {DType::kQ4_K, DType::kQ8_0, DType::kF32, DType::kQ6_K};
  Json record = {{"shape", word}, {"depth", options.depth}};
  const auto probe = [&] {
    // Again when others took more of a processor than a seventh.
    for (int tries = 0;; ++tries) {
      const Busy before = busy();
      const double begin = measure::now();
      Json speeds = to_json(measure::kernel_speeds(kernels));
      const Busy after = busy();
      const double seconds = measure::now() - begin;
      const double others = after.without(before) / seconds;
      speeds["others"] = others;
      speeds["own"] = (after.own - before.own) / seconds;
      if (others > 0.15 && tries < 3) continue;
      record["speeds"].push_back(std::move(speeds));
      return;
    }
  };
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
    plan.on_progress = [&](std::string_view what) {
      if (what.starts_with("round") || what.starts_with("warming")) probe();
    };
    const measure::BenchResult result = measure::run_bench(model, {}, plan);
    const measure::BenchRow& row = result.rows.front();
    record["decode"] = row.decode_tps.median;
    record["decode_spread"] = row.decode_tps.spread;
    record["prefill"] = row.prefill_tps.median;
    record["read"] = row.read_bandwidth;
    record["f32"] = row.f32_peak;
    record["load"] = result.load_seconds;
    record["context"] = result.context;
    record["memory"] = result.weights + result.kv + result.state + result.buffers + result.other;
  }
  probe();
  const Busy busy_after = busy();
  record["others"] = busy_after.without(busy_before) / (measure::now() - start);
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
  machine::Machine machine = machine_of(record["speeds"], record.value("f32", 0.0));
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
      "%+5.2f %% | %+5.1f %% | %4.2f |\n",
      word.c_str(), record["read"].get<double>() / 1e9, decode, at.decode.tps, errors.decode.back(),
      prefill, at.prefill.tps, errors.prefill.back(), record["memory"].get<double>() / 1e6,
      errors.memory.back(), percent(estimate.memory.total(), record["memory"]),
      record.value("others", 0.0));
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
