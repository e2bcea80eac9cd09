#include "cli/model_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "cli/fetching.h"
#include "cli/planning.h"
#include "cli/suggest.h"
#include "cli/words.h"
#include "machine/machine.h"
#include "machine/memory.h"
#include "plan/rank.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

/// What a model takes beside its file: context, buffers, the rest of the system.
constexpr double kBeside = 1.1;
constexpr std::uint64_t kReserveBytes = std::uint64_t{1} << 30;

/// Remembers what the catalog said about a name until its files are known.
struct Choice {
  plan::Catalog catalog;
  std::optional<plan::CatalogModel> model;

  std::optional<hub::Source> look_up(std::string_view name);
  std::optional<std::size_t> choose(std::span<const hub::Candidate> candidates) const;
  std::optional<std::size_t> planned(std::span<const hub::Candidate> candidates) const;
};

std::string capitals(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return 'a' <= c && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text == "FP16" ? "F16" : text;
}

std::optional<hub::Source> Choice::look_up(std::string_view name) {
  catalog = planned_catalog();
  const plan::CatalogModel* const found = catalog.find(name);
  if (found == nullptr) {
    const std::string nearest = suggestion(name, catalog_names(catalog));
    if (nearest.empty()) return std::nullopt;
    throw Error(fmt::format("no model is called '{}' in the catalog", printable(name)),
                nearest +
                    " hearth catalog list shows all; those elsewhere are hf:ORG/REPO, "
                    "ollama:NAME, or an address");
  }
  if (found->repositories.empty()) {
    throw Error(fmt::format("the catalog knows no GGUF repository of {}", printable(name)),
                "name one: hearth pull hf:ORG/REPO");
  }
  model = *found;
  return hub::Source{"hf:" + found->repositories.front()};
}

/// The planner's best format that the repository has.
std::optional<std::size_t> Choice::planned(std::span<const hub::Candidate> candidates) const {
  const plan::Uses uses = plan::builtin_uses();
  plan::Request request;
  if (model->role == "embedding" || model->role == "rerank") request.use = "embed";
  const machine::Machine machine = planned_machine({}).machine;
  for (const plan::Candidate& format :
       plan::consider_all(*model, uses, uses.use(request.use), machine, request)) {
    if (!format.fits) continue;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (capitals(candidates[i].quant) != capitals(format.quant.name)) continue;
      fmt::print(stderr,
                 "{} is the best of {} formats for this machine: {:.0f} tokens/s expected.\n",
                 candidates[i].quant, candidates.size(), format.decode_tps);
      return i;
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> Choice::choose(std::span<const hub::Candidate> candidates) const {
  if (model) {
    if (const auto best = planned(candidates)) return best;
  }
  const std::uint64_t memory = machine::memory_facts().total;
  const auto fits = [&](const hub::Candidate& candidate) {
    return memory == 0 ||
           static_cast<double>(candidate.size()) * kBeside + static_cast<double>(kReserveBytes) <=
               static_cast<double>(memory);
  };
  const std::optional<std::size_t> usual = hub::choose_usual_quant(candidates);
  if (usual && fits(candidates[*usual])) return usual;
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const bool larger = !best || candidates[i].size() > candidates[*best].size();
    if (fits(candidates[i]) && larger) best = i;
  }
  if (best) {
    fmt::print(stderr, "{} ({}) is the largest of {} files that fits into memory.\n",
               candidates[*best].quant.empty() ? candidates[*best].name : candidates[*best].quant,
               size_text(candidates[*best].size()), candidates.size());
  }
  return best;
}

}  // namespace

hub::ResolveOptions planned_choice() {
  const auto choice = std::make_shared<Choice>();
  hub::ResolveOptions options;
  options.catalog = [choice](std::string_view name) { return choice->look_up(name); };
  options.chooser = [choice](std::span<const hub::Candidate> candidates) {
    return choice->choose(candidates);
  };
  return options;
}

}  // namespace hearth::cli
