// hearth plan: what a machine can run, how fast and how well.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/help.h"
#include "cli/kv_disk.h"
#include "cli/main.h"
#include "cli/measurements.h"
#include "cli/plan_subject.h"
#include "cli/plan_table.h"
#include "cli/planning.h"
#include "cli/said.h"
#include "cli/words.h"
#include "plan/correction.h"
#include "plan/predict.h"
#include "plan/presets.h"
#include "plan/rank.h"
#include "plan/recommend.h"
#include "plan/together.h"
#include "support/ascii.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kRows = 12, kRowsWhy = 40;
constexpr const char* kGpuEngine = "llama.cpp";
/// Of the newest measurements: every format of every model is compared with them.
constexpr std::size_t kRowsForRanking = 500;

struct PlanOptions {
  std::vector<std::string> models;
  std::string use = "chat", machine, engine = "hearth", prefer, kv = "f16", kv_budget = "off";
  std::string predict, out;
  std::int64_t context = 0;
  double min_tps = -1;
  bool json = false, why = false;
};

/// Corrects estimates by this machine's newest measurements.
auto correct_by_measurements(const std::string& kv_type) {
  std::vector<measure::Measurement> rows = earlier_measurements();
  if (rows.size() > kRowsForRanking) rows.resize(kRowsForRanking);
  return
      [kv_type, rows = std::move(rows)](const plan::CatalogModel& model,
                                        const plan::Quantization& quant, plan::Estimate estimate) {
        const plan::Correction measured =
            correction_here(estimate, identity_of(model, quant.name), kv_type, rows);
        return plan::corrected(std::move(estimate), measured);
      };
}

/// Everything a plan is made of.
struct Planning {
  /// Of one model. What a context costs that is not in memory is told for its end, too.
  [[nodiscard]] plan::Conditions conditions(std::int64_t context) const {
    plan::Conditions result;
    result.engine = request.engine;
    result.kv_type = request.kv_type;
    result.kv_budget = request.kv_budget;
    result.context = context;
    result.prompt = std::min(use().prompt, context);
    if (result.kv_budget > 0) result.end_at_context();
    return result;
  }

  PlannedMachine machine;
  plan::Catalog catalog;
  plan::Uses uses;
  plan::Request request;
  [[nodiscard]] const plan::Use& use() const { return uses.use(request.use); }
};

Planning gather(const PlanOptions& options) {
  // What is wrong is said before anything is probed.
  (void)plan::builtin_uses().use(options.use);
  const spec::KvFormat kv = spec::parse_kv_format(options.kv);
  const std::uint64_t budget = parse_kv_budget(options.kv_budget);
  if (budget > 0 && options.engine != "hearth") {
    throw Error("--kv-budget plans for Hearth, not for other engines", "leave out one of both",
                ExitCode::kUsage);
  }
  Planning planning{planned_machine(options.machine), planned_catalog(), plan::builtin_uses(), {}};
  plan::Request& request = planning.request;
  request.use = options.use;
  request.context = options.context;
  request.min_tps = options.min_tps;
  request.engine = options.engine;
  request.kv_type = kv.name();
  request.kv_budget = budget;
  request.prefer_energy = options.prefer == "energy";
  if (options.machine.empty() && options.engine == "hearth") {
    request.correct = correct_by_measurements(request.kv_type);
  }
  return planning;
}

void print_paragraph(const std::string& text) { fmt::print("{}", wrapped(text, 0, 100)); }

/// What an engine that uses the graphics processor would do here; nothing where there is none that
/// is known well enough, or where that engine is planned for anyway.
std::optional<plan::Ranking> ranking_with_gpu(const Planning& planning) {
  if (planning.request.engine != "hearth" || planning.machine.machine.gpus.empty()) return {};
  plan::Request request = planning.request;
  request.engine = kGpuEngine;
  request.correct = {};
  return plan::rank(planning.catalog, planning.uses, planning.machine.machine, request);
}

/// How fast a model is beyond what it was trained for says nothing; at the end of that it does.
void end_at_training(plan::Conditions& conditions, std::int64_t trained) {
  if (trained <= 0) return;
  const auto beyond = [&](std::int64_t depth) { return depth >= trained; };
  if (std::erase_if(conditions.depths, beyond) > 0) conditions.depths.push_back(trained - 1);
}

std::string in_words(const plan::Candidate& candidate) {
  return fmt::format(
      "{} {}: {} tokens/s, {} for prompts, {} of memory, up to {} tokens of "
      "context",
      printable(candidate.model->name), printable(candidate.quant.name),
      three_digits(candidate.decode_tps), three_digits(candidate.prefill_tps),
      size_text(candidate.estimate.memory.total()),
      context_words(candidate.estimate.largest_context));
}

Json advice_json(const plan::Advice& advice) {
  Json upgrades = Json::array();
  for (const plan::Upgrade& upgrade : advice.upgrades) {
    upgrades.push_back({{"change", upgrade.change},
                        {"engine", upgrade.engine},
                        {"model", upgrade.model},
                        {"quant", upgrade.quant},
                        {"decode_tps", upgrade.decode_tps},
                        {"quality", upgrade.quality},
                        {"better", upgrade.better}});
  }
  return {{"notes", advice.notes},
          {"upgrades", upgrades},
          {"cloud", advice.cloud.empty() ? Json(nullptr) : Json(advice.cloud)}};
}

Json choice_json(const plan::Candidate* candidate, const std::string& why) {
  if (candidate == nullptr) return nullptr;
  return {{"model", candidate->model->name}, {"quant", candidate->quant.name}, {"why", why}};
}

Json head_json(const Planning& planning) {
  const machine::Machine& machine = planning.machine.machine;
  return {{"machine", machine.name.empty() ? machine.cpu.name : machine.name},
          {"use", planning.request.use},
          {"engine", planning.request.engine}};
}

void print_ranking_json(const Planning& planning, const plan::Ranking& ranking,
                        const std::optional<plan::Ranking>& with_gpu, const plan::Advice& advice) {
  const machine::Machine& machine = planning.machine.machine;
  Json json = head_json(planning);
  json["candidates"] = Json::array();
  for (const plan::Candidate& candidate : ranking.candidates)
    json["candidates"].push_back(candidate_json(candidate, machine));
  json["recommended"] = choice_json(ranking.recommended(), advice.why);
  if (with_gpu) {
    const plan::Candidate* best = with_gpu->recommended();
    json["other_engine"] = {
        {"engine", kGpuEngine},
        {"recommended", best == nullptr ? Json(nullptr) : candidate_json(*best, machine)}};
  }
  json.update(advice_json(advice));
  for (const std::string& note : planning.machine.notes) json["notes"].push_back(note);
  print_json(json);
}

void print_gpu(const Planning& planning, const plan::Ranking& with_gpu) {
  const std::string gpu = printable(planning.machine.machine.gpus.front().name);
  const plan::Candidate* best = with_gpu.recommended();
  print_paragraph(
      best == nullptr
          ? fmt::format("The {}: Hearth has no graphics backend yet, and nothing is fast enough "
                        "with {} either.",
                        gpu, kGpuEngine)
          : fmt::format("The {}: Hearth has no graphics backend yet, so what is above runs on the "
                        "processor. With {} this machine would run {} (expected, by the formula "
                        "for such hardware; --engine {} tells more).",
                        gpu, kGpuEngine, in_words(*best), kGpuEngine));
}

void print_advice(const plan::Advice& advice) {
  for (const std::string& note : advice.notes) print_paragraph(note);
  if (!advice.upgrades.empty()) {
    fmt::print("\nUpgrades:\n");
    for (const plan::Upgrade& upgrade : advice.upgrades)
      fmt::print("{}", wrapped(upgrade.sentence, 2, 100));
  }
  if (!advice.cloud.empty()) fmt::print("\n{}", wrapped("Cloud: " + advice.cloud, 0, 100));
}

void print_reasons(const plan::Ranking& ranking, const Planning& planning) {
  fmt::print("\nWhy each:\n");
  std::size_t rows = 0;
  for (const plan::Candidate& candidate : ranking.candidates) {
    if (++rows > kRowsWhy) break;
    fmt::print("  {} {}: {}\n", printable(candidate.model->name), printable(candidate.quant.name),
               plan::why(candidate, planning.machine.machine));
  }
}

void plan_catalog(const PlanOptions& options, const Planning& planning) {
  const machine::Machine& machine = planning.machine.machine;
  const plan::Ranking ranking =
      plan::rank(planning.catalog, planning.uses, machine, planning.request);
  const std::optional<plan::Ranking> with_gpu = ranking_with_gpu(planning);
  const plan::Advice advice =
      plan::advise(planning.catalog, planning.uses, machine, planning.request, ranking);
  if (options.json) return print_ranking_json(planning, ranking, with_gpu, advice);

  const plan::Use& use = planning.use();
  print_paragraph("Machine: " + machine_words(machine));
  for (const std::string& note : planning.machine.notes) fmt::print("{}\n", wrapped(note, 2, 100));
  print_paragraph(fmt::format(
      "Use: {} ({}), {} on this machine's {}; speeds after {} tokens of conversation.", use.name,
      use.about, planning.request.engine == "hearth" ? "Hearth" : planning.request.engine,
      planning.request.engine == "hearth" || machine.gpus.empty() ? "processor" : "hardware",
      use.depth));
  fmt::print("\n{}\n", ranking_table(ranking, use, options.why ? kRowsWhy : kRows));
  if (const plan::Candidate* best = ranking.recommended()) {
    fmt::print("Recommended: {}\n", in_words(*best));
    print_paragraph(advice.why);
    fmt::print("  hearth pull {}:{}\n", printable(best->model->name), printable(best->quant.name));
  } else {
    fmt::print("Recommended: nothing of the catalog.\n");
  }
  if (with_gpu) {
    fmt::print("\n");
    print_gpu(planning, *with_gpu);
  }
  fmt::print("\n");
  print_advice(advice);
  if (options.why) print_reasons(ranking, planning);
}

/// The candidates of a model of the catalog in all formats, or in the one that was named.
std::vector<plan::Candidate> formats_of(const Planning& planning, const plan::CatalogModel& model,
                                        const std::string& quant) {
  plan::Request request = planning.request;
  if (model.role == "embedding" || model.role == "rerank") request.use = "embed";
  const plan::Use& use = planning.uses.use(request.use);
  std::vector<plan::Candidate> formats =
      plan::consider_all(model, planning.uses, use, planning.machine.machine, request);
  if (quant.empty()) return formats;
  std::stable_partition(formats.begin(), formats.end(), [&](const plan::Candidate& c) {
    return ascii_upper(c.quant.name) == ascii_upper(quant);
  });
  if (formats.empty() || ascii_upper(formats.front().quant.name) != ascii_upper(quant)) {
    throw Error(
        fmt::format("{} is not known in the format '{}'", printable(model.name), printable(quant)),
        fmt::format("see hearth catalog show {}", printable(model.name)), ExitCode::kUsage);
  }
  return formats;
}

void plan_model(const PlanOptions& options, const Planning& planning,
                const plan::CatalogModel& model, const std::string& quant) {
  const machine::Machine& machine = planning.machine.machine;
  if (!plan::engine_runs(model, planning.request.engine)) {
    fmt::print(stderr,
               "hearth: Hearth does not run the architecture '{}'; this is an estimate "
               "only\n",
               printable(model.architecture));
  }
  std::vector<plan::Candidate> formats = formats_of(planning, model, quant);
  if (formats.empty()) {
    throw Error(fmt::format("the size of {} is not known", printable(model.name)),
                fmt::format("see hearth catalog show {}", printable(model.name)));
  }
  // The report goes to the end of the context, too.
  plan::Candidate& best = formats.front();
  plan::Conditions conditions = planning.conditions(best.context);
  end_at_training(conditions, best.workload.trained_context);
  if (best.estimate.largest_context > 32768 && conditions.kv_budget == 0)
    conditions.depths.push_back(best.estimate.largest_context);
  best.estimate = plan::best_estimate(best.workload, machine, conditions);
  if (planning.request.correct) {
    best.estimate = planning.request.correct(model, best.quant, std::move(best.estimate));
  }
  if (options.json) {
    Json json = head_json(planning);
    json["candidates"] = Json::array();
    for (const plan::Candidate& candidate : formats)
      json["candidates"].push_back(candidate_json(candidate, machine));
    json["recommended"] = choice_json(best.fits ? &best : nullptr, plan::why(best, machine));
    return print_json(json);
  }
  print_paragraph("Machine: " + machine_words(machine));
  fmt::print("\n{}", report(formats, machine, planning.use()));
  fmt::print("{}",
             kv_report(plan::kv_offers(best.workload, machine, conditions), conditions.context));
  if (planning.request.engine != "hearth" || machine.gpus.empty()) return;
  conditions.engine = kGpuEngine;
  const plan::Estimate other = plan::best_estimate(best.workload, machine, conditions);
  if (other.speeds.empty()) return;
  fmt::print("\n");
  print_paragraph(fmt::format(
      "The {}: Hearth has no graphics backend yet. {} would reach {} tokens/s and {} for prompts "
      "here, {}.",
      printable(machine.gpus.front().name), kGpuEngine, speed_words(other.speeds.front().decode),
      speed_words(other.speeds.front().prefill),
      other.fits ? "with " + size_text(other.memory.device) + " on the graphics processor"
                 : "if it fitted"));
}

void plan_counted(const PlanOptions& options, const Planning& planning, const CountedModel& model) {
  std::int64_t context = planning.request.context > 0 ? planning.request.context : 8192;
  if (model.workload.trained_context > 0)
    context = std::min(context, model.workload.trained_context);
  plan::Conditions conditions = planning.conditions(context);
  end_at_training(conditions, model.workload.trained_context);
  const machine::Machine& machine = planning.machine.machine;
  plan::Estimate estimate = plan::best_estimate(model.workload, machine, conditions);
  if (estimate.largest_context > 32768 && conditions.kv_budget == 0) {
    conditions.depths.push_back(estimate.largest_context);
    estimate = plan::best_estimate(model.workload, machine, conditions);
  }
  plan::Correction measured;
  if (options.machine.empty() && conditions.engine == "hearth") {
    measure::ModelIdentity identity;
    identity.parameters = static_cast<std::uint64_t>(model.workload.parameters);
    identity.type = model.workload.quant;
    measured = correction_here(estimate, identity, conditions.kv_type, earlier_measurements());
    estimate = plan::corrected(std::move(estimate), measured);
  }
  if (options.json) {
    Json candidate = {{"model", model.name}, {"quant", model.workload.quant}};
    candidate.update(estimate_json(estimate));
    candidate["why"] = estimate.fits ? "fits" : "does not fit";
    candidate["kv_formats"] = kv_json(plan::kv_offers(model.workload, machine, conditions));
    Json json = head_json(planning);
    json["candidates"] = {candidate};
    json["recommended"] = estimate.fits ? Json{{"model", model.name},
                                               {"quant", model.workload.quant},
                                               {"why", "the one that was asked for"}}
                                        : Json(nullptr);
    return print_json(json);
  }
  print_paragraph("Machine: " + machine_words(machine));
  fmt::print("\n{} ({}), {} parameters{}\n", printable(model.name), printable(model.workload.quant),
             count_words(model.workload.parameters),
             estimate.fits      ? ""
             : estimate.kv_fits ? ": does not fit"
                                : ": does not fit, the budget is too small for keys and values");
  fmt::print("{}", estimate_report(estimate, model.workload));
  fmt::print("{}",
             kv_report(plan::kv_offers(model.workload, machine, conditions), conditions.context));
  if (!measured.note.empty()) fmt::print("  {}\n", measured.note);
}

void plan_together(const PlanOptions& options, const Planning& planning) {
  std::vector<plan::Member> members;
  for (const std::string& word : options.models) {
    const auto [name, quant] = split_quant(plain_word(word));
    plan::Member member{&catalog_model(planning.catalog, name), ascii_upper(quant),
                        planning.request};
    const std::string& role = member.model->role;
    if (role == "embedding" || role == "rerank") member.request.use = "embed";
    members.push_back(std::move(member));
  }
  const machine::Machine& machine = planning.machine.machine;
  const plan::Together plan = plan::plan_together(members, planning.uses, machine);
  if (options.json) {
    Json json = head_json(planning);
    json["candidates"] = Json::array();
    for (const plan::Candidate& member : plan.members)
      json["candidates"].push_back(candidate_json(member, machine));
    json["recommended"] = Json::array();
    for (const plan::Candidate& member : plan.members)
      json["recommended"].push_back(choice_json(&member, plan::why(member, machine)));
    json["together"] = {{"memory", plan.memory_bytes},
                        {"budget", plan.budget_bytes},
                        {"fits", plan.fits},
                        {"compromises", plan.compromises}};
    return print_json(json);
  }
  print_paragraph("Machine: " + machine_words(machine));
  TextTable table({"model", "format", "memory", "tokens/s", "prompt/s", "context", "score"},
                  {true, true, false, false, false, false, true});
  for (const plan::Candidate& member : plan.members) {
    table.row({printable(member.model->name), printable(member.quant.name),
               size_text(member.estimate.memory.total()), three_digits(member.decode_tps),
               three_digits(member.prefill_tps), context_words(member.context),
               score_words(member.quality)});
  }
  fmt::print("\n{}\nTogether {} of {} that are free: {}.\n", table.text(),
             size_text(plan.memory_bytes), size_text(plan.budget_bytes),
             plan.fits ? "they stay in memory side by side; speeds are those of one at a time"
                       : "too much, even in their smallest formats");
  for (const std::string& compromise : plan.compromises) print_paragraph(compromise + ".");
  if (!plan.fits) throw QuietExit{ExitCode::kDoesNotFit};
}

void run_plan(const PlanOptions& options) {
  if (options.predict.empty() != options.out.empty())
    throw Error("--predict and --out belong together", "see hearth plan --help", ExitCode::kUsage);
  if (!options.predict.empty()) return plan::predict_file(options.predict, options.out);
  const Planning planning = gather(options);
  if (options.models.empty()) return plan_catalog(options, planning);
  if (options.models.size() > 1) return plan_together(options, planning);
  const std::string word = plain_word(options.models.front());
  if (const std::optional<CountedModel> counted = counted_model(word, planning.catalog))
    return plan_counted(options, planning, *counted);
  const auto [name, quant] = split_quant(word);
  plan_model(options, planning, catalog_model(planning.catalog, name), quant);
}

void add_options(CLI::App& command, PlanOptions& options) {
  command
      .add_option("MODEL", options.models,
                  "What to report on: a name of the catalog (:QUANT may follow), a GGUF file, "
                  "shape:NAME or hf:ORG/REPO[:QUANT]. Several are planned together")
      ->expected(0, 16);
  command
      .add_option("--for", options.use,
                  "What it is for: chat, code, agent, rag, embed, vision "
                  "or tiny (default: chat)")
      ->type_name("USE");
  command
      .add_option("--context", options.context,
                  "Tokens of context to reserve memory for (default: what the use needs)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  command
      .add_option("--min-tps", options.min_tps,
                  "Tokens per second it must reach (default: what the use needs)")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1e6));
  command
      .add_option("--machine", options.machine,
                  "Plan for another machine: a preset, or a file that hearth probe --json wrote")
      ->type_name("FILE|PRESET");
  command
      .add_option("--engine", options.engine,
                  "Whose speeds: hearth (default), llama.cpp, ollama, mlx or lm studio")
      ->type_name("NAME")
      ->check(CLI::IsMember({"hearth", "llama.cpp", "ollama", "mlx", "lm studio"}));
  command.add_option("--kv", options.kv, "Format of the context's keys and values")
      ->type_name("FORMAT");
  command
      .add_option("--kv-budget", options.kv_budget,
                  "Most memory for keys and values; the rest is on disk, as with hearth run")
      ->type_name("SIZE");
  command.add_option("--prefer", options.prefer, "energy: rank what takes less power higher")
      ->type_name("energy")
      ->check(CLI::IsMember({"energy"}));
  command.add_flag("--why", options.why, "Give the reason of every row, with sources of scores");
  command.add_flag("--json", options.json, "Print one JSON object");
  command
      .add_option("--predict", options.predict,
                  "Predict the speeds of a table of setups (docs/planner-model.md)")
      ->type_name("FILE.csv");
  command.add_option("--out", options.out, "Where --predict writes")->type_name("FILE.csv");
}

}  // namespace

void add_plan_command(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command =
      app.add_subcommand("plan", "What this machine can run, how fast and how well");
  add_options(*command, *options);
  command->footer(
      "Without MODEL: ranks the catalog for the use and recommends one model. With one: memory by "
      "part, speeds at several depths, every format. With several: the formats in which all fit "
      "into memory at once.\n\n"
      "Quality is on the scale of MMLU-Pro (0 to 100), from the scores that matter for the use, "
      "less what the format loses; with ~ it is guessed from the size. Ranges of speeds hold for "
      "about nine of ten machines.\n\n"
      "Hearth computes on the processor. Where there is a graphics processor, the plan also says "
      "what an engine that uses it would reach; the recommendation is by what Hearth runs, unless "
      "--engine names another.\n\n"
      "Presets:\n" +
      wrapped(preset_names(), 2) +
      "\n\n"
      "Examples:\n"
      "  hearth plan\n"
      "  hearth plan --for code --context 32768\n"
      "  hearth plan qwen3.5-4b:Q8_0\n"
      "  hearth plan qwen3-8b --context 131072 --kv-budget 4G\n"
      "  hearth plan qwen3-8b embeddinggemma-300m qwen3-reranker-0.6b\n"
      "  hearth plan --machine rtx-3090 --engine llama.cpp --for agent\n"
      "\n"
      "Exit status:\n"
      "  0  planned            2    wrong usage\n"
      "  1  failed             3    several models do not fit together\n");
  command->callback([options] { run_plan(*options); });
}

}  // namespace hearth::cli
