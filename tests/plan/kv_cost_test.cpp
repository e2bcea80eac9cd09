// What plans say about KV formats against the pool's own bytes.
#include "plan/kv_cost.h"

#include <gtest/gtest.h>

#include "compute/cpu/cpu_backend.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "plan/counted_workload.h"
#include "plan/hardware_class.h"
#include "plan/processor_estimate.h"
#include "support/error.h"

namespace hearth::plan {
namespace {

machine::Machine some_machine() {
  machine::Machine m;
  m.memory.total_bytes = m.memory.available_bytes = std::uint64_t{1} << 40;
  m.read_bytes_per_second = 50e9;
  m.cpu.usable_cores = 2;
  m.kernels = {{"Q4_K", 50e9, 300e9}, {"F32", 50e9, 50e9}, {"Q8_0", 50e9, 300e9}};
  return m;
}

/// Acceptance 7 of issue 6: within 2 %, for shapes of every kind of memory.
TEST(KvCost, PlansAreWithinTwoPerCentOfThePool) {
  const auto backend =
      compute::make_cpu_backend({.threads = 2, .exact = false, .instruction_set = {}});
  for (const char* name : {"llama3-8b", "qwen3.5-9b", "gemma3-4b", "gpt-oss-20b", "lfm2-350m"}) {
    const HeaderFile header(measure::known_shape(name, {}));
    const Workload work = counted_workload(header.file(), backend.get());
    for (const char* format :
         {"F16", "BF16", "Q8_0", "F32", "tq4", "tq3", "tq3u", "tq2.5", "q4_0r", "q8_0:tq3"}) {
      for (const std::int64_t context : {std::int64_t{8192}, std::int64_t{131072}}) {
        spec::Setup setup;
        setup.context = context;
        setup.kv_type = spec::parse_kv_format(format);
        setup.snapshots = -1;  // a chat's, as plans count them: windows have pages for them
        const auto bytes = static_cast<double>(
            model::kv_bytes(model::describe_model(header.file(), {context}), setup, *backend));
        Conditions conditions;
        conditions.context = context;
        conditions.kv_type = setup.kv_type.name();
        const Estimate planned = estimate_on_processor(work, some_machine(), conditions);
        EXPECT_NEAR(planned.memory.kv / bytes, 1, 0.02) << name << " " << format << " " << context;
      }
    }
  }
}

TEST(KvCost, FewerBytesDecodeFasterAndFitFurther) {
  const HeaderFile header(measure::known_shape("llama3.2-1b", {}));
  const Workload work = counted_workload(header.file());
  machine::Machine m = some_machine();
  m.memory.available_bytes = std::uint64_t{5} << 29;
  m.engine.kv_bytes_per_second = 40e9;
  m.engine.kv_multiply_adds = 1e12;
  Conditions conditions;
  conditions.context = 65536;
  conditions.depths = {0, 65536};
  const std::vector<KvOffer> offers = kv_offers(work, m, conditions);
  ASSERT_GT(offers.size(), 3U);
  EXPECT_EQ(offers.front().format, "F16");
  for (std::size_t i = 1; i < offers.size(); ++i) {
    EXPECT_LT(offers[i].estimate.memory.kv, offers[i - 1].estimate.memory.kv);
    EXPECT_GT(offers[i].estimate.speeds[1].decode.tps, offers[i - 1].estimate.speeds[1].decode.tps);
    EXPECT_GE(offers[i].estimate.largest_context, offers[i - 1].estimate.largest_context);
    EXPECT_GT(offers[i].quality.divergence, 0);
  }
  EXPECT_FALSE(offers.front().estimate.fits);
  EXPECT_TRUE(offers.back().estimate.fits);
}

TEST(KvCost, UncountedWorkloadsAreGuessed) {
  Workload work;
  work.layers = 32;
  work.kv_bytes_per_token = 131072;
  EXPECT_EQ(kv_cost(work, "F16").per_token, 1);
  EXPECT_EQ(kv_cost(work, "Q8_0").per_token, 8.5 / 16);
  const KvCost three = kv_cost(work, "tq3");
  EXPECT_GT(three.per_token, 0.2);
  EXPECT_LT(three.per_token, 0.23);
  EXPECT_GT(three.fixed, 0);
  EXPECT_THROW((void)kv_cost(work, "q4_0"), Error);
  EXPECT_NEAR(kv_element_bytes("q8_0:tq4"), (8.1 + 4.1) / 16, 0.05);
  EXPECT_EQ(kv_element_bytes("Q8_0"), 34.0 / 32);
}

}  // namespace
}  // namespace hearth::plan
