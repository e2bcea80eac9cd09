// hearth import: adopt models that other programs fetched.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/fetching.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/words.h"
#include "hub/import.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

struct ImportOptions {
  std::string from;
  std::vector<std::string> folders;
};

std::optional<hub::ImportKind> kind_of(const std::string& name) {
  if (name == "ollama") return hub::ImportKind::kOllama;
  if (name == "lmstudio") return hub::ImportKind::kLmStudio;
  if (name == "hf") return hub::ImportKind::kHuggingFace;
  return std::nullopt;
}

std::vector<hub::ImportPlace> places_of(const ImportOptions& options) {
  const std::optional<hub::ImportKind> kind = kind_of(options.from);
  if (options.folders.empty()) return hub::usual_places(kind);
  std::vector<hub::ImportPlace> places;
  for (const std::string& word : options.folders) {
    const std::filesystem::path folder = plain_word(word);
    std::error_code ignored;
    if (!std::filesystem::is_directory(folder, ignored)) {
      throw Error(fmt::format("'{}' is no folder", printable(folder.string(), 300)),
                  "name a folder; single files are adopted by hearth pull FILE", ExitCode::kUsage);
    }
    places.push_back({kind.value_or(hub::recognize(folder)), std::filesystem::absolute(folder)});
  }
  return places;
}

void run_import(const ImportOptions& options) {
  const std::vector<hub::ImportPlace> places = places_of(options);
  if (places.empty()) {
    throw Error("no models of other programs were found in their usual folders",
                "name a folder: hearth import DIR");
  }
  const hub::ImportResult result = hub::import_models(model_store(), places);
  print_notes(result.skipped);
  for (const hub::Manifest& manifest : result.adopted) {
    fmt::print("{}  {}  {}\n", manifest.name, size_text(manifest.size()),
               printable(manifest.files.front().adopted, 300));
  }
  fmt::print(stderr, "{} adopted, {} known already, {} left out.\n", result.adopted.size(),
             result.known.size(), result.skipped.size());
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command =
      app.add_subcommand("import", "Adopt models that other programs fetched, without copying");
  command->footer(
      "The files stay where they are; the store gets links to them. Without DIR, the usual folders "
      "of Ollama (OLLAMA_MODELS), LM Studio and the Hugging Face cache (HF_HOME, HF_HUB_CACHE) are "
      "searched. A DIR may be such a folder, or any with .gguf files in it. When a file is gone "
      "later, hearth list says so.\n\n"
      "Examples:\n"
      "  hearth import\n"
      "  hearth import --from ollama\n"
      "  hearth import /mnt/models\n"
      "\n"
      "Exit status:\n"
      "  0  done               2  wrong usage\n"
      "  1  nothing to search, or it failed\n");
  command->add_option("--from", options->from, "Search only what this program keeps")
      ->check(CLI::IsMember({"ollama", "lmstudio", "hf"}))
      ->type_name("ollama|lmstudio|hf");
  command->add_option("DIR", options->folders, "Folders to search instead of the usual ones")
      ->type_name("");
  command->callback([options] { run_import(*options); });
}

}  // namespace hearth::cli
