// hearth inspect: what a model is and what it needs, from its header and a counted pass; no weights
// are loaded.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/main.h"
#include "cli/models.h"
#include "cli/words.h"
#include "compute/cpu/cpu_backend.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string model;
  std::int64_t context = 0;
  bool json = false, tensors = false;
};

std::string_view activation_name(spec::Activation activation) {
  switch (activation) {
    case spec::Activation::kSilu:
      return "SiLU";
    case spec::Activation::kGelu:
      return "GELU";
    case spec::Activation::kGeluErf:
      return "GELU (erf)";
    case spec::Activation::kGeluQuick:
      return "GELU (quick)";
    case spec::Activation::kRelu:
      return "ReLU";
    case spec::Activation::kReluSquared:
      return "ReLU squared";
    case spec::Activation::kTanh:
      return "tanh";
    case spec::Activation::kSigmoid:
      return "sigmoid";
  }
  return "?";
}

std::string window_words(const spec::Window& window) {
  switch (window.kind) {
    case spec::WindowKind::kFull:
      return "all earlier tokens";
    case spec::WindowKind::kSliding:
      return fmt::format("the last {} tokens", window.size);
    case spec::WindowKind::kChunked:
      return fmt::format("chunks of {} tokens", window.size);
    case spec::WindowKind::kSymmetric:
      return fmt::format("{} tokens around", window.size);
    case spec::WindowKind::kEverything:
      return "all tokens";
  }
  return "?";
}

std::string position_words(const spec::Attention& a) {
  if (a.max_alibi_bias > 0) return "ALiBi";
  if (!a.rope) return "no position encoding";
  std::string words = fmt::format("RoPE on {} of {} dimensions, base {:g}", a.rope->angles.rotated,
                                  a.key_size, a.rope->angles.base);
  if (a.rope->angles.yarn) words += ", YaRN";
  if (a.rope->angles.frequency_scale != 1)
    words += fmt::format(", scaled by {:g}", 1 / a.rope->angles.frequency_scale);
  if (!a.rope->factors.empty()) words += ", frequency factors";
  return words;
}

std::string body_words(const spec::Attention& a) {
  const char* kind = a.kv_heads == a.heads ? "multi-head"
                     : a.kv_heads == 1     ? "multi-query"
                                           : "grouped-query";
  std::string words =
      fmt::format("{} attention ({} heads, {} KV heads of {}) over {}, {}", kind, a.heads,
                  a.kv_heads, a.key_size, window_words(a.window), position_words(a));
  if (a.q_norm) words += ", normalised queries and keys";
  if (a.softcap > 0) words += fmt::format(", scores capped at {:g}", a.softcap);
  return words;
}

std::string body_words(const spec::FeedForward& f) {
  return fmt::format("{}{} feed-forward of width {}", f.gated ? "gated " : "",
                     activation_name(f.gating.activation), f.width);
}

std::string layer_words(const spec::Layer& layer) {
  std::string words;
  for (const spec::Sublayer& sublayer : layer.sublayers) {
    std::string part;
    for (const spec::Branch& branch : sublayer.branches) {
      if (!part.empty()) part += " beside ";
      part += std::visit([](const auto& body) { return body_words(body); }, branch.body);
    }
    words += (words.empty() ? "" : "; ") + part;
  }
  return words;
}

/// Layers that read the same, with their indices: "0-2, 4-6".
struct LayerGroup {
  std::string words;
  std::vector<std::size_t> layers;

  [[nodiscard]] std::string indices() const {
    std::string text;
    for (std::size_t i = 0; i < layers.size();) {
      std::size_t end = i;
      while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) ++end;
      text += (text.empty() ? "" : ", ") + (end > i ? fmt::format("{}-{}", layers[i], layers[end])
                                                    : fmt::format("{}", layers[i]));
      i = end + 1;
    }
    return text;
  }
};

std::vector<LayerGroup> group_layers(const spec::Stack& stack) {
  std::vector<LayerGroup> groups;
  for (std::size_t i = 0; i < stack.layers.size(); ++i) {
    const std::string words = layer_words(stack.layers[i]);
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const LayerGroup& g) { return g.words == words; });
    if (found == groups.end()) found = groups.insert(groups.end(), LayerGroup{words, {}});
    found->layers.push_back(i);
  }
  return groups;
}

/// Everything the command prints.
struct Inspection {
  gguf::File file;
  spec::ModelSpec spec;
  spec::Setup setup;
  model::MemoryReport memory;
  model::PassCost decode;
  std::uint64_t parameters = 0;
  std::map<std::string_view, std::uint64_t> bytes_by_type;
  std::size_t kv_bytes_per_token = 0;
};

Inspection inspect(const InspectOptions& options) {
  const std::filesystem::path path = resolve_model(plain_word(options.model));
  Inspection i{gguf::File::open(path), {}, {}, {}, {}, 0, {}, 0};
  i.setup.model = path;
  i.spec = model::describe_model(i.file, {options.context});
  i.setup.context = options.context > 0 ? options.context : model::default_context(i.spec);
  i.spec = model::describe_model(i.file, {i.setup.context});
  const auto backend = compute::make_cpu_backend({});
  i.memory = model::plan_memory(i.file, i.spec, i.setup, *backend).memory;
  i.decode = model::count_pass(i.file, i.spec, i.setup, *backend, 1, i.setup.context - 1);
  for (const gguf::TensorInfo& tensor : i.file.tensors()) {
    i.parameters += static_cast<std::uint64_t>(tensor.elements());
    i.bytes_by_type[tensor::name(tensor.dtype)] += tensor.bytes;
  }
  i.kv_bytes_per_token = i.decode.counts.kv_bytes_written;
  return i;
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
  for (const spec::Stack& stack : i.spec.stacks) {
    Json groups = Json::array();
    for (const LayerGroup& group : group_layers(stack)) {
      groups.push_back({{"layers", group.layers}, {"description", group.words}});
    }
    stacks.push_back(
        {{"name", stack.name}, {"layers", stack.layers.size()}, {"groups", std::move(groups)}});
  }
  Json json{{"architecture", i.spec.architecture},
            {"name", printable(i.spec.name)},
            {"parameters", {{"total", i.parameters}, {"active", i.parameters}}},
            {"vocabulary", i.spec.vocabulary},
            {"width", i.spec.width},
            {"context_length", i.spec.context_length},
            {"stacks", std::move(stacks)},
            {"file",
             {{"bytes", i.file.file_bytes()},
              {"parts", i.file.parts()},
              {"bytes_by_type", std::move(types)}}},
            {"kv_bytes_per_token", i.kv_bytes_per_token},
            {"memory",
             {{"context", i.setup.context},
              {"batch", model::limits_of(i.setup).batch_rows},
              {"weights", i.memory.weights},
              {"kv", i.memory.kv},
              {"state", i.memory.state},
              {"buffers", i.memory.buffers},
              {"other", i.memory.other},
              {"total", i.memory.total()}}},
            {"per_token",
             {{"weight_bytes_read", i.decode.counts.weight_bytes},
              {"kv_bytes_read_at_full_context", i.decode.counts.kv_bytes_read},
              {"multiply_adds", i.decode.counts.weight_multiply_adds},
              {"attention_multiply_adds_at_full_context", i.decode.counts.attention_multiply_adds},
              {"operations", i.decode.counts.operations}}}};
  if (tensors) json["tensors"] = tensors_json(i.file);
  return json;
}

std::string amount(double value) {
  if (value >= 1e9) return fmt::format("{:.2f} G", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.2f} M", value / 1e6);
  return fmt::format("{:.1f} k", value / 1e3);
}

std::string bytes_text(std::size_t bytes) { return amount(static_cast<double>(bytes)) + "B"; }

void print_text(const Inspection& i, bool tensors) {
  fmt::print("{} ({})\n",
             i.spec.name.empty() ? i.file.path().filename().string() : printable(i.spec.name),
             i.spec.architecture);
  fmt::print("  parameters     {}, all active for every token\n",
             amount(static_cast<double>(i.parameters)));
  std::string types;
  for (const auto& [name, bytes] : i.bytes_by_type)
    types += fmt::format(", {} {}", name, bytes_text(bytes));
  fmt::print("  file           {}{}\n", bytes_text(i.file.file_bytes()), types);
  fmt::print("  vocabulary     {} tokens, width {}\n", i.spec.vocabulary, i.spec.width);
  fmt::print("  context        trained for {} tokens\n", i.spec.context_length);
  for (const spec::Stack& stack : i.spec.stacks) {
    fmt::print("  {:<14} {} layers\n", stack.name, stack.layers.size());
    for (const LayerGroup& group : group_layers(stack))
      fmt::print("    {:<12} {}\n", group.indices(), group.words);
  }
  fmt::print("Memory with a context of {} tokens\n", i.setup.context);
  fmt::print("  weights        {}\n", bytes_text(i.memory.weights));
  fmt::print("  KV cache       {} ({} per token; grows with the context)\n",
             bytes_text(i.memory.kv), bytes_text(i.kv_bytes_per_token));
  fmt::print("  work buffers   {}\n", bytes_text(i.memory.buffers));
  fmt::print("  total          {}\n", bytes_text(i.memory.total()));
  fmt::print(
      "Each generated token reads {} of weights and up to {} of KV, and takes {} multiply-adds.\n",
      bytes_text(i.decode.counts.weight_bytes), bytes_text(i.decode.counts.kv_bytes_read),
      amount(static_cast<double>(i.decode.counts.weight_multiply_adds)));
  if (!tensors) return;
  fmt::print("Tensors\n");
  for (const gguf::TensorInfo& tensor : i.file.tensors()) {
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
      "  hearth inspect model.gguf --ctx 32768\n"
      "  hearth inspect model.gguf --json --tensors\n"
      "\n"
      "Exit status:\n"
      "  0  described          2  wrong usage\n"
      "  1  failed\n");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store")
      ->required();
  command
      ->add_option("--ctx", options->context,
                   "Context to plan memory for (default: the model's, at most 8192)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 30));
  command->add_flag("--json", options->json, "Print one JSON object");
  command->add_flag("--tensors", options->tensors, "List every tensor, too");
  command->callback([options] {
    const Inspection inspection = inspect(*options);
    if (options->json) {
      fmt::print("{}\n", to_json(inspection, options->tensors)
                             .dump(2, ' ', false, Json::error_handler_t::replace));
    } else {
      print_text(inspection, options->tensors);
    }
  });
}

}  // namespace hearth::cli
