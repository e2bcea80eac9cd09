// hearth bench: how fast a model runs here, and how near that is to what this machine can do.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench_export.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/main.h"
#include "cli/measurements.h"
#include "cli/models.h"
#include "cli/output.h"
#include "cli/said.h"
#include "cli/settings.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "machine/cpu.h"
#include "measure/model_bench.h"
#include "measure/shape_image.h"
#include "measure/shapes.h"
#include "support/error.h"
#include "support/file.h"
#include "support/thread_team.h"
#include "support/write_target.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;
using measure::BenchResult;
using measure::BenchRow;

constexpr std::string_view kShapePrefix = "shape:";
constexpr std::int64_t kMostTokens = std::int64_t{1} << 24;
constexpr std::int64_t kMostSequences = 64;
/// Of random weights, contexts from this depth on are made up: they would take minutes to evaluate.
constexpr std::int64_t kMadeUpFrom = 16384;

struct BenchOptions {
  std::string model, type, depths = "0", batches = "1", kv = "f16", rope_scaling = "file",
                           export_file;
  std::int64_t prompt = 512, generated = 64;
  int rounds = 5, threads = 0;
  bool mapped = false, exact = false, profile = false, json = false;
};

/// Numbers separated by commas.
std::vector<std::int64_t> numbers(const std::string& flag, const std::string& text,
                                  std::int64_t least, std::int64_t most) {
  std::vector<std::int64_t> result;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    std::int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < least || value > most || (next != end && *next != ',')) {
      throw Error(fmt::format("{} takes numbers from {} to {} separated by commas, not '{}'", flag,
                              least, most, printable(text)),
                  fmt::format("for example {} {}", flag, least == 0 ? "0,4096" : "1,8"),
                  ExitCode::kUsage);
    }
    result.push_back(value);
    if (next == end) return result;
    at = next + 1;
  }
}

std::optional<tensor::DType> chosen_type(const std::string& name) {
  if (name.empty()) return std::nullopt;
  const std::optional<tensor::DType> dtype = tensor::dtype_from_name(name);
  if (dtype) return dtype;
  std::vector<std::string> known;
  for (const tensor::DTypeInfo& info : tensor::all_dtypes()) known.emplace_back(info.name);
  const std::string nearest = suggestion(name, known);
  throw Error(fmt::format("unknown type '{}'", printable(name)),
              nearest.empty() ? "use one such as Q4_K, Q8_0, MXFP4 or BF16" : nearest,
              ExitCode::kUsage);
}

measure::Shape chosen_shape(const std::string& name, std::optional<tensor::DType> dtype) {
  const auto names = measure::shape_names();
  const bool known = std::find(names.begin(), names.end(), name) != names.end();
  if (!known && !measure::names_file_shape(name)) {
    const std::string nearest =
        suggestion(name, std::vector<std::string>(names.begin(), names.end()));
    if (!nearest.empty()) {
      throw Error(fmt::format("unknown shape '{}'", printable(name)),
                  nearest + " `hearth bench --help` lists all", ExitCode::kUsage);
    }
  }
  return measure::named_shape(name, dtype);
}

measure::BenchPlan plan_of(const BenchOptions& options) {
  measure::BenchPlan plan;
  plan.prompt = options.prompt;
  plan.generated = options.generated;
  plan.depths = numbers("-d", options.depths, 0, kMostTokens);
  plan.batches.clear();
  for (const std::int64_t batch : numbers("-b", options.batches, 1, kMostSequences)) {
    plan.batches.push_back(static_cast<int>(batch));
  }
  plan.rounds = options.rounds;
  if (options.model.starts_with(kShapePrefix)) plan.made_up_from = kMadeUpFrom;
  plan.profile = options.profile;
  if (plan.prompt == 0 && plan.generated == 0) {
    throw Error("there is nothing to time with -p 0 and -n 0", "leave one of them out",
                ExitCode::kUsage);
  }
  return plan;
}

/// What is timed: its name, and its bytes when they are made up.
struct Subject {
  std::string name;
  std::unique_ptr<measure::ShapeImage> image;
  measure::BenchModel model;
  std::filesystem::path path;  // of a file
};

Subject open_subject(const BenchOptions& options) {
  const std::optional<tensor::DType> dtype = chosen_type(options.type);
  Subject subject;
  if (options.model.starts_with(kShapePrefix)) {
    const measure::Shape shape = chosen_shape(options.model.substr(kShapePrefix.size()), dtype);
    ThreadTeam team(options.threads > 0 ? options.threads : machine::usable_cores());
    subject.name = options.model;
    subject.image = std::make_unique<measure::ShapeImage>(shape, team);
    measure::ShapeImage* const image = subject.image.get();
    subject.model.open = [image] { return std::make_shared<gguf::File>(image->file()); };
    if (!options.mapped && !options.exact)
      subject.model.loaded = [image] { image->forget_pages(); };
    return subject;
  }
  if (dtype) {
    throw Error("--type chooses the format of a shape, and a file has its own",
                fmt::format("time shape:{} to see the model in another format",
                            printable(options.model, 300)),
                ExitCode::kUsage);
  }
  const std::filesystem::path path = resolve_model(options.model);
  subject.path = path;
  subject.name = path.stem().string();
  subject.model.open = [path] { return std::make_shared<gguf::File>(gguf::File::open(path)); };
  return subject;
}

Json to_json(const compute::Profile& profile) {
  Json result = Json::object();
  for (std::size_t i = 0; i < profile.size(); ++i) {
    if (profile[i].calls == 0) continue;
    result[std::string(compute::operation_name(static_cast<compute::Operation>(i)))] = {
        {"calls", profile[i].calls}, {"seconds", profile[i].seconds}};
  }
  return result;
}

Json to_json(const Subject& subject, const BenchResult& result, const BenchRow& row,
             const measure::BenchPlan& plan) {
  const auto when = [](bool present, double value) {
    return present ? Json(value) : Json(nullptr);
  };
  const bool prefill = plan.prompt > 0, decode = plan.generated > 0;
  Json json = {
      {"model", subject.name},
      {"type", result.type},
      {"depth", row.depth},
      {"prompt", plan.prompt},
      {"generated", plan.generated},
      {"prefill_tps", when(prefill, row.prefill_tps.median)},
      {"decode_tps", when(decode, row.decode_tps.median)},
      {"prefill_fraction", when(prefill, row.prefill_fraction)},
      {"decode_fraction", when(decode, row.decode_fraction)},
      {"read_gbs", row.read_bandwidth / 1e9},
      {"int8_gmacs", row.int8_peak / 1e9},
      {"rss_bytes", row.rss_bytes},
      {"load_ms", result.load_seconds * 1e3},
      {"batch", row.batch},
      {"rounds", plan.rounds},
      {"prefill_spread", when(prefill, row.prefill_tps.spread)},
      {"decode_spread", when(decode, row.decode_tps.spread)},
      {"prefill_fraction_bf16", when(prefill && row.bf16_peak > 0, row.prefill_fraction_bf16)},
      {"prefill_fraction_f32", when(prefill, row.prefill_fraction_f32)},
      {"bf16_gmacs", when(row.bf16_peak > 0, row.bf16_peak / 1e9)},
      {"f32_gmacs", row.f32_peak / 1e9},
      {"prompt_macs", when(prefill, row.prompt_multiply_adds)},
      {"pass_weight_bytes", row.pass_weight_bytes},
      {"pass_kv_bytes", row.pass_kv_bytes},
      {"pass_state_bytes", row.pass_state_bytes},
      {"threads", result.threads},
      {"kernels", result.kernels},
      {"kv_type", result.kv_type.name()},
      {"context", result.context},
      {"file_bytes", result.file_bytes},
      {"anonymous_bytes", row.anonymous_bytes},
      {"weights_bytes", result.weights},
      {"kv_bytes", result.kv},
      {"state_bytes", result.state},
      {"buffer_bytes", result.buffers},
      {"other_bytes", result.other},
  };
  if (plan.profile) {
    json["profile"] = {{"prefill", to_json(row.prefill_profile)},
                       {"decode", to_json(row.decode_profile)}};
  }
  return json;
}

std::string speed(const measure::Spread& spread) {
  return fmt::format("{:.1f} ± {:.0f} %", spread.median, 50 * spread.spread);
}

void print_profile(const char* what, const compute::Profile& profile, double passes) {
  double total = 0;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < profile.size(); ++i) {
    total += profile[i].seconds;
    if (profile[i].calls > 0) order.push_back(i);
  }
  if (order.empty()) return;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return profile[a].seconds > profile[b].seconds; });
  fmt::print("  {:<22}{:>10}{:>14}{:>9}\n", what, "calls", "ms", "share");
  for (const std::size_t i : order) {
    fmt::print("    {:<20}{:>10.1f}{:>14.3f}{:>7.1f} %\n",
               compute::operation_name(static_cast<compute::Operation>(i)),
               static_cast<double>(profile[i].calls) / passes, 1e3 * profile[i].seconds / passes,
               100 * profile[i].seconds / total);
  }
}

void print_text(const Subject& subject, const BenchResult& result, const measure::BenchPlan& plan) {
  const auto megabytes = [](std::size_t bytes) {
    return fmt::format("{:.0f} MB", static_cast<double>(bytes) / 1e6);
  };
  const bool floats = result.type == "F32", halves = result.type == "F16" || result.type == "BF16";
  const char* const peak = floats ? "of f32 peak" : halves ? "of bf16 peak" : "of int8 peak";
  fmt::print("{}, {}, {}, {} threads, {} kernels\n", printable(subject.name), result.type,
             machine::cpu_name(), result.threads, result.kernels);
  fmt::print("loaded in {:.0f} ms; weights {}, KV ({}) {} for {} tokens, buffers {}\n\n",
             result.load_seconds * 1e3, megabytes(result.weights), result.kv_type.name(),
             megabytes(result.kv), result.context,
             megabytes(result.buffers + result.other + result.state));
  fmt::print("{:>8}{:>6}{:>22}{:>14}{:>22}{:>14}{:>10}\n", "depth", "batch",
             fmt::format("prefill {} tok/s", plan.prompt), peak, "decode tok/s", "of bandwidth",
             "memory");
  if (plan.made_up_from <= *std::max_element(plan.depths.begin(), plan.depths.end())) {
    fmt::print("(contexts from {} on are random keys and values, not evaluated ones)\n",
               plan.made_up_from);
  }
  for (const BenchRow& row : result.rows) {
    const double fraction = floats   ? row.prefill_fraction_f32
                            : halves ? row.prefill_fraction_bf16
                                     : row.prefill_fraction;
    const bool prefill = plan.prompt > 0, decode = plan.generated > 0;
    // "±" is two bytes of UTF-8 and one column.
    const auto column = [](bool present, const measure::Spread& spread) {
      return present ? fmt::format("{:>23}", speed(spread)) : fmt::format("{:>22}", "-");
    };
    const auto percent = [](bool present, double value) {
      return present && value > 0 ? fmt::format("{:.1f} %", 100 * value) : std::string("-");
    };
    fmt::print("{:>8}{:>6}{}{:>14}{}{:>14}{:>10}\n", row.depth, row.batch,
               column(prefill, row.prefill_tps), percent(prefill, fraction),
               column(decode, row.decode_tps), percent(decode, row.decode_fraction),
               megabytes(row.rss_bytes));
  }
  const BenchRow& first = result.rows.front();
  fmt::print(
      "\nThis machine, measured in turn: reads {:.1f} GB/s; int8 {:.0f}, bf16 {:.0f}, f32 {:.0f} "
      "G multiply-adds/s. ± is half the spread of {} rounds.\n",
      first.read_bandwidth / 1e9, first.int8_peak / 1e9, first.bf16_peak / 1e9,
      first.f32_peak / 1e9, plan.rounds);
  if (!plan.profile) return;
  for (const BenchRow& row : result.rows) {
    fmt::print("\ndepth {}, batch {}\n", row.depth, row.batch);
    print_profile("per prompt", row.prefill_profile, plan.rounds);
    print_profile("per decoding pass", row.decode_profile,
                  static_cast<double>(plan.rounds) * static_cast<double>(plan.generated + 1));
  }
}

/// Files that cannot be written are told before anything is timed.
void check_export(const BenchOptions& options, const Subject& subject) {
  if (options.export_file.empty()) return;
  const std::filesystem::path out = options.export_file;
  std::error_code ignored;
  if (!subject.path.empty() && std::filesystem::equivalent(out, subject.path, ignored)) {
    throw Error("--export would overwrite the model", "name another file", ExitCode::kUsage);
  }
  (void)write_target(out);
  const std::filesystem::path folder = out.has_parent_path() ? out.parent_path() : ".";
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw Error(
        fmt::format("there is no folder '{}' for --export", printable(folder.string(), 300)),
        "make it first", ExitCode::kUsage);
  }
}

/// Lets the model say what it is when it is opened.
void remember_identity(Subject& subject, measure::ModelIdentity& identity) {
  subject.model.open = [open = std::move(subject.model.open), &identity] {
    std::shared_ptr<gguf::File> file = open();
    identity = measure::identify_model(*file);
    return file;
  };
}

/// What `measurements` says in the config file and the environment. Benchmarks do not fail because
/// of anything else there.
bool keeps_measurements() {
  try {
    std::vector<SettingValue> values = read_configuration().values;
    std::erase_if(values, [](const SettingValue& value) {
      return value.setting != find_setting("measurements");
    });
    return apply_settings({}, values).measurements;
  } catch (const Error&) {
    return false;
  }
}

void bench(const BenchOptions& options) {
  measure::BenchPlan plan = plan_of(options);
  spec::Setup setup;
  setup.threads = options.threads;
  setup.mapped = options.mapped;
  setup.exact = options.exact;
  RunOptions engine;  // these mean what they mean for `run`
  find_setting("kv")->apply(engine, options.kv);
  find_setting("rope-scaling")->apply(engine, options.rope_scaling);
  setup.kv_type = engine.kv_type;
  setup.rope_scaling = engine.rope_scaling;
  const InterruptGuard guard(/*second_ends=*/true);
  plan.cancel = &InterruptGuard::flag();
  BenchResult result;
  Subject subject;
  measure::ModelIdentity identity;
  {
    ProgressLine line;
    line.show("making random weights");
    subject = open_subject(options);
    check_export(options, subject);
    remember_identity(subject, identity);
    plan.on_progress = [&line](std::string_view text) { line.show(std::string(text)); };
    result = measure::run_bench(subject.model, setup, plan);
  }
  const std::int64_t now = std::time(nullptr);
  if (measurements_allowed() && keeps_measurements()) {
    plan::Conditions conditions;
    conditions.kv_type = result.kv_type.name();
    conditions.context = result.context;
    conditions.prompt = plan.prompt;
    conditions.depths = plan.depths;
    conditions.threads = result.threads;
    const auto expected = expectation(*subject.model.open(), conditions);
    keep_measurements(bench_measurements(identity, setup, result, plan, expected, now));
  }
  if (!options.export_file.empty()) {
    write_file_atomically(options.export_file, bench_export(identity, setup, result, plan, now));
  }
  if (!options.json) return print_text(subject, result, plan);
  Json rows = Json::array();
  for (const BenchRow& row : result.rows) rows.push_back(to_json(subject, result, row, plan));
  print_json(rows);
}

void add_flags(CLI::App& command, BenchOptions& options) {
  command
      .add_option("MODEL", options.model,
                  "A GGUF file, the name of a model in the store, shape:NAME or shape:FILE.gguf")
      ->required();
  command.add_option("--type", options.type, "Format of a shape's matrices (default: Q4_K)")
      ->type_name("TYPE");
  command.add_option("-p,--prompt", options.prompt, "Tokens of a prompt (default: 512; 0: none)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, kMostTokens));
  command
      .add_option("-n,--generate", options.generated, "Tokens to generate (default: 64; 0: none)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, kMostTokens));
  command
      .add_option("-d,--depth", options.depths,
                  "Tokens in the context before either, one row each: 0,4096 (default: 0)")
      ->type_name("N,N…");
  command
      .add_option("-b,--batch", options.batches,
                  "Sequences that are decoded together, one row each: 1,8 (default: 1)")
      ->type_name("N,N…");
  command.add_option("-r,--rounds", options.rounds, "Rounds to take medians of (default: 5)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  command.add_option("-t,--threads", options.threads, "Threads (default: one per physical core)")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--rope-scaling", options.rope_scaling,
                  "yarn:FACTOR[:ORIGINAL], linear:FACTOR[:ORIGINAL] or none, in place of what the "
                  "file says")
      ->type_name("KIND:FACTOR");
  command.add_option("--kv", options.kv, "Format of the context's keys and values")
      ->type_name("FORMAT");
  command.add_flag("--mapped", options.mapped, "Use the weights where they are in the file");
  command.add_flag("--exact", options.exact, "Compute with float32 activations");
  command.add_flag("--profile", options.profile, "Show what each operation takes");
  command.add_flag("--json", options.json, "Print a list of rows as JSON");
  command
      .add_option("--export", options.export_file,
                  "Write the results to FILE as JSON that can be shared: it names no path, person "
                  "or computer")
      ->type_name("FILE");
}

std::string footer() {
  std::string names;
  for (const std::string_view name : measure::shape_names()) {
    names.append(names.empty() ? "" : ", ").append(name);
  }
  return fmt::format(
      "Prompts and answers are timed as `hearth run` would run them, sampling included, in rounds "
      "between which this machine's limits are measured: reading memory, and multiply-adds. Decode "
      "is shown as a fraction of the bandwidth (bytes of weights in the file and of context that a "
      "token must read), prefill of the peak of multiply-adds.\n\n"
      "Shapes:\n"
      "A shape is a model with random weights, to see how fast it would be before it is "
      "downloaded: {}. shape:FILE.gguf takes the header of a file, which may end after it.\n\n"
      "Examples:\n"
      "  hearth bench model.gguf\n"
      "  hearth bench shape:llama3.2-1b --type Q8_0\n"
      "  hearth bench shape:qwen3-4b -p 512 -n 32 -d 0,4096,16384 --json\n"
      "  hearth bench model.gguf -b 1,4,8 --profile\n"
      "  hearth bench model.gguf --export bench.json\n"
      "\n"
      "Exit status:\n"
      "  0  measured           3    does not fit into memory, or the file onto the disk\n"
      "  1  failed             130  interrupted\n"
      "  2  wrong usage\n",
      names);
}

}  // namespace

void add_bench_command(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      app.add_subcommand("bench", "Time a model, beside what this machine can do at most");
  add_flags(*command, *options);
  command->footer(footer());
  command->callback([options] { bench(*options); });
}

}  // namespace hearth::cli
