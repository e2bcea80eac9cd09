// hearth rm: remove models from the store.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/fetching.h"
#include "cli/main.h"
#include "cli/models.h"
#include "cli/said.h"
#include "cli/terminal.h"
#include "cli/words.h"
#include "hub/store.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

struct RemoveOptions {
  std::vector<std::string> names;
  bool yes = false;
};

/// "yes" or "y"; anything else, and the end of input, is no.
std::string question(const std::string& name, const hub::Listing& listing) {
  for (const hub::StoredModel& model : listing.models) {
    if (model.manifest.name != name) continue;
    const bool adopted = !model.manifest.files.front().adopted.empty();
    if (adopted) return fmt::format("Forget {}, whose file stays where it is?", name);
    return fmt::format("Delete {} ({})?", printable(name), size_text(model.manifest.size()));
  }
  for (const hub::UnfinishedDownload& download : listing.unfinished) {
    if (download.name == name)
      return fmt::format("Delete the unfinished download of {}?", printable(name));
  }
  throw Error(fmt::format("no model is called '{}'", printable(name)), "hearth list shows all");
}

void remove_models(const RemoveOptions& options) {
  const hub::Store store = model_store();
  const hub::Listing listing = store.list();
  print_notes(listing.warnings);
  std::vector<std::string> names;
  std::vector<std::string> questions;
  for (const std::string& word : options.names) {  // all or none
    names.push_back(plain_word(word));
    questions.push_back(question(names.back(), listing));
  }
  const bool ask = !options.yes && is_terminal(STDIN_FILENO);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (ask && !agreed(questions[i])) {
      fmt::print("{} stays.\n", printable(names[i]));
      continue;
    }
    const hub::Removal removal = store.remove(names[i]);
    fmt::print("{} is gone; {} freed.\n", printable(names[i]), size_text(removal.freed));
    for (const std::string& kept : removal.kept) fmt::print("  {} stays.\n", printable(kept, 300));
    for (const std::string& other : removal.shared)
      fmt::print("  Its file stays: {} needs it, too.\n", printable(other));
  }
}

}  // namespace

void add_rm_command(CLI::App& app) {
  auto options = std::make_shared<RemoveOptions>();
  CLI::App* command = app.add_subcommand("rm", "Remove models from the store");
  command->footer(
      "Deletes the files that no other model of the store needs. Of adopted models only the link "
      "is removed. An unfinished download is removed by the name that hearth list shows. On a "
      "terminal it asks before.\n\n"
      "Examples:\n"
      "  hearth rm qwen3-0.6b-q8_0\n"
      "  hearth rm old-model older-model --yes\n"
      "\n"
      "Exit status:\n"
      "  0  removed, or you said no    2  wrong usage\n"
      "  1  failed\n");
  command->add_option("NAME", options->names, "Models of the store, by their full names")
      ->required()
      ->type_name("");
  command->add_flag("-y,--yes", options->yes, "Do not ask");
  command->callback([options] { remove_models(*options); });
}

}  // namespace hearth::cli
