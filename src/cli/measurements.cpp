#include "cli/measurements.h"

#include <fmt/format.h>

#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

#include "cli/config.h"
#include "cli/main.h"
#include "cli/said.h"
#include "cli/this_machine.h"
#include "compute/cpu/cpu_backend.h"
#include "machine/cpu.h"
#include "machine/memory.h"
#include "measure/probe.h"
#include "plan/correction.h"
#include "plan/counted_workload.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using measure::Measurement;
using measure::MeasurementStore;

/// What all rows of one model and setup have in common.
Measurement row_of(const measure::ModelIdentity& model, const spec::Setup& setup,
                   std::int64_t now) {
  Measurement row;
  row.taken_at = now;
  row.machine = this_machine_fingerprint();
  row.version = kVersion;
  row.model = model;
  row.threads = setup.threads > 0 ? setup.threads : machine::usable_cores();
  row.kv_type = setup.kv_type.name();
  row.context = setup.context;
  row.exact = setup.exact;
  row.mapped = setup.mapped;
  return row;
}

/// A prompt and an answer are expected at the depths where they begin.
void expect(Measurement& row, const std::optional<plan::Estimate>& expected) {
  if (!expected) return;
  row.expected_prefill_tps =
      row.prefill_tps ? plan::prefill_tps_at(*expected, row.depth) : std::nullopt;
  const std::int64_t depth = row.depth + row.prompt_tokens + row.generated_tokens / 2;
  row.expected_decode_tps = row.decode_tps ? plan::decode_tps_at(*expected, depth) : std::nullopt;
}

}  // namespace

std::filesystem::path measurements_path() { return user_folders().state / "measurements.db"; }

std::string this_machine_fingerprint() {
  return measure::machine_fingerprint(machine::cpu_name(), machine::usable_cores(),
                                      machine::memory_facts().total,
                                      compute::chosen_cpu_instruction_set());
}

bool measurements_allowed() {
  const char* value = std::getenv("HEARTH_NO_MEASUREMENTS");
  return value == nullptr || *value == '\0' || std::string_view(value) == "0";
}

std::vector<Measurement> earlier_measurements() {
  try {
    const std::optional<MeasurementStore> store =
        MeasurementStore::open_existing(measurements_path(), tell);
    if (store) return store->find({.machine = this_machine_fingerprint()});
  } catch (const Error&) {
    return {};  // as documented
  }
  return {};
}

void keep_measurements(const std::vector<Measurement>& rows) {
  if (rows.empty() || !measurements_allowed()) return;
  try {
    MeasurementStore store = MeasurementStore::open(measurements_path(), tell);
    for (const Measurement& row : rows) store.add(row);
  } catch (const Error&) {
    return;  // as documented
  }
}

std::optional<plan::Estimate> expectation(const gguf::File& file, plan::Conditions conditions) {
  try {
    const measure::CacheLook look = measure::look_into_cache(machine_cache_file());
    if (!look.usable) return std::nullopt;
    return plan::estimate(plan::counted_workload(file), look.found.machine, conditions);
  } catch (const Error&) {
    return std::nullopt;  // a comparison less
  }
}

measure::ModelIdentity identity_of(const plan::CatalogModel& model, const std::string& quant) {
  measure::ModelIdentity identity;
  identity.architecture = model.architecture;
  identity.parameters = static_cast<std::uint64_t>(model.parameters);
  identity.type = quant;
  return identity;
}

plan::Correction correction_here(const plan::Estimate& estimate, measure::ModelIdentity model,
                                 std::string kv_type, std::span<const Measurement> rows) {
  plan::CorrectionSubject subject;
  subject.model = std::move(model);
  subject.version = kVersion;
  subject.threads = machine::usable_cores();
  subject.kv_type = std::move(kv_type);
  return plan::correction(estimate, subject, rows, std::time(nullptr));
}

std::vector<Measurement> bench_measurements(const measure::ModelIdentity& model,
                                            const spec::Setup& setup,
                                            const measure::BenchResult& result,
                                            const measure::BenchPlan& plan,
                                            const std::optional<plan::Estimate>& expected,
                                            std::int64_t now) {
  std::vector<Measurement> rows;
  spec::Setup used = setup;
  used.threads = result.threads;
  used.kv_type = result.kv_type;
  used.context = result.context;
  for (const measure::BenchRow& bench : result.rows) {
    if (bench.batch != 1) continue;
    Measurement row = row_of(model, used, now);
    row.source = "bench";
    row.depth = bench.depth;
    row.read_bytes_per_second = bench.read_bandwidth;
    if (plan.prompt >= AnswerLog::kLeastPrompt) {
      Measurement prompt = row;
      prompt.prompt_tokens = plan.prompt;
      prompt.prefill_tps = bench.prefill_tps.median;
      expect(prompt, expected);
      rows.push_back(std::move(prompt));
    }
    if (plan.generated >= AnswerLog::kLeastGenerated) {
      row.generated_tokens = plan.generated;
      row.decode_tps = bench.decode_tps.median;
      expect(row, expected);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::optional<Measurement> answer_measurement(const measure::ModelIdentity& model,
                                              const spec::Setup& setup,
                                              const generate::GenerateResult& result,
                                              const std::optional<plan::Estimate>& expected,
                                              std::int64_t now) {
  Measurement row = row_of(model, setup, now);
  row.source = "run";
  row.depth = result.reused_tokens;
  row.prompt_tokens = result.prompt_tokens - result.reused_tokens;
  row.generated_tokens = result.generated_tokens;
  // A shift evaluates half of the context anew in between, and what is read from a disk says
  // nothing about the model.
  if (result.shifts > 0 || setup.kv_budget > 0) return std::nullopt;
  if (row.prompt_tokens >= AnswerLog::kLeastPrompt && result.prompt_seconds > 0)
    row.prefill_tps = static_cast<double>(row.prompt_tokens) / result.prompt_seconds;
  // The first token comes with the prompt.
  if (row.generated_tokens >= AnswerLog::kLeastGenerated && result.generate_seconds > 0)
    row.decode_tps = static_cast<double>(row.generated_tokens - 1) / result.generate_seconds;
  if (!row.prefill_tps && !row.decode_tps) return std::nullopt;
  expect(row, expected);
  return row;
}

void AnswerLog::answered(const model::LoadedModel& model, const generate::GenerateResult& result,
                         bool keep) {
  if (result.generated_tokens >= kLeastGenerated && result.shifts == 0) {
    passes_ += result.generated_tokens - 1;
    seconds_ += result.generate_seconds;
  }
  if (!keep) return;
  if (!identity_) identity_ = measure::identify_model(model.file());
  const std::optional<Measurement> row =
      answer_measurement(*identity_, model.setup(), result,
                         promise_ ? promise_->estimate : std::nullopt, std::time(nullptr));
  if (row) keep_measurements({*row});
}

std::string AnswerLog::comparison() const {
  if (!promise_ || promise_->decode_tps <= 0 || passes_ == 0 || seconds_ <= 0) return {};
  return fmt::format("expected {}, measured {} tok/s", speed_text(promise_->decode_tps),
                     speed_text(static_cast<double>(passes_) / seconds_));
}

std::string speed_text(double tokens_per_second) {
  return tokens_per_second >= 10 ? fmt::format("{:.0f}", tokens_per_second)
                                 : fmt::format("{:.1f}", tokens_per_second);
}

}  // namespace hearth::cli
