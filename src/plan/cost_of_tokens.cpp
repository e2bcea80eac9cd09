#include "plan/cost_of_tokens.h"

#include <algorithm>

#include "measure/json_reader.h"
#include "plan/data.h"

namespace hearth::plan {
namespace {

using Json = nlohmann::json;
using measure::JsonReader;

constexpr double kDaysPerYear = 365.25, kHours = 3600, kMillion = 1e6;

double energy_per_day(const LocalTerms& terms, double hours) {
  const double busy = std::min(hours, 24.0);
  return (terms.watts * busy + terms.idle_watts * (24 - busy)) / 1000 * terms.price_per_kwh;
}

}  // namespace

Prices parse_prices(std::string_view text, const std::string& source) {
  const Json json = measure::parse_json(text, source, measure::kDataFile);
  JsonReader reader(json, source, "", measure::kDataFile);
  if (reader.needed_text("format") != "hearth-prices-1")
    reader.fail("format", "is not \"hearth-prices-1\"");
  (void)reader.texts("about");
  Prices prices;
  reader.each_text("sources", [&](const std::string& key, const std::string& explanation) {
    prices.sources[key] = explanation;
  });
  reader.each("apis", [&](JsonReader& entry) {
    ApiPrice price;
    price.name = entry.needed_text("name");
    price.vendor = entry.text("vendor");
    price.input = entry.number("input", 0, 0, 1e6);
    (void)entry.number("cached_input", 0, 0, 1e6);
    price.output = entry.number("output", 0, 0, 1e6);
    price.date = entry.needed_text("date");
    price.source = entry.needed_text("source");
    price.same_as = entry.text("same_as");
    if (!prices.sources.contains(price.source)) entry.fail("source", "is not under 'sources'");
    prices.apis.push_back(std::move(price));
  });
  reader.inside("power", [&](JsonReader& terms) {
    prices.price_per_kwh = terms.number("price_per_kwh", 0, 0, 100);
    prices.power_source = terms.text("source");
    prices.watts_base = terms.number("watts_base", 0, 0, 1e5);
    prices.watts_per_core = terms.number("watts_per_core", 0, 0, 1e4);
    prices.lifetime_years = terms.number("lifetime_years", 4, 0.1, 100);
  });
  reader.finish();
  std::stable_sort(prices.apis.begin(), prices.apis.end(),
                   [](const ApiPrice& a, const ApiPrice& b) { return a.output < b.output; });
  return prices;
}

Prices builtin_prices() {
  return parse_prices(embedded_file("prices.json"), "the built-in prices");
}

LocalCost local_cost(const TokenLoad& load, const LocalTerms& terms) {
  LocalCost cost;
  const double seconds = (terms.prefill_tps > 0 ? load.input_per_day / terms.prefill_tps : 0) +
                         (terms.decode_tps > 0 ? load.output_per_day / terms.decode_tps : 0);
  cost.hours_per_day = seconds / kHours;
  cost.possible = cost.hours_per_day <= 24;
  cost.power_per_day = energy_per_day(terms, cost.hours_per_day);
  cost.hardware_per_day = terms.hardware_price / (terms.lifetime_years * kDaysPerYear);
  return cost;
}

double cloud_cost(const TokenLoad& load, const ApiPrice& price) noexcept {
  return (load.input_per_day * price.input + load.output_per_day * price.output) / kMillion;
}

double break_even_days(const TokenLoad& load, const LocalTerms& terms, const ApiPrice& price) {
  const double saved = cloud_cost(load, price) - local_cost(load, terms).power_per_day;
  if (saved <= 0) return -1;
  return terms.hardware_price / saved;
}

}  // namespace hearth::plan
