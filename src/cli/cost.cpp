// hearth cost: what tokens cost here and in the cloud.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/help.h"
#include "cli/main.h"
#include "cli/plan_table.h"
#include "cli/planning.h"
#include "cli/said.h"
#include "cli/words.h"
#include "plan/cost_of_tokens.h"
#include "plan/rank.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr double kMillion = 1e6;

struct CostOptions {
  std::string model, use = "chat", machine, engine = "hearth";
  double input = 200000, output = 50000;
  double watts = 0, idle_watts = 0, price_per_kwh = -1, hardware_price = 0;
  std::optional<double> years;
  double input_price = -1, output_price = -1;
  bool json = false;
};

/// The candidate whose tokens are priced. Throws Error when there is none.
plan::Candidate subject(const CostOptions& options, const plan::Catalog& catalog,
                        const plan::Uses& uses, const machine::Machine& machine) {
  plan::Request request;
  request.use = options.use;
  request.engine = options.engine;
  if (options.model.empty()) {
    plan::Ranking ranking = plan::rank(catalog, uses, machine, request);
    const plan::Candidate* best = ranking.recommended();
    if (best == nullptr) {
      throw Error("no model of the catalog is fast enough here to be worth a price",
                  "name one: hearth cost MODEL");
    }
    return *best;
  }
  const auto [name, quant] = split_quant(plain_word(options.model));
  const plan::CatalogModel& model = catalog_model(catalog, name);
  for (plan::Candidate& candidate :
       plan::consider_all(model, uses, uses.use(options.use), machine, request)) {
    if (quant.empty() || candidate.quant.name == quant) return candidate;
  }
  throw Error(
      fmt::format("{} is not known in the format '{}'", printable(model.name), printable(quant)),
      fmt::format("see hearth catalog show {}", printable(model.name)), ExitCode::kUsage);
}

plan::LocalTerms terms_of(const CostOptions& options, const plan::Prices& prices,
                          const PlannedMachine& planned, const plan::Candidate& candidate) {
  plan::LocalTerms terms;
  terms.decode_tps = candidate.decode_tps;
  terms.prefill_tps = candidate.prefill_tps;
  terms.watts = options.watts > 0 ? options.watts : planned.watts;
  if (terms.watts <= 0) {
    terms.watts =
        prices.watts_base + prices.watts_per_core * std::max(1, planned.machine.cpu.usable_cores);
  }
  terms.idle_watts = options.idle_watts;
  terms.price_per_kwh = options.price_per_kwh >= 0 ? options.price_per_kwh : prices.price_per_kwh;
  terms.hardware_price = options.hardware_price;
  terms.lifetime_years = options.years.value_or(prices.lifetime_years);
  return terms;
}

std::string dollars(double amount) {
  if (amount >= 100) return fmt::format("${:.0f}", amount);
  return amount >= 0.1 || amount == 0 ? fmt::format("${:.2f}", amount)
                                      : fmt::format("${:.4f}", amount);
}

std::string break_even_words(double days, const plan::LocalTerms& terms) {
  if (days < 0) return "never: power costs more";
  if (terms.hardware_price <= 0) return "at once";
  if (days < 60) return fmt::format("{:.0f} days", std::max(days, 1.0));
  if (days < 730) return fmt::format("{:.0f} months", days / 30.44);
  return fmt::format("{:.0f} years", days / 365.25);
}

/// The prices to compare with: the user's own first.
std::vector<plan::ApiPrice> compared(const CostOptions& options, const plan::Prices& prices) {
  std::vector<plan::ApiPrice> apis = prices.apis;
  if (options.input_price < 0 && options.output_price < 0) return apis;
  plan::ApiPrice own{"your price",
                     "",
                     "today",
                     "command line",
                     std::max(0.0, options.input_price),
                     std::max(0.0, options.output_price),
                     ""};
  apis.insert(apis.begin(), own);
  return apis;
}

void print_cost(const plan::Candidate& candidate, const plan::TokenLoad& load,
                const plan::LocalTerms& terms, const std::vector<plan::ApiPrice>& apis) {
  const plan::LocalCost local = plan::local_cost(load, terms);
  Json json = {{"model", candidate.model->name},
               {"quant", candidate.quant.name},
               {"decode_tps", terms.decode_tps},
               {"prefill_tps", terms.prefill_tps},
               {"input_per_day", load.input_per_day},
               {"output_per_day", load.output_per_day},
               {"watts", terms.watts},
               {"idle_watts", terms.idle_watts},
               {"price_per_kwh", terms.price_per_kwh},
               {"hardware_price", terms.hardware_price},
               {"lifetime_years", terms.lifetime_years},
               {"hours_per_day", local.hours_per_day},
               {"possible", local.possible},
               {"power_per_day", local.power_per_day},
               {"hardware_per_day", local.hardware_per_day}};
  json["apis"] = Json::array();
  for (const plan::ApiPrice& api : apis) {
    const double days = plan::break_even_days(load, terms, api);
    json["apis"].push_back({{"name", api.name},
                            {"input_price", api.input},
                            {"output_price", api.output},
                            {"date", api.date},
                            {"source", api.source},
                            {"per_day", plan::cloud_cost(load, api)},
                            {"break_even_days", days < 0 ? Json(nullptr) : Json(days)}});
  }
  print_json(json);
}

void print_text(const PlannedMachine& planned, const plan::Candidate& candidate,
                const plan::TokenLoad& load, const plan::LocalTerms& terms,
                const plan::Prices& prices, const std::vector<plan::ApiPrice>& apis) {
  const plan::LocalCost local = plan::local_cost(load, terms);
  fmt::print("{}\n", wrapped("Machine: " + machine_words(planned.machine), 0, 100));
  fmt::print(
      "A day of {:.3g} million tokens read and {:.3g} million written, with {} {} at {} "
      "tokens/s (prompts {}):\n",
      load.input_per_day / kMillion, load.output_per_day / kMillion,
      printable(candidate.model->name), printable(candidate.quant.name),
      three_digits(terms.decode_tps), three_digits(terms.prefill_tps));
  fmt::print("  here     {:.1f} hours at {:.0f} W and ${:g} per kWh: {} of power",
             local.hours_per_day, terms.watts, terms.price_per_kwh, dollars(local.power_per_day));
  if (terms.hardware_price > 0) {
    fmt::print(", {} of a machine of {} over {:g} years", dollars(local.hardware_per_day),
               dollars(terms.hardware_price), terms.lifetime_years);
  }
  fmt::print("\n");
  if (!local.possible) fmt::print("           more than a day has: this machine cannot do it\n");
  TextTable table({"cloud", "read, per million", "written", "a day", "break-even", "price of"},
                  {true, false, false, false, false, true});
  for (const plan::ApiPrice& api : apis) {
    table.row(
        {printable(api.name), dollars(api.input), dollars(api.output),
         dollars(plan::cloud_cost(load, api)),
         local.possible ? break_even_words(plan::break_even_days(load, terms, api), terms) : "-",
         printable(api.date)});
  }
  fmt::print("\n{}", table.text());
  fmt::print(
      "\n{}\n",
      wrapped(fmt::format("These models differ: {} has quality {:.0f} for {} here, and the "
                          "large ones of the cloud are better than anything that fits a "
                          "desk. List prices change; break-even counts power{}.",
                          printable(candidate.model->name), candidate.quality_here, "this use",
                          terms.hardware_price > 0 ? " and the whole price of the machine"
                                                   : ", and no machine (--hardware-price)"),
              0, 100));
  for (const auto& [key, text] : prices.sources)
    fmt::print("{}\n",
               wrapped(fmt::format("{}: {}", printable(key), printable(text, 400)), 2, 100));
}

void run_cost(const CostOptions& options) {
  if (options.years == 0.0) {
    throw Error("--years 0: a machine that is never used has no cost per day",
                "give a number above 0", ExitCode::kUsage);
  }
  const PlannedMachine planned = planned_machine(options.machine);
  const plan::Catalog catalog = planned_catalog();
  const plan::Uses uses = plan::builtin_uses();
  const plan::Prices prices = plan::builtin_prices();
  const plan::Candidate candidate = subject(options, catalog, uses, planned.machine);
  const plan::TokenLoad load{options.input, options.output};
  const plan::LocalTerms terms = terms_of(options, prices, planned, candidate);
  const std::vector<plan::ApiPrice> apis = compared(options, prices);
  if (options.json) return print_cost(candidate, load, terms, apis);
  print_text(planned, candidate, load, terms, prices, apis);
}

void add_options(CLI::App& command, CostOptions& options) {
  const auto number = [&](const char* name, double& to, const char* about, const char* type,
                          double most = 1e12) {
    command.add_option(name, to, about)->type_name(type)->check(CLI::Range(0.0, most));
  };
  command.add_option("MODEL", options.model,
                     "A name of the catalog, :QUANT may follow (default: what hearth plan "
                     "recommends)");
  command.add_option("--for", options.use, "What it is for (default: chat)")->type_name("USE");
  command.add_option("--machine", options.machine, "Another machine: a preset or a file")
      ->type_name("FILE|PRESET");
  command.add_option("--engine", options.engine, "Whose speeds (default: hearth)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"hearth", "llama.cpp", "ollama", "mlx", "lm studio"}));
  number("--input", options.input, "Tokens read per day (default: 200000)", "N");
  number("--output", options.output, "Tokens written per day (default: 50000)", "N");
  number("--watts", options.watts, "Power while it computes (default: guessed from the machine)",
         "W", 1e6);
  number("--idle-watts", options.idle_watts,
         "Power for the rest of the day, if the machine runs only for this (default: 0)", "W", 1e6);
  number("--price-per-kwh", options.price_per_kwh, "Price of power in dollars (default: 0.17)", "X",
         100);
  number("--hardware-price", options.hardware_price,
         "What the machine costs, if it is bought for this (default: 0)", "X");
  command.add_option("--years", options.years, "How long it is used (default: 4)")
      ->type_name("N")
      ->check(CLI::Range(0.0, 100.0));
  number("--input-price", options.input_price, "Your cloud's price per million tokens read", "X");
  number("--output-price", options.output_price, "Your cloud's price per million tokens written",
         "X");
  command.add_flag("--json", options.json, "Print one JSON object");
}

}  // namespace

void add_cost_command(CLI::App& app) {
  auto options = std::make_shared<CostOptions>();
  CLI::App* command = app.add_subcommand("cost", "What tokens cost here and in the cloud");
  add_options(*command, *options);
  command->footer(
      "Compares a day's tokens at list prices of cloud interfaces (each with its date) with the "
      "power they take here and, if you name it, the price of the machine; and tells after how "
      "long the machine has paid for itself.\n\n"
      "Examples:\n"
      "  hearth cost\n"
      "  hearth cost qwen3.5-4b --input 1000000 --output 200000\n"
      "  hearth cost --machine rtx-3090 --engine llama.cpp --hardware-price 1600 --idle-watts 60\n"
      "  hearth cost --price-per-kwh 0.35 --input-price 0.5 --output-price 2\n"
      "\n"
      "Exit status:\n"
      "  0  printed            2    wrong usage\n"
      "  1  failed\n");
  command->callback([options] { run_cost(*options); });
}

}  // namespace hearth::cli
