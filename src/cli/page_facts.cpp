#include "cli/page_facts.h"

#include <algorithm>

#include "cli/main.h"
#include "cli/measurements.h"
#include "cli/this_machine.h"
#include "compute/cpu/cpu_backend.h"
#include "gguf/file.h"
#include "machine/cpu.h"
#include "machine/memory.h"
#include "measure/model_identity.h"
#include "measure/probe.h"
#include "support/elapsed.h"
#include "support/error.h"
#include "tensor/dtype.h"

namespace hearth::cli {
namespace {

std::string kind_name(const std::vector<std::string>& capabilities) {
  const auto can = [&](const char* what) {
    return std::find(capabilities.begin(), capabilities.end(), what) != capabilities.end();
  };
  if (can("embedding")) return "embedding";
  if (can("rerank")) return "rerank";
  return can("chat") ? "chat" : "completion";
}

std::optional<double> known(double speed) {
  return speed > 0 ? std::optional(speed) : std::nullopt;
}

std::vector<serve::PageMemoryPart> parts_of(const model::MemoryReport& memory) {
  std::vector<serve::PageMemoryPart> parts;
  const auto add = [&](const char* name, std::size_t bytes) {
    if (bytes > 0) parts.push_back({name, bytes});
  };
  add("weights", memory.weights);
  add("KV", memory.kv);
  add("state", memory.state);
  add("activations", memory.buffers);
  add("other", memory.other);
  add("mapped file", memory.mapped);
  return parts;
}

}  // namespace

LocalPageFacts::LocalPageFacts(serve::ModelManager& models, serve::FactsCache& facts,
                               const serve::HttpServer& server, spec::Setup setup)
    : models_(models),
      facts_(facts),
      server_(server),
      setup_(std::move(setup)),
      start_(std::chrono::steady_clock::now()) {
  const measure::CacheLook look = measure::look_into_cache(machine_cache_file());
  if (!look.usable) return;
  read_bytes_per_second_ = look.found.machine.read_bytes_per_second;
  processor_ = look.found.machine.cpu.name;
}

const LocalPageFacts::Planned& LocalPageFacts::planned(const serve::AvailableModel& model) {
  Planned& planned = planned_[model.path];
  if (planned.modified == model.modified && planned.modified != 0) return planned;
  planned = {};
  planned.modified = model.modified;
  try {
    const gguf::File file = gguf::File::open(model.path);
    plan::Conditions conditions;
    conditions.threads = setup_.threads;
    if (setup_.context > 0) conditions.context = setup_.context;
    planned.estimate = expectation(file, conditions);
    const measure::ModelIdentity identity = measure::identify_model(file);
    for (const measure::Measurement& row : earlier_measurements()) {
      if (!row.model.same_model(identity)) continue;
      if (planned.measured.decode == 0) planned.measured.decode = row.decode_tps.value_or(0);
      if (planned.measured.prefill == 0) planned.measured.prefill = row.prefill_tps.value_or(0);
    }
  } catch (const Error&) {
    // Without a plan the model is listed all the same.
  }
  return planned;
}

std::vector<serve::PageModel> LocalPageFacts::models() {
  const std::vector<serve::LoadedFacts> loaded = models_.loaded();
  std::vector<serve::PageModel> all;
  for (const serve::AvailableModel& model : models_.directory().list()) {
    const serve::ModelFacts facts = facts_.facts(model);
    serve::PageModel page;
    page.name = model.name;
    page.kind = kind_name(facts.capabilities);
    page.architecture = facts.family;
    page.type = facts.quantization;
    page.parameters = facts.parameters;
    page.file_bytes = facts.size;
    page.context = facts.serve_context > 0 ? facts.serve_context : facts.context;
    page.loaded = std::any_of(loaded.begin(), loaded.end(), [&](const auto& each) {
      return each.path == model.path && each.model != nullptr;
    });
    const auto can = [&](const char* what) {
      return std::find(facts.capabilities.begin(), facts.capabilities.end(), what) !=
             facts.capabilities.end();
    };
    page.thinks = can("thinking");
    page.tools = can("tools");
    const std::lock_guard lock(mutex_);
    const Planned& plan = planned(model);
    page.measured_decode_tps = known(plan.measured.decode);
    page.measured_prefill_tps = known(plan.measured.prefill);
    if (plan.estimate) {
      page.fits = plan.estimate->fits;
      page.memory_bytes = static_cast<std::uint64_t>(plan.estimate->memory.total());
      if (!plan.estimate->speeds.empty()) {
        page.expected_decode_tps = known(plan.estimate->speeds.front().decode.tps);
        page.expected_prefill_tps = known(plan.estimate->speeds.front().prefill.tps);
      }
    }
    all.push_back(std::move(page));
  }
  return all;
}

serve::PageStatus LocalPageFacts::status() {
  serve::PageStatus status;
  status.version = kVersion;
  status.processor = processor_;
  status.cores = machine::usable_cores();
  status.threads = setup_.threads > 0 ? setup_.threads : status.cores;
  status.instruction_set = compute::chosen_cpu_instruction_set();
  const machine::MemoryFacts memory = machine::memory_facts();
  status.memory_bytes = memory.total;
  status.memory_available_bytes = memory.available;
  status.process_bytes = machine::process_memory().resident;
  status.read_bytes_per_second = read_bytes_per_second_;
  status.uptime_seconds = seconds_since(start_);
  status.connections = static_cast<int>(server_.counters().connections);
  for (const serve::LoadedFacts& each : models_.loaded()) {
    if (!each.model) continue;
    serve::PageLoadedModel page;
    page.name = each.name;
    page.memory = parts_of(each.model->model().memory());
    page.context = each.model->context();
    page.unload_in_seconds = each.expires_in;
    if (each.model->kind() == serve::ModelKind::kGenerates) {
      page.work = each.model->scheduler().statistics();
      page.parallel = each.model->scheduler().limits().parallel;
    }
    page.kv_type = each.model->kv_name();
    status.models.push_back(std::move(page));
  }
  return status;
}

}  // namespace hearth::cli
