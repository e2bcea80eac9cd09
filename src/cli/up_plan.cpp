#include "cli/up_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "cli/main.h"
#include "cli/plan_table.h"
#include "cli/planning.h"
#include "cli/words.h"
#include "gguf/file.h"
#include "machine/cpu.h"
#include "measure/model_identity.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "plan/catalog.h"
#include "plan/counted_workload.h"
#include "plan/recommend.h"
#include "plan/uses.h"
#include "support/ascii.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

/// A default context is not made smaller than this: then the model does not fit.
constexpr std::int64_t kLeastContext = 1024;
constexpr std::int64_t kPlannedPrompt = 512;

plan::Conditions conditions_of(const UpPlan& plan) {
  plan::Conditions conditions;
  conditions.kv_type = plan.kv_type;
  conditions.context = plan.context;
  conditions.prompt = std::min(kPlannedPrompt, plan.context);
  conditions.threads = plan.threads;
  conditions.depths = {0};
  for (const std::int64_t depth : {std::int64_t{4096}, std::int64_t{32768}}) {
    if (depth < plan.context) conditions.depths.push_back(depth);
  }
  if (plan.kv_budget > 0) {
    conditions.kv_budget = plan.kv_budget;
    conditions.kv_disk = plan.kv_disk.bytes;
    conditions.end_at_context();
  }
  return conditions;
}

void take_options(UpPlan& plan, const RunOptions& options) {
  plan.kv_type = kv_format(options).name();
  plan.threads = options.threads;
  plan.exact = options.exact;
  plan.mapped = options.mapped;
  plan.rope_scaling = options.rope_scaling;
  plan.kv_budget = options.kv_budget;
  plan.kv_disk = options.kv_disk;
  plan.kv_disk_key = options.kv_disk_key;
}

/// What is run.
spec::Setup setup_of(const UpPlan& plan) {
  spec::Setup setup;
  setup.context = plan.context;
  setup.threads = plan.threads;
  setup.kv_type = spec::parse_kv_format(plan.kv_type);
  setup.snapshots = -1;
  setup.exact = plan.exact;
  setup.mapped = plan.mapped;
  setup.rope_scaling = plan.rope_scaling;
  setup.kv_budget = plan.kv_budget;
  if (plan.kv_budget > 0) {
    setup.spill_folder = plan.kv_disk.folder;
    setup.spill_bytes = plan.kv_disk.bytes;
  }
  return setup;
}

std::int64_t now_seconds() { return std::time(nullptr); }

plan::CorrectionSubject subject_of(const UpPlan& plan, measure::ModelIdentity model) {
  plan::CorrectionSubject subject;
  subject.model = std::move(model);
  subject.version = kVersion;
  subject.threads = plan.threads > 0 ? plan.threads : machine::usable_cores();
  subject.kv_type = plan.kv_type;
  subject.exact = plan.exact;
  subject.mapped = plan.mapped;
  return subject;
}

std::string tokens_text(std::int64_t tokens) {
  return fmt::format("{} token{}", tokens, tokens == 1 ? "" : "s");
}

[[noreturn]] void refuse_size(const UpPlan& plan, const machine::Machine& machine) {
  if (!plan.estimate.kv_fits) {
    throw Error(
        fmt::format("the budget of {}, or the disk beside it, is too small for the keys and "
                    "values of {} of {}",
                    size_text(static_cast<double>(plan.kv_budget)), tokens_text(plan.context),
                    printable(plan.name)),
        "use a larger --kv-budget or --kv-disk, a smaller --ctx or --kv tq4",
        ExitCode::kDoesNotFit);
  }
  std::int64_t fitting = plan.estimate.largest_context;
  // Nobody wants one beyond what the model was trained with.
  if (plan.trained_context > 0) fitting = std::min(fitting, plan.trained_context);
  throw Error(
      fmt::format("{} does not fit: it needs {} with a context of {} (weights {}), and {} of {} "
                  "are free",
                  printable(plan.name), size_text(plan.estimate.memory.total()),
                  tokens_text(plan.context), size_text(plan.estimate.memory.weights),
                  size_text(static_cast<double>(machine.memory.available_bytes)),
                  size_text(static_cast<double>(machine.memory.total_bytes))),
      fitting >= kLeastContext
          ? fmt::format("a context of {} would fit: --ctx {}", fitting, fitting)
          : "close other programs, or see with `hearth plan` what fits",
      ExitCode::kDoesNotFit);
}

/// The loader refuses to run what has no place, and so does the plan.
void require_kv_folder(const UpPlan& plan) {
  if (plan.estimate.memory.disk <= 0 || !plan.kv_disk.folder.empty()) return;
  throw Error(
      fmt::format("keys and values of {} take more than the budget of {}",
                  tokens_text(plan.context), size_text(static_cast<double>(plan.kv_budget))),
      "name a folder for the rest with --kv-disk DIR:SIZE, or use a larger --kv-budget, a "
      "smaller --ctx or --kv tq4",
      ExitCode::kDoesNotFit);
}

void take_exact_memory(UpPlan& plan, const gguf::File& file, const machine::Machine& machine) {
  plan.estimate.memory = plan::planned_memory(file, setup_of(plan));
  plan.estimate.fits =
      plan.estimate.memory.total() <= static_cast<double>(machine.memory.available_bytes);
}

/// Speeds are unknown where this machine's are; then, and where a budget decides what is in memory
/// at all, the memory is the loader's own plan.
void estimate_file(UpPlan& plan, const gguf::File& file, const machine::Machine& machine) {
  plan.estimate = {};
  bool exact = plan.kv_budget > 0;
  try {
    plan.estimate = plan::estimate(plan::counted_workload(file), machine, conditions_of(plan));
  } catch (const Error&) {
    exact = true;
  }
  if (exact) take_exact_memory(plan, file, machine);
  require_kv_folder(plan);
}

UpPlan plan_of(const plan::Candidate& candidate, const machine::Machine& machine,
               const RunOptions& options, const std::vector<measure::Measurement>& earlier) {
  UpPlan plan;
  take_options(plan, options);
  plan.name = candidate.model->name;
  plan.quant = candidate.quant.name;
  plan.reference = fmt::format("{}:{}", plan.name, plan.quant);
  plan.why = plan::why(candidate, machine);
  plan.file_bytes = candidate.quant.bytes;
  plan.context = candidate.context;
  plan.trained_context = candidate.model->context;
  plan.estimate = candidate.estimate;
  require_kv_folder(plan);
  plan.correction =
      plan::correction(plan.estimate, subject_of(plan, identity_of(*candidate.model, plan.quant)),
                       earlier, now_seconds());
  return plan;
}

plan::Request request_of(const std::string& use, const RunOptions& options) {
  plan::Request request;
  request.use = use;
  request.context = options.context;
  request.kv_type = kv_format(options).name();
  request.kv_budget = options.kv_budget;
  request.kv_disk = options.kv_disk.bytes;
  return request;
}

bool good(const plan::Candidate& candidate) { return candidate.fits && candidate.fast_enough; }

/// Models without GGUF files anywhere are of no use here.
bool can_be_fetched(const plan::Candidate& candidate) {
  return !candidate.model->repositories.empty();
}

std::string range_text(const plan::Speed& speed) {
  if (speed.low <= 0 || speed.high <= speed.low) return {};
  return fmt::format(" ({} to {})", speed_text(speed.low), speed_text(speed.high));
}

std::string machine_line(const machine::Machine& machine, std::int64_t now) {
  std::string line = "Machine: " + machine_words(machine);
  if (machine.limits.memory_bytes > 0) {
    line += fmt::format(
        "; memory is limited to {} by {}",
        size_text(static_cast<double>(machine.limits.memory_bytes)),
        machine.limits.container.empty() ? "a control group" : printable(machine.limits.container));
  }
  if (machine.measured_at > 0)
    line += fmt::format("; measured {}", age_text(now - machine.measured_at));
  return line + ".";
}

std::string memory_line(const UpPlan& plan) {
  const plan::MemoryNeed& memory = plan.estimate.memory;
  std::string line =
      fmt::format("Memory:  {} with a context of {}: weights {}, context {}, buffers {}",
                  size_text(memory.total()), tokens_text(plan.context), size_text(memory.weights),
                  size_text(memory.kv + memory.state), size_text(memory.buffers));
  if (memory.disk > 0) line += fmt::format("; {} of the context on disk", size_text(memory.disk));
  if (plan.estimate.largest_context > plan.context && plan.context < plan.trained_context)
    line += fmt::format("; up to {} would fit",
                        tokens_text(std::min(plan.estimate.largest_context, plan.trained_context)));
  return line + ".";
}

std::string speed_line(const UpPlan& plan) {
  const plan::Estimate expected = plan.expected();
  if (expected.speeds.empty()) return "Speed:   not known for this machine.";
  const plan::SpeedAt& first = expected.speeds.front();
  std::string line = fmt::format("Speed:   writes {} tok/s{}, limited by {}; reads {} tok/s",
                                 speed_text(first.decode.tps), range_text(first.decode),
                                 first.decode.limited_by, speed_text(first.prefill.tps));
  for (const plan::SpeedAt& at : expected.speeds) {
    if (plan.estimate.memory.disk <= 0 || at.depth + 1 != plan.context) continue;
    line += fmt::format("; {} tok/s at the end of the context, limited by {}",
                        speed_text(at.decode.tps), at.decode.limited_by);
  }
  if (expected.first_token_seconds > 0)
    line += fmt::format("; first word after {:.1f} s", expected.first_token_seconds);
  if (!plan.correction.note.empty()) line += "; " + plan.correction.note;
  return line + ".";
}

}  // namespace

UpPlan plan_file(const std::filesystem::path& path, const std::string& why,
                 const machine::Machine& machine, const RunOptions& options,
                 const std::vector<measure::Measurement>& earlier) {
  const gguf::File file = gguf::File::open(path);
  const measure::ModelIdentity identity = measure::identify_model(file);
  UpPlan plan;
  take_options(plan, options);
  plan.path = path;
  plan.name = identity.name.empty() ? path.stem().string() : identity.name;
  plan.quant = identity.type;
  plan.why = why;
  plan.file_bytes = static_cast<double>(identity.file_bytes);
  const spec::ModelSpec spec = model::describe_model(file, {0, options.rope_scaling});
  plan.trained_context = spec.context_length;
  plan.context = options.context > 0 ? options.context : model::default_context(spec);
  estimate_file(plan, file, machine);
  if (!plan.estimate.fits && options.context == 0 &&
      plan.estimate.largest_context >= std::min(kLeastContext, plan.context)) {
    plan.context = plan.estimate.largest_context;
    estimate_file(plan, file, machine);
  }
  if (!plan.estimate.fits) refuse_size(plan, machine);
  plan.correction =
      plan::correction(plan.estimate, subject_of(plan, identity), earlier, now_seconds());
  return plan;
}

UpPlan plan_catalog(const std::string& use, const machine::Machine& machine,
                    const RunOptions& options, const std::vector<measure::Measurement>& earlier) {
  const plan::Catalog catalog = planned_catalog();
  const plan::Uses uses = plan::builtin_uses();
  const plan::Ranking ranking = plan::rank(catalog, uses, machine, request_of(use, options));
  const plan::Candidate* smallest = nullptr;
  for (const plan::Candidate& candidate : ranking.candidates) {
    if (!can_be_fetched(candidate)) continue;
    if (good(candidate)) return plan_of(candidate, machine, options, earlier);
    if (smallest == nullptr ||
        candidate.estimate.memory.total() < smallest->estimate.memory.total())
      smallest = &candidate;
  }
  if (smallest == nullptr) {
    throw Error(
        fmt::format("the catalog has no model for '{}' that can be fetched", printable(use)),
        "name another use, or a model", ExitCode::kUsage);
  }
  throw Error(fmt::format("no model of the catalog runs well here: the smallest, {} {}, {}",
                          printable(smallest->model->name), printable(smallest->quant.name),
                          printable(smallest->trouble, 300)),
              "close other programs, or see `hearth plan --why`", ExitCode::kDoesNotFit);
}

std::vector<UpPlan> plan_choices(const std::string& use, const machine::Machine& machine,
                                 const RunOptions& options,
                                 const std::vector<measure::Measurement>& earlier,
                                 std::size_t most) {
  const plan::Catalog catalog = planned_catalog();
  const plan::Uses uses = plan::builtin_uses();
  const plan::Ranking ranking = plan::rank(catalog, uses, machine, request_of(use, options));
  std::vector<UpPlan> plans;
  for (const plan::Candidate& candidate : ranking.candidates) {
    if (plans.size() == most) break;
    if (good(candidate) && can_be_fetched(candidate))
      plans.push_back(plan_of(candidate, machine, options, earlier));
  }
  return plans;
}

std::optional<UpPlan> plan_catalog_model(const std::string& name, const std::string& use,
                                         const machine::Machine& machine, const RunOptions& options,
                                         const std::vector<measure::Measurement>& earlier) {
  const std::size_t colon = name.find(':');
  const plan::Catalog catalog = planned_catalog();
  const plan::CatalogModel* const model = catalog.find(name.substr(0, colon));
  if (model == nullptr) return std::nullopt;
  const plan::Uses uses = plan::builtin_uses();
  std::vector<plan::Candidate> candidates =
      plan::consider_all(*model, uses, uses.use(use), machine, request_of(use, options));
  if (colon != std::string::npos) {
    const std::string quant = name.substr(colon + 1);
    std::erase_if(candidates, [&](const plan::Candidate& c) { return c.quant.name != quant; });
  }
  if (candidates.empty()) return std::nullopt;
  UpPlan plan = plan_of(candidates.front(), machine, options, earlier);
  plan.why = "asked for; " + plan.why;
  if (!plan.estimate.fits) refuse_size(plan, machine);
  return plan;
}

std::vector<std::string> plan_lines(const UpPlan& plan, const machine::Machine& machine,
                                    std::int64_t now) {
  std::string model = fmt::format("Model:   {}, {}, {}", printable(plan.name),
                                  printable(plan.quant), size_text(plan.file_bytes));
  if (!plan.why.empty()) model += ": " + printable(plan.why, 400);
  if (!model.ends_with('.')) model += ".";
  return {machine_line(machine, now), std::move(model), memory_line(plan), speed_line(plan)};
}

plan::SavedSetup saved_setup(const UpPlan& plan, const std::string& use, std::int64_t now) {
  plan::SavedSetup saved;
  std::error_code unknown;
  saved.setup = setup_of(plan);
  saved.setup.model = std::filesystem::absolute(plan.path, unknown);
  const auto absolute = [&](const std::filesystem::path& path) {
    return path.empty() ? path : std::filesystem::absolute(path, unknown);
  };
  saved.setup.spill_folder = absolute(saved.setup.spill_folder);
  if (plan.kv_budget > 0) saved.kv_disk_key = absolute(plan.kv_disk_key).string();
  saved.name = plan.name;
  saved.quant = plan.quant;
  saved.use = use;
  saved.why = plan.why;
  saved.machine = this_machine_fingerprint();
  saved.saved_at = now;
  const plan::Estimate expected = plan.expected();
  if (!expected.speeds.empty()) {
    saved.expected.decode_tps = expected.speeds.front().decode.tps;
    saved.expected.prefill_tps = expected.speeds.front().prefill.tps;
  }
  saved.expected.first_token_seconds = expected.first_token_seconds;
  saved.expected.load_seconds = expected.load_seconds;
  saved.expected.memory_bytes = expected.memory.total();
  return saved;
}

std::vector<SettingValue> setup_values(const plan::SavedSetup& saved,
                                       const std::filesystem::path& source) {
  std::vector<SettingValue> values;
  const auto add = [&](const char* name, std::string value) {
    values.push_back({find_setting(name), std::move(value), Layer::kSetup,
                      fmt::format("{} ({})", printable(source.string(), 300), name)});
  };
  if (saved.setup.context > 0) add("ctx", std::to_string(saved.setup.context));
  if (saved.setup.threads > 0) add("threads", std::to_string(saved.setup.threads));
  add("kv", ascii_lower(saved.setup.kv_type.name()));
  if (saved.setup.exact) add("exact", "true");
  if (saved.setup.mapped) add("mapped", "true");
  if (saved.setup.rope_scaling) add("rope-scaling", saved.setup.rope_scaling->name());
  if (saved.setup.kv_budget > 0) add("kv-budget", std::to_string(saved.setup.kv_budget));
  const std::filesystem::path& folder = saved.setup.spill_folder;
  const std::uint64_t bytes = saved.setup.spill_bytes;
  if (!folder.empty()) add("kv-disk", bytes > 0 ? show_kv_disk({folder, bytes}) : folder.string());
  if (!saved.kv_disk_key.empty()) add("kv-disk-key", saved.kv_disk_key);
  return values;
}

Promise promise_of(const UpPlan& plan) {
  Promise promise;
  const plan::Estimate expected = plan.expected();
  if (!expected.speeds.empty()) {
    promise.decode_tps = expected.speeds.front().decode.tps;
    promise.prefill_tps = expected.speeds.front().prefill.tps;
  }
  promise.estimate = plan.estimate;
  return promise;
}

std::string age_text(std::int64_t seconds) {
  const auto counted = [](std::int64_t count, const char* unit) {
    return fmt::format("{} {}{} ago", count, unit, count == 1 ? "" : "s");
  };
  if (seconds < 60) return "now";
  if (seconds < 3600) return counted(seconds / 60, "minute");
  if (seconds < 86'400) return counted(seconds / 3600, "hour");
  return counted(seconds / 86'400, "day");
}

}  // namespace hearth::cli
