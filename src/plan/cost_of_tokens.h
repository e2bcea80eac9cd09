// What tokens cost: in the cloud, by list prices with dates (data/prices.json), and here, by power
// and hardware.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::plan {

/// US dollars per million tokens.
struct ApiPrice {
  std::string name, vendor, date, source;
  double input = 0, output = 0;
  std::string same_as;  // the model of the catalog that it is
};

struct Prices {
  std::vector<ApiPrice> apis;  // cheap ones first
  std::map<std::string, std::string> sources;
  double price_per_kwh = 0;
  std::string power_source;
  double watts_base = 0, watts_per_core = 0;
  double lifetime_years = 0;
};

/// Throws Error.
[[nodiscard]] Prices parse_prices(std::string_view text, const std::string& source);
[[nodiscard]] Prices builtin_prices();

/// A month's (30 days) or a day's work.
struct TokenLoad {
  double input_per_day = 0, output_per_day = 0;
};

struct LocalCost {
  double hours_per_day = 0;  // of computing
  bool possible = true;      // 24 hours are enough
  double power_per_day = 0;  // dollars
  double hardware_per_day = 0;
  [[nodiscard]] double total() const noexcept { return power_per_day + hardware_per_day; }
};

struct LocalTerms {
  double decode_tps = 0, prefill_tps = 0;
  double watts = 0, idle_watts = 0;  // idle: charged for the rest of the day, if the machine runs
                                     // only for this
  double price_per_kwh = 0;
  double hardware_price = 0, lifetime_years = 4;
};

[[nodiscard]] LocalCost local_cost(const TokenLoad& load, const LocalTerms& terms);

/// Dollars per day.
[[nodiscard]] double cloud_cost(const TokenLoad& load, const ApiPrice& price) noexcept;

/// Days after which hardware of `hardware_price` has paid for itself; < 0: never.
[[nodiscard]] double break_even_days(const TokenLoad& load, const LocalTerms& terms,
                                     const ApiPrice& price);

}  // namespace hearth::plan
