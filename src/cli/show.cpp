// hearth show: what the store knows about one model, and the short facts of its header.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/fetching.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/said.h"
#include "cli/words.h"
#include "gguf/file.h"
#include "hub/sha256.h"
#include "hub/store.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ShowOptions {
  std::string name;
  bool json = false, verify = false;
};

struct HeaderFacts {
  std::string architecture, title, license;
  std::uint64_t parameters = 0, context = 0;
  bool chat_template = false;
};

HeaderFacts header_facts(const std::filesystem::path& path) {
  const gguf::File file = gguf::File::open(path);
  const gguf::Metadata& metadata = file.metadata();
  const auto text = [&](std::string_view key) {
    return std::string(metadata.get_string(key).value_or(std::string_view()));
  };
  HeaderFacts facts;
  facts.architecture = text("general.architecture");
  facts.title = text("general.name");
  facts.license = text("general.license");
  facts.context = metadata.get_uint(facts.architecture + ".context_length").value_or(0);
  facts.chat_template = metadata.contains("tokenizer.chat_template");
  for (const gguf::TensorInfo& tensor : file.tensors())
    facts.parameters += static_cast<std::uint64_t>(tensor.elements());
  return facts;
}

hub::StoredModel find_model(const std::string& name) {
  if (auto model = model_store().find(name)) return std::move(*model);
  // The beginning of a name, or a reference.
  const std::filesystem::path path = resolve_model(name);
  for (hub::StoredModel& model : model_store().list().models) {
    if (model.path == path) return std::move(model);
  }
  throw Error(fmt::format("the store has no model '{}'", printable(name)),
              "hearth list shows all; hearth inspect describes files");
}

void verify_file(const hub::StoredFile& file, const std::filesystem::path& path,
                 const std::string& hint) {
  if (hub::sha256_of_file(path) == file.sha256) return;
  throw Error(
      fmt::format("{} is damaged: its SHA-256 is not {}", printable(file.name), file.sha256), hint);
}

/// Reads every byte of what has a SHA-256. Throws Error when a file is not what it was; false when
/// there was nothing to compare some file with.
bool verify(const hub::StoredModel& model, const hub::Store& store) {
  bool all = true;
  for (const hub::StoredFile& file : model.manifest.files) {
    if (file.sha256.empty()) {
      tell(
          fmt::format("{} was not checked: nobody has told its SHA-256, so there is nothing to "
                      "compare it with",
                      printable(file.name)));
      all = false;
      continue;
    }
    verify_file(file, store.models() / file.name,
                fmt::format("hearth rm {} and pull it again", model.manifest.name));
  }
  for (const hub::StoredFile& adapter : model.manifest.adapters) {
    verify_file(adapter, store.blob_path(adapter.sha256),
                fmt::format("hearth rm {} and make it again", model.manifest.name));
  }
  return all;
}

Json to_json(const std::vector<hub::StoredFile>& files) {
  Json list = Json::array();
  for (const hub::StoredFile& file : files) {
    list.push_back({{"name", file.name},
                    {"size", file.size},
                    {"sha256", file.sha256.empty() ? Json(nullptr) : Json(file.sha256)},
                    {"url", file.url.empty() ? Json(nullptr) : Json(file.url)},
                    {"adopted", file.adopted.empty() ? Json(nullptr) : Json(file.adopted)}});
  }
  return list;
}

Json to_json(const hub::StoredModel& model, const std::optional<HeaderFacts>& facts) {
  Json json{{"name", model.manifest.name},
            {"path", model.path.string()},
            {"size", model.manifest.size()},
            {"quant", model.manifest.quant},
            {"source", model.by_hand ? "hand" : model.manifest.source},
            {"reference", model.manifest.reference},
            {"requested", model.manifest.requested},
            {"added", model.manifest.added},
            {"used", model.used.empty() ? Json(nullptr) : Json(model.used)},
            {"problem", model.problem.empty() ? Json(nullptr) : Json(model.problem)},
            {"files", to_json(model.manifest.files)},
            {"adapters", to_json(model.manifest.adapters)},
            {"texts", model.manifest.texts},
            {"header", nullptr}};
  if (facts) {
    json["header"] = {
        {"architecture", facts->architecture}, {"name", facts->title},
        {"license", facts->license},           {"parameters", facts->parameters},
        {"context_length", facts->context},    {"chat_template", facts->chat_template}};
  }
  return json;
}

void print_line(const char* label, const std::string& text) {
  if (!text.empty()) fmt::print("  {:<14} {}\n", label, text);
}

void print_text(const hub::StoredModel& model, const std::optional<HeaderFacts>& facts) {
  const hub::Manifest& manifest = model.manifest;
  fmt::print("{}\n", printable(manifest.name));
  print_line("from", model.by_hand ? "put there by hand" : printable(manifest.reference, 300));
  print_line("asked for as", printable(manifest.requested));
  print_line("quantization", printable(manifest.quant));
  print_line("size", size_text(manifest.size()));
  print_line("added", printable(manifest.added));
  print_line("used last", model.used.empty() ? "never" : model.used);
  for (const hub::StoredFile& file : manifest.files) {
    print_line("file", fmt::format("{}, {}", printable(file.name), size_text(file.size)));
    if (!file.adopted.empty()) print_line("  adopted", printable(file.adopted, 300));
    if (!file.sha256.empty()) print_line("  sha256", file.sha256);
  }
  for (const hub::StoredFile& adapter : manifest.adapters) {
    print_line("adapter", fmt::format("{}, {}", printable(adapter.name), size_text(adapter.size)));
    print_line("  sha256", adapter.sha256);
  }
  for (const auto& [kind, text] : manifest.texts)
    print_line("comes with", fmt::format("{} ({} bytes)", printable(kind), text.size()));
  if (!model.problem.empty()) print_line("not usable", model.problem);
  if (!facts) return;
  print_line("title", printable(facts->title));
  print_line("architecture", printable(facts->architecture));
  print_line("parameters",
             fmt::format("{:.2f} billion", static_cast<double>(facts->parameters) / 1e9));
  if (facts->context > 0)
    print_line("context", fmt::format("trained for {} tokens", facts->context));
  print_line("license", printable(facts->license));
  print_line("chat", facts->chat_template ? "has a chat template" : "has no chat template");
  fmt::print("More: hearth inspect {}\n", printable(manifest.name));
}

void run_show(const ShowOptions& options) {
  const hub::Store store = model_store();
  const hub::StoredModel model = find_model(plain_word(options.name));
  std::optional<HeaderFacts> facts;
  if (model.problem.empty()) facts = header_facts(model.path);
  const bool verified = options.verify && verify(model, store);
  if (options.json) {
    print_json(to_json(model, facts));
    return;
  }
  print_text(model, facts);
  if (verified) fmt::print("Every byte is as its SHA-256 says.\n");
}

}  // namespace

void add_show_command(CLI::App& app) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command = app.add_subcommand("show", "Show what is known about a model of the store");
  command->footer(
      "Where it came from, its files and their hashes, and the short facts of its header; hearth "
      "inspect tells what it is made of and the memory it needs.\n\n"
      "Examples:\n"
      "  hearth show qwen3-0.6b-q8_0\n"
      "  hearth show qwen3-0.6b-q8_0 --verify\n"
      "\n"
      "Exit status:\n"
      "  0  shown              2  wrong usage\n"
      "  1  failed, or damaged\n");
  command->add_option("NAME", options->name, "A model of the store")->required()->type_name("");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->add_flag("--verify", options->verify, "Read all of it and check its SHA-256");
  command->callback([options] { run_show(*options); });
}

}  // namespace hearth::cli
