// hearth pull: fetch a model into the store.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/fetching.h"
#include "cli/main.h"
#include "cli/words.h"
#include "hub/sha256.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

struct PullOptions {
  std::string reference, name, sha256;
};

void run_pull(const PullOptions& options) {
  if (!options.sha256.empty() && !hub::is_sha256(options.sha256)) {
    throw Error(fmt::format("'{}' is no SHA-256", printable(options.sha256)),
                "write its 64 hexadecimal digits in lower case", ExitCode::kUsage);
  }
  const hub::PullResult result =
      pull_model(plain_word(options.reference), options.name, options.sha256);
  fmt::print("{}\n", result.manifest.name);
}

}  // namespace

void add_pull_command(CLI::App& app) {
  auto options = std::make_shared<PullOptions>();
  CLI::App* command = app.add_subcommand("pull", "Fetch a model into the store");
  command->footer(
      "REFERENCE is one of:\n"
      "  NAME                      a model of the catalog; NAME:Q4_K_M, too\n"
      "  hf:ORG/REPO               Hugging Face; also hf:ORG/REPO:QUANT,\n"
      "                            hf:ORG/REPO:FILE.gguf, hf:ORG/REPO@REVISION\n"
      "  ollama:NAME[:TAG]         Ollama's registry\n"
      "  https://…                 any address of a .gguf file\n"
      "  FILE.gguf                 a file here: it stays there, the store gets a link\n"
      "\n"
      "When a repository has several quantizations and none is named, the one that suits this "
      "machine is taken. All parts of a split model are fetched.\n"
      "\n"
      "A file is checked against its SHA-256 before it appears in the store. A download that was "
      "cut short, in whatever way, goes on where it stopped when it is asked for again. Prints the "
      "name under which the store has the model.\n"
      "\n"
      "Environment:\n"
      "  HF_TOKEN                 token for gated models; sent to Hugging Face only\n"
      "  HF_ENDPOINT              another address for Hugging Face (a mirror)\n"
      "  HEARTH_OLLAMA_REGISTRY   another address for Ollama's registry\n"
      "  HEARTH_OFFLINE           1: never use the network\n"
      "  https_proxy, no_proxy    as everywhere\n"
      "\n"
      "Examples:\n"
      "  hearth pull hf:Qwen/Qwen3-0.6B-GGUF:Q8_0\n"
      "  hearth pull ollama:llama3.2:1b\n"
      "  hearth pull https://example.org/models/tiny.gguf --name tiny\n"
      "\n"
      "Exit status:\n"
      "  0  it is in the store    3    the disk is too full\n"
      "  1  failed                130  interrupted; what was fetched is kept\n"
      "  2  wrong usage\n");
  command->add_option("REFERENCE", options->reference, "What to fetch")->required()->type_name("");
  command->add_option("--name", options->name, "What to call it in the store")->type_name("NAME");
  command
      ->add_option("--sha256", options->sha256,
                   "The hash that the file must have, where its server does not tell")
      ->type_name("HEX");
  command->callback([options] { run_pull(*options); });
}

}  // namespace hearth::cli
