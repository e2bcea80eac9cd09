// hearth inspect: what a model is and what it needs, from its header and a counted pass; no weights
// are loaded.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/main.h"
#include "cli/model_words.h"
#include "cli/models.h"
#include "cli/planning.h"
#include "cli/said.h"
#include "cli/settings.h"
#include "cli/words.h"
#include "compute/cpu/cpu_backend.h"
#include "measure/shapes.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "plan/counted_workload.h"
#include "plan/kv_disk.h"
#include "plan/rank.h"
#include "spec/visit.h"
#include "state/snapshots.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string model, kv = "f16", kv_budget = "off", machine, rope_scaling = "file";
  std::int64_t context = 0;
  bool json = false, tensors = false;
};

/// Everything the command prints.
struct Inspection {
  // A shape has no file: a header before zeros that take no memory.
  std::unique_ptr<plan::HeaderFile> header;
  std::optional<gguf::File> opened;
  spec::ModelSpec spec;
  spec::Setup setup;
  model::MemoryReport memory;
  model::PassCost decode;
  std::uint64_t parameters = 0;
  std::map<std::string_view, std::uint64_t> bytes_by_type;
  std::uint64_t active_parameters = 0;  // that one token passes through
  double kv_bytes_per_token = 0;        // what grows with the context
  std::size_t kv_bytes_f16 = 0;         // of the same context in F16
  std::size_t state_bytes = 0;          // of one sequence: recurrent state and its snapshots
  double disk_rate = 0;  // bytes per second of keys that are read from it; 0: not needed or known
  // Expected per second at full context; 0: not needed or known.
  double tokens_in_memory = 0, tokens_from_disk = 0;
  bool planned = true;  // false: a draft model that needs tensors of the model it drafts for
  [[nodiscard]] const gguf::File& file() const { return opened ? *opened : header->file(); }
};

/// Stacks of experts are used in part: the others wholly, tables by one row.
std::uint64_t unused_parameters(const spec::ModelSpec& spec) {
  std::uint64_t unused = 0;
  spec::for_each_body(spec, [&](const spec::Stack&, std::size_t, const spec::Body& body) {
    const auto* moe = std::get_if<spec::MixtureOfExperts>(&body);
    if (moe == nullptr) return;
    for (const spec::LinearStack* stack : {&moe->gate, &moe->up, &moe->gate_up, &moe->down}) {
      unused += static_cast<std::uint64_t>(stack->in * stack->out * (moe->experts - moe->used));
    }
  });
  return unused;
}

/// How fast a context of which a part is on disk will be decoded at its end; nothing where the
/// machine's disk, or how fast it runs the model, is not known.
void expect_speed(Inspection& i, const std::string& wanted) {
  const machine::Machine machine = planned_machine(wanted).machine;
  i.disk_rate = plan::disk_rate(machine);
  if (i.disk_rate <= 0) return;
  plan::Conditions conditions;
  conditions.kv_type = i.setup.kv_type.name();
  conditions.context = i.setup.context;
  conditions.depths = {i.setup.context - 1};
  plan::Estimate estimate;
  try {
    estimate = plan::best_estimate(plan::counted_workload(i.file()), machine, conditions);
  } catch (const Error&) {
    return;  // the rest of the description does not depend on it
  }
  if (estimate.speeds.empty() || estimate.speeds.front().decode.tps <= 0) return;
  i.tokens_in_memory = estimate.speeds.front().decode.tps;
  const double seconds = 1 / i.tokens_in_memory;
  const auto bytes = static_cast<double>(i.decode.disk_bytes_read);
  i.tokens_from_disk = 1 / (seconds + plan::disk_wait(bytes, i.disk_rate, seconds));
}

Inspection inspect(const InspectOptions& options) {
  constexpr std::string_view kShape = "shape:";
  Inspection i;
  // Whatever it will be needed for: a name that means none is told.
  if (!options.machine.empty()) (void)planned_machine(options.machine);
  if (options.model.starts_with(kShape)) {
    i.header = std::make_unique<plan::HeaderFile>(
        measure::named_shape(options.model.substr(kShape.size()), {}));
  } else {
    i.opened = gguf::File::open(resolve_model(plain_word(options.model)));
    i.setup.model = i.opened->path();
  }
  RunOptions engine;  // these mean what they mean for `run`
  find_setting("kv")->apply(engine, options.kv);
  find_setting("kv-budget")->apply(engine, options.kv_budget);
  find_setting("rope-scaling")->apply(engine, options.rope_scaling);
  i.setup.kv_type = engine.kv_type;
  i.setup.kv_budget = engine.kv_budget;
  i.setup.rope_scaling = engine.rope_scaling;
  i.spec = model::describe_model(i.file(), {options.context, i.setup.rope_scaling});
  if (i.spec.position_limit > 0 && options.context > i.spec.position_limit) {
    throw Error(fmt::format("a context of {} tokens is more than the {} positions the model knows",
                            options.context, i.spec.position_limit),
                fmt::format("use --ctx {} or less", i.spec.position_limit), ExitCode::kDoesNotFit);
  }
  i.setup.context = options.context > 0 ? options.context : model::default_context(i.spec);
  i.spec = model::describe_model(i.file(), {i.setup.context, i.setup.rope_scaling});
  if (!i.spec.causal || i.spec.encoder) i.setup.batch_rows = i.setup.context;
  i.setup.snapshots = i.spec.causal && i.spec.head.linear.present() ? -1 : 0;  // as `run` has it
  for (const gguf::TensorInfo& tensor : i.file().tensors()) {
    i.parameters += static_cast<std::uint64_t>(tensor.elements());
    i.bytes_by_type[tensor::name(tensor.dtype)] += tensor.bytes;
  }
  i.active_parameters = i.parameters - std::min(i.parameters, unused_parameters(i.spec));
  i.kv_bytes_per_token = state::kv_bytes_per_token(i.spec, i.setup.kv_type);
  i.planned = !i.spec.embedding.tokens.empty();
  if (!i.planned) return i;
  const auto backend = compute::make_cpu_backend({});
  i.memory = model::plan_memory(i.file(), i.spec, i.setup, *backend).memory;
  i.decode = model::count_pass(i.file(), i.spec, i.setup, *backend, 1,
                               i.spec.causal ? i.setup.context - 1 : 0);
  spec::Setup half = i.setup;
  half.kv_type = tensor::DType::kF16;
  half.kv_budget = 0;
  i.kv_bytes_f16 = model::kv_bytes(i.spec, half, *backend);
  i.state_bytes = i.decode.state_bytes / static_cast<std::size_t>(i.setup.sequences);
  if (i.decode.disk_bytes_read > 0) expect_speed(i, options.machine);
  return i;
}

/// Memories that are not kept as asked for, and how they are.
struct KvException {
  state::KvChoice choice = state::KvChoice::kAsked;
  std::string_view type;
  std::int64_t memories = 0;
};

std::vector<KvException> kv_exceptions(const Inspection& i) {
  std::vector<KvException> result;
  for (const spec::KvMemory& memory : i.spec.kv_memories) {
    const state::MemoryFormat format = state::memory_format(memory, i.setup.kv_type);
    if (format.choice == state::KvChoice::kAsked) continue;
    const std::string_view type = tensor::name(format.keys.raw);
    const auto found = std::find_if(result.begin(), result.end(), [&](const KvException& each) {
      return each.choice == format.choice && each.type == type;
    });
    if (found == result.end()) {
      result.push_back({format.choice, type, 1});
    } else {
      ++found->memories;
    }
  }
  return result;
}

Json exceptions_json(const Inspection& i) {
  Json list = Json::array();
  for (const KvException& each : kv_exceptions(i)) {
    list.push_back({{"memories", each.memories},
                    {"format", std::string(each.type)},
                    {"why", std::string(state::reason(each.choice))}});
  }
  return list;
}

/// Whole numbers without a fraction.
Json number_json(double value) {
  const auto whole = static_cast<std::int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

Json tensors_json(const gguf::File& file) {
  Json tensors = Json::array();
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    Json shape = Json::array();
    for (std::uint32_t d = 0; d < tensor.dimensions; ++d) shape.push_back(tensor.shape[d]);
    tensors.push_back({{"name", printable(tensor.name)},
                       {"type", tensor::name(tensor.dtype)},
                       {"shape", std::move(shape)},
                       {"bytes", tensor.bytes}});
  }
  return tensors;
}

Json to_json(const Inspection& i, bool tensors) {
  Json types = Json::object();
  for (const auto& [name, bytes] : i.bytes_by_type) types[std::string(name)] = bytes;
  Json stacks = Json::array();
  std::vector<const spec::Stack*> all;
  if (i.spec.encoder) all.push_back(&i.spec.encoder->stack);
  for (const spec::Stack& stack : i.spec.stacks) all.push_back(&stack);
  for (const spec::Stack* pointer : all) {
    const spec::Stack& stack = *pointer;
    Json groups = Json::array();
    for (const LayerGroup& group : group_layers(stack)) {
      groups.push_back({{"layers", group.layers}, {"description", group.words}});
    }
    stacks.push_back(
        {{"name", stack.name}, {"layers", stack.layers.size()}, {"groups", std::move(groups)}});
  }
  Json json{{"architecture", i.spec.architecture},
            {"name", printable(i.spec.name)},
            {"parameters", {{"total", i.parameters}, {"active", i.active_parameters}}},
            {"vocabulary", i.spec.vocabulary},
            {"width", i.spec.width},
            {"context_length", i.spec.context_length},
            {"stacks", std::move(stacks)},
            {"file",
             {{"bytes", i.file().file_bytes()},
              {"parts", i.file().parts()},
              {"bytes_by_type", std::move(types)}}},
            {"pooling", pooling_words(i.spec.pooling)},
            {"draft_heads", i.spec.draft_heads},
            {"kv_format", i.setup.kv_type.name()},
            {"kv_bytes_per_token", number_json(i.kv_bytes_per_token)},
            {"kv_kept_otherwise", exceptions_json(i)},
            {"state_bytes", i.state_bytes},
            {"memory",
             {{"context", i.setup.context},
              {"batch", model::limits_of(i.setup).batch_rows},
              {"weights", i.memory.weights},
              {"kv", i.memory.kv},
              {"kv_f16", i.kv_bytes_f16},
              {"state", i.memory.state},
              {"buffers", i.memory.buffers},
              {"other", i.memory.other},
              {"total", i.memory.total()},
              {"kv_on_disk", i.memory.disk}}},
            {"per_token",
             {{"weight_bytes_read", i.decode.counts.weight_bytes},
              {"kv_bytes_read_at_full_context", i.decode.counts.kv_bytes_read},
              {"disk_bytes_read_at_full_context", i.decode.disk_bytes_read},
              {"state_bytes_moved", i.decode.counts.state_bytes},
              {"multiply_adds", i.decode.counts.weight_multiply_adds},
              {"attention_multiply_adds_at_full_context", i.decode.counts.attention_multiply_adds},
              {"operations", i.decode.counts.operations}}}};
  if (i.decode.disk_bytes_read > 0) {
    const auto known = [](double value) { return value > 0 ? Json(value) : Json(nullptr); };
    json["expected"] = {{"disk_bytes_per_second", known(i.disk_rate)},
                        {"tokens_per_second_at_full_context", known(i.tokens_from_disk)},
                        {"with_all_in_memory", known(i.tokens_in_memory)}};
  }
  if (!i.planned) json["memory"] = json["per_token"] = nullptr;
  if (tensors) json["tensors"] = tensors_json(i.file());
  return json;
}

std::string amount(double value) {
  if (value >= 1e9) return fmt::format("{:.2f} G", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.2f} M", value / 1e6);
  return fmt::format("{:.1f} k", value / 1e3);
}

std::string bytes_text(std::size_t bytes) {
  return bytes < 1000 ? fmt::format("{} B", bytes) : amount(static_cast<double>(bytes)) + "B";
}

std::string layers_text(std::size_t count) {
  return count == 1 ? "1 layer" : fmt::format("{} layers", count);
}

void print_stack(const spec::Stack& stack) {
  fmt::print("  {:<14} {}\n", stack.name, layers_text(stack.layers.size()));
  for (const LayerGroup& group : group_layers(stack))
    fmt::print("    {:<12} {}\n", group.indices(), group.words);
}

/// In another format than F16: what was gained, and what is kept otherwise.
void print_kv_format(const Inspection& i) {
  if (i.setup.kv_type == spec::KvFormat(tensor::DType::kF16)) return;
  fmt::print("    {:<12} {} in F16: {:.3f} of it\n", i.setup.kv_type.name(),
             bytes_text(i.kv_bytes_f16),
             static_cast<double>(i.memory.kv) / static_cast<double>(i.kv_bytes_f16));
  for (const KvException& each : kv_exceptions(i)) {
    fmt::print("    {} of {} memories: {} ({})\n", each.memories, i.spec.kv_memories.size(),
               each.type, state::reason(each.choice));
  }
  if (!i.setup.kv_type.coded() || i.setup.kv_type.uniform) return;
  fmt::print("    of the others: the first {} cells and the last {} to {} in F16\n",
             state::kSinkPages * state::kPageCells, state::kRecentCells,
             state::kRecentCells + state::kPageCells - 1);
}

/// What grows with the context, and what does not.
void print_kv(const Inspection& i) {
  if (i.memory.kv > 0) {
    const std::string growth =
        i.kv_bytes_per_token > 0
            ? fmt::format("{} per token; grows with the context",
                          bytes_text(static_cast<std::size_t>(i.kv_bytes_per_token + 0.5)))
            : std::string("does not grow with the context: windows only");
    const bool windows =
        std::any_of(i.spec.kv_memories.begin(), i.spec.kv_memories.end(),
                    [](const spec::KvMemory& memory) { return memory.group.window > 0; });
    fmt::print("  KV cache       {} ({}{})\n", bytes_text(i.memory.kv), growth,
               windows && i.kv_bytes_per_token > 0 ? ", but for windows" : "");
    print_kv_format(i);
  }
  if (i.memory.disk > 0) {
    fmt::print("    on disk      {}: all pages have a place there, {} in memory\n",
               bytes_text(i.memory.disk), bytes_text(i.memory.kv));
  }
  if (i.memory.state > 0) {
    fmt::print("  state          {} ({} snapshots; does not grow with the context)\n",
               bytes_text(i.memory.state),
               state::kSlotsPerSequence + (i.setup.snapshots < 0 ? state::kChatSnapshots : 0));
  }
}

void print_memory(const Inspection& i) {
  if (!i.planned) {
    fmt::print(
        "It drafts for another model and uses that one's embeddings; it cannot run alone.\n");
    return;
  }
  fmt::print("Memory with a context of {} tokens\n", i.setup.context);
  fmt::print("  weights        {}\n", bytes_text(i.memory.weights));
  print_kv(i);
  fmt::print("  work buffers   {}\n", bytes_text(i.memory.buffers));
  fmt::print("  total          {}\n", bytes_text(i.memory.total()));
  const bool reads_kv = i.memory.kv > 0 && i.spec.causal;
  fmt::print("Each {} reads {} of weights{}, and takes {} multiply-adds.\n",
             i.spec.causal ? "generated token" : "text of one token",
             bytes_text(i.decode.counts.weight_bytes),
             reads_kv
                 ? fmt::format(" and up to {} of KV", bytes_text(i.decode.counts.kv_bytes_read))
                 : std::string(),
             amount(static_cast<double>(i.decode.counts.weight_multiply_adds)));
  if (i.decode.disk_bytes_read == 0) return;
  fmt::print("At full context {} of the KV come from the disk for every token",
             bytes_text(i.decode.disk_bytes_read));
  const std::string rate = bytes_text(static_cast<std::size_t>(i.disk_rate));
  if (i.disk_rate <= 0) {
    fmt::print("; how fast the disk is read is not known (hearth probe).\n");
  } else if (i.tokens_from_disk <= 0) {
    fmt::print(", at {}/s; how fast this machine runs the model is not known (hearth probe).\n",
               rate);
  } else {
    fmt::print(": at {}/s {:.3g} tokens/s are expected, instead of {:.3g} with all in memory.\n",
               rate, i.tokens_from_disk, i.tokens_in_memory);
  }
}

void print_text(const Inspection& i, bool tensors) {
  fmt::print("{} ({})\n",
             i.spec.name.empty() ? i.file().path().filename().string() : printable(i.spec.name),
             i.spec.architecture);
  const bool all_active = i.active_parameters == i.parameters;
  fmt::print(
      "  parameters     {}, {} for every token\n", amount(static_cast<double>(i.parameters)),
      all_active ? "all active" : amount(static_cast<double>(i.active_parameters)) + " active");
  std::string types;
  for (const auto& [name, bytes] : i.bytes_by_type)
    types += fmt::format(", {} {}", name, bytes_text(bytes));
  fmt::print("  file           {}{}\n", bytes_text(i.file().file_bytes()), types);
  fmt::print("  vocabulary     {} tokens, width {}\n", i.spec.vocabulary, i.spec.width);
  if (i.setup.rope_scaling) {
    fmt::print("  context        {} tokens with positions scaled by {}\n", i.spec.context_length,
               i.setup.rope_scaling->name());
  } else {
    fmt::print("  context        trained for {} tokens\n", i.spec.context_length);
  }
  if (!i.spec.embedding.positions.empty()) {
    fmt::print("  positions      learned, added to the embeddings\n");
  }
  if (i.spec.encoder) print_stack(i.spec.encoder->stack);
  for (const spec::Stack& stack : i.spec.stacks) print_stack(stack);
  if (i.spec.draft_heads > 0) {
    fmt::print("  draft heads    {} (next-token prediction)\n", i.spec.draft_heads);
  }
  if (const std::string words = pooling_words(i.spec.pooling); !words.empty()) {
    fmt::print("  embedding      {}\n", words);
  }
  print_memory(i);
  if (!tensors) return;
  fmt::print("Tensors\n");
  for (const gguf::TensorInfo& tensor : i.file().tensors()) {
    std::string shape;
    for (std::uint32_t d = 0; d < tensor.dimensions; ++d)
      shape += fmt::format("{}{}", d ? " x " : "", tensor.shape[d]);
    fmt::print("  {:<40} {:<8} {}\n", printable(tensor.name), tensor::name(tensor.dtype), shape);
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect", "Describe a model: what it is made of and the memory it needs");
  command->footer(
      "The numbers come from running the model's layer code over a backend that only counts; no "
      "weights are loaded.\n\n"
      "Examples:\n"
      "  hearth inspect model.gguf\n"
      "  hearth inspect model.gguf --ctx 131072 --kv tq3\n"
      "  hearth inspect shape:llama3-8b --ctx 131072 --kv q8_0:tq4\n"
      "  hearth inspect shape:llama3-8b --ctx 131072 --kv-budget 4G\n"
      "  hearth inspect model.gguf --json --tensors\n"
      "\n"
      "Exit status:\n"
      "  0  described          2  wrong usage\n"
      "  1  failed             3  the model does not know so long a context\n");
  command
      ->add_option("MODEL", options->model,
                   "A GGUF file, the name of a model in the store, shape:NAME or shape:FILE.gguf")
      ->required();
  command
      ->add_option("--ctx", options->context,
                   "Context to plan memory for (default: the model's, at most 8192)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 30));
  command->add_option("--kv", options->kv, "Format of the context's keys and values (default: f16)")
      ->type_name("FORMAT");
  command
      ->add_option("--rope-scaling", options->rope_scaling,
                   "yarn:FACTOR[:ORIGINAL], linear:FACTOR[:ORIGINAL] or none, in place of what the "
                   "file says")
      ->type_name("KIND:FACTOR");
  command
      ->add_option("--kv-budget", options->kv_budget,
                   "Most memory for keys and values; the rest is on disk, as --kv-disk of run has "
                   "it. How fast that is needs this machine's measurements, which are made the "
                   "first time")
      ->type_name("SIZE");
  command
      ->add_option("--machine", options->machine,
                   "With --kv-budget, the machine whose speed is expected: a preset or a file of "
                   "hearth probe --json (default: this one)")
      ->type_name("NAME|FILE");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->add_flag("--tensors", options->tensors, "List every tensor, too");
  command->callback([options] {
    const Inspection inspection = inspect(*options);
    if (options->json) {
      print_json(to_json(inspection, options->tensors));
    } else {
      print_text(inspection, options->tensors);
    }
  });
}

}  // namespace hearth::cli
