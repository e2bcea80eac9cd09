// Ranking on described machines: which model, why, together, and the rules that must hold whatever
// the numbers are.
#include "plan/rank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "plan/presets.h"
#include "plan/recommend.h"
#include "plan/together.h"
#include "support/error.h"

namespace hearth::plan {
namespace {

class Ranks : public ::testing::Test {
 protected:
  static machine::Machine machine(const char* preset) {
    auto found = find_preset(preset);
    if (!found) throw Error(std::string("no preset ") + preset);
    return found->machine;
  }
  [[nodiscard]] Ranking rank_for(const char* preset, const char* use,
                                 const char* engine = "hearth") const {
    Request request;
    request.use = use;
    request.engine = engine;
    return rank(catalog_, uses_, machine(preset), request);
  }

  const Catalog catalog_ = builtin_catalog();
  const Uses uses_ = builtin_uses();
};

TEST_F(Ranks, EveryPresetGetsAModelToChatWithThatFitsAndIsFastEnough) {
  for (const Preset& preset : presets()) {
    SCOPED_TRACE(preset.key);
    const Ranking ranking = rank(catalog_, uses_, preset.machine, {});
    const Candidate* best = ranking.recommended();
    ASSERT_NE(best, nullptr);
    EXPECT_LE(best->estimate.memory.total(),
              static_cast<double>(preset.machine.memory.available_bytes));
    EXPECT_GE(best->decode_tps, uses_.use("chat").min_tps);
    EXPECT_TRUE(engine_runs(*best->model, "hearth"));
    EXPECT_EQ(best->estimate.residency, Residency::kMemory);
    const Advice advice = advise(catalog_, uses_, preset.machine, {}, ranking);
    EXPECT_FALSE(advice.why.empty());
    EXPECT_FALSE(advice.upgrades.empty());
  }
}

TEST_F(Ranks, OrderIsFittingAndFastThenFittingThenTheRest) {
  const Ranking ranking = rank_for("laptop-8gb", "code");
  int last = 0;
  for (const Candidate& c : ranking.candidates) {
    const int grade = !c.fits ? 2 : c.fast_enough && c.context_known ? 0 : 1;
    EXPECT_GE(grade, last) << c.model->name;
    EXPECT_EQ(c.trouble.empty(), grade == 0) << c.model->name;
    last = grade;
  }
  EXPECT_EQ(last, 2);  // something does not fit into 8 GB
}

TEST_F(Ranks, MoreMemoryNeverMakesItWorse) {
  machine::Machine small = machine("laptop-8gb"), large = small;
  large.memory.total_bytes *= 4;
  large.memory.available_bytes *= 4;
  for (const char* use : {"chat", "code", "agent", "rag"}) {
    Request request;
    request.use = use;
    const Ranking before = rank(catalog_, uses_, small, request);
    const Ranking after = rank(catalog_, uses_, large, request);
    ASSERT_NE(after.recommended(), nullptr) << use;
    if (before.recommended() != nullptr) {
      EXPECT_GE(after.recommended()->value, before.recommended()->value) << use;
    }
  }
}

TEST_F(Ranks, RequirementsAreHeldTo) {
  Request request;
  request.min_tps = 30;
  request.context = 65536;
  const Ranking ranking = rank(catalog_, uses_, machine("laptop-16gb"), request);
  for (const Candidate& c : ranking.candidates) {
    if (c.model->context > 0) {
      EXPECT_GE(c.model->context, 65536) << c.model->name;
    }
  }
  const Candidate* best = ranking.recommended();
  if (best != nullptr) {
    EXPECT_GE(best->decode_tps, 30);
    EXPECT_EQ(best->context, 65536);
  }
}

TEST_F(Ranks, EachUseGetsItsKindOfModel) {
  EXPECT_EQ(rank_for("laptop-16gb", "embed").recommended()->model->role, "embedding");
  const Ranking tiny = rank_for("laptop-16gb", "tiny");
  EXPECT_LE(tiny.recommended()->model->parameters, 2e9);
  for (const Candidate& c : rank_for("laptop-16gb", "vision").candidates) {
    const auto& modalities = c.model->modalities;
    EXPECT_NE(std::find(modalities.begin(), modalities.end(), "image"), modalities.end());
  }
}

TEST_F(Ranks, GraphicsProcessorsAreUsedByEnginesThatCan) {
  const Ranking cpu = rank_for("rtx-3090", "chat"), gpu = rank_for("rtx-3090", "chat", "llama.cpp");
  EXPECT_EQ(cpu.recommended()->estimate.memory.device, 0);
  EXPECT_GT(gpu.recommended()->estimate.memory.device, 0);
  EXPECT_GT(gpu.recommended()->value, cpu.recommended()->value);
}

TEST_F(Ranks, EnergyPrefersFewerBytesPerToken) {
  Request request;
  const machine::Machine laptop = machine("laptop-16gb");
  const Ranking usual = rank(catalog_, uses_, laptop, request);
  request.prefer_energy = true;
  const Ranking frugal = rank(catalog_, uses_, laptop, request);
  EXPECT_LE(frugal.recommended()->workload.active_bytes,
            usual.recommended()->workload.active_bytes);
}

TEST_F(Ranks, UnknownContextIsNotRecommended) {
  for (const Candidate& c : rank_for("rtx-4090", "chat").candidates) {
    if (has_kv_numbers(*c.model)) continue;
    EXPECT_FALSE(c.context_known);
    EXPECT_NE(c.trouble, "");
  }
}

TEST_F(Ranks, AMachineTooSmallForAnythingIsToldSo) {
  machine::Machine tiny = machine("raspberry-pi-5");
  tiny.memory.total_bytes = tiny.memory.available_bytes = 300 << 20;
  const Ranking ranking = rank(catalog_, uses_, tiny, {});
  EXPECT_EQ(ranking.recommended(), nullptr);
  const Advice advice = advise(catalog_, uses_, tiny, {}, ranking);
  EXPECT_TRUE(advice.why.empty());
  EXPECT_NE(advice.cloud, "");
}

TEST_F(Ranks, BatteryAndHeatAreMentioned) {
  machine::Machine laptop = machine("laptop-16gb");
  laptop.power.source = "battery";
  laptop.power.throttled = true;
  const Advice advice = advise(catalog_, uses_, laptop, {}, rank(catalog_, uses_, laptop, {}));
  const auto says = [&](const char* what) {
    return std::any_of(advice.notes.begin(), advice.notes.end(), [&](const std::string& note) {
      return note.find(what) != std::string::npos;
    });
  };
  EXPECT_TRUE(says("battery"));
  EXPECT_TRUE(says("heat"));
}

TEST_F(Ranks, TogetherFitsIntoOneMemoryAndGivesUpNoMoreThanNeeded) {
  Request chat, embed;
  embed.use = "embed";
  const std::vector<Member> members = {{catalog_.find("qwen3.5-9b"), "", chat},
                                       {catalog_.find("embeddinggemma-300m"), "", embed}};
  machine::Machine laptop = machine("laptop-16gb");
  const Together plan = plan_together(members, uses_, laptop);
  ASSERT_EQ(plan.members.size(), 2U);
  EXPECT_TRUE(plan.fits);
  EXPECT_DOUBLE_EQ(plan.memory_bytes, plan.members[0].estimate.memory.total() +
                                          plan.members[1].estimate.memory.total());
  EXPECT_LE(plan.memory_bytes, plan.budget_bytes);

  laptop.memory.available_bytes = 6'000'000'000;
  const Together squeezed = plan_together(members, uses_, laptop);
  EXPECT_LT(squeezed.members[0].quant.bytes, plan.members[0].quant.bytes + 1);
  EXPECT_TRUE(squeezed.fits);
  laptop.memory.available_bytes = 1'000'000'000;
  EXPECT_FALSE(plan_together(members, uses_, laptop).fits);
}

TEST_F(Ranks, TogetherHoldsToNamedFormats) {
  const machine::Machine laptop = machine("laptop-16gb");
  const Together plan = plan_together({{catalog_.find("qwen3-4b"), "Q8_0", {}}}, uses_, laptop);
  EXPECT_EQ(plan.members.front().quant.name, "Q8_0");
  EXPECT_THROW((void)plan_together({{catalog_.find("qwen3-4b"), "Q7_Z", {}}}, uses_, laptop),
               Error);
}

}  // namespace
}  // namespace hearth::plan
