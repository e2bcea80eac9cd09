#include "cli/up_shapes.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <memory>
#include <optional>

#include "cli/measurements.h"
#include "machine/cpu.h"
#include "measure/model_bench.h"
#include "measure/shape_image.h"
#include "measure/shapes.h"
#include "plan/counted_workload.h"
#include "plan/estimate.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace hearth::cli {
namespace {

/// Smallest first: what a person would choose on small machines. The first is only timed where the
/// others are too large.
constexpr std::string_view kShapes[] = {"lfm2-350m", "qwen3-0.6b", "llama3.2-1b"};
constexpr tensor::DType kType = tensor::DType::kQ4_K;
/// No further shape is begun after this: the whole must end in half a minute.
constexpr std::chrono::seconds kEnough{12};

/// The weights as stored and as packed, and the random bytes they are made of.
double memory_of(const measure::Shape& shape) {
  return 1.15 * static_cast<double>(shape.data_bytes) + 2.0 * measure::ShapeImage::kPeriod;
}

std::optional<plan::Estimate> expected_of(const measure::Shape& shape,
                                          const machine::Machine& machine,
                                          const measure::BenchPlan& bench) {
  try {
    const plan::HeaderFile header(shape);
    plan::Conditions conditions;
    conditions.context = bench.prompt + bench.generated;
    conditions.prompt = bench.prompt;
    conditions.depths = {0};
    return plan::estimate(plan::counted_workload(header.file()), machine, conditions);
  } catch (const Error&) {
    return std::nullopt;  // nothing is known of this machine: it is being found out
  }
}

MeasuredShape measure_shape(const measure::Shape& shape, const machine::Machine& machine,
                            const measure::BenchPlan& plan) {
  ThreadTeam team(machine::usable_cores());
  const measure::ShapeImage image(shape, team);
  measure::ModelIdentity identity;
  measure::BenchModel model;
  model.open = [&] {
    auto file = std::make_shared<gguf::File>(image.file());
    identity = measure::identify_model(*file);
    return file;
  };
  model.loaded = [&] { image.forget_pages(); };
  const spec::Setup setup;
  const measure::BenchResult result = measure::run_bench(model, setup, plan);
  const measure::BenchRow& row = result.rows.front();
  MeasuredShape measured;
  measured.name = shape.name;
  measured.type = result.type;
  measured.file_bytes = static_cast<double>(result.file_bytes);
  measured.decode_tps = row.decode_tps.median;
  measured.prefill_tps = row.prefill_tps.median;
  measured.memory_bytes = static_cast<double>(result.weights + result.kv + result.state +
                                              result.buffers + result.other);
  measured.rows = bench_measurements(identity, setup, result, plan,
                                     expected_of(shape, machine, plan), std::time(nullptr));
  return measured;
}

}  // namespace

std::vector<MeasuredShape> measure_shapes(const machine::Machine& machine,
                                          const std::atomic<bool>* cancel,
                                          const std::function<void(std::string_view)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  measure::BenchPlan plan;
  plan.prompt = 128;
  plan.generated = 32;
  plan.rounds = 3;
  plan.probe_bytes = std::size_t{64} << 20;
  plan.probe_seconds = 0.01;
  plan.cancel = cancel;
  std::vector<MeasuredShape> measured;
  const double free = 0.8 * static_cast<double>(machine.memory.available_bytes);
  std::vector<measure::Shape> fitting;
  for (const std::string_view name : kShapes) {
    measure::Shape shape = measure::known_shape(name, kType);
    if (memory_of(shape) <= free) fitting.push_back(std::move(shape));
  }
  for (std::size_t i = fitting.size() > 1 ? 1 : 0; i < fitting.size(); ++i) {
    if (!measured.empty() && std::chrono::steady_clock::now() - start > kEnough) break;
    if (progress) progress(fmt::format("timing {} with random weights", fitting[i].name));
    measured.push_back(measure_shape(fitting[i], machine, plan));
  }
  return measured;
}

}  // namespace hearth::cli
