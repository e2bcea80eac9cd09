#include "plan/cost_of_tokens.h"

#include <gtest/gtest.h>

#include "support/error.h"

namespace hearth::plan {
namespace {

LocalTerms terms() {
  LocalTerms terms;
  terms.decode_tps = 10;
  terms.prefill_tps = 100;
  terms.watts = 100;
  terms.price_per_kwh = 0.2;
  return terms;
}

TEST(CostOfTokens, IsTimeTimesPower) {
  // 36000 written at 10 per second: an hour; 360000 read at 100: another.
  const LocalCost cost = local_cost({360000, 36000}, terms());
  EXPECT_DOUBLE_EQ(cost.hours_per_day, 2);
  EXPECT_TRUE(cost.possible);
  EXPECT_NEAR(cost.power_per_day, 0.04, 1e-12);
  EXPECT_EQ(cost.hardware_per_day, 0);
}

TEST(CostOfTokens, IdlingCountsForTheRestOfTheDay) {
  LocalTerms idle = terms();
  idle.idle_watts = 50;
  EXPECT_NEAR(local_cost({0, 36000}, idle).power_per_day, (0.1 + 23 * 0.05) * 0.2, 1e-12);
}

TEST(CostOfTokens, MoreThanADayIsNotPossible) {
  EXPECT_FALSE(local_cost({0, 1e7}, terms()).possible);
}

TEST(CostOfTokens, BreakEvenIsPriceBySavings) {
  LocalTerms bought = terms();
  bought.hardware_price = 996;
  ApiPrice api;
  api.output = 30;  // 36000 tokens: 1.08 dollars against 0.02 of power
  EXPECT_NEAR(cloud_cost({0, 36000}, api), 1.08, 1e-12);
  EXPECT_NEAR(break_even_days({0, 36000}, bought, api), 996 / 1.06, 1e-9);
  api.output = 0.1;
  EXPECT_LT(break_even_days({0, 36000}, bought, api), 0);
  EXPECT_NEAR(local_cost({0, 36000}, bought).hardware_per_day, 996 / (4 * 365.25), 1e-9);
}

TEST(Prices, HaveDatesAndSources) {
  const Prices prices = builtin_prices();
  ASSERT_GT(prices.apis.size(), 5U);
  for (const ApiPrice& api : prices.apis) {
    EXPECT_EQ(api.date.size(), 10U) << api.name;
    EXPECT_TRUE(prices.sources.contains(api.source)) << api.name;
    EXPECT_GT(api.output, 0) << api.name;
  }
  EXPECT_TRUE(prices.sources.contains(prices.power_source));
  EXPECT_GT(prices.price_per_kwh, 0);
}

TEST(Prices, RefusesThoseWithoutADate) {
  EXPECT_THROW((void)parse_prices(R"({"format": "hearth-prices-1", "sources": {"s": "x"},
      "apis": [{"name": "a", "source": "s"}]})",
                                  "'t'"),
               Error);
}

}  // namespace
}  // namespace hearth::plan
