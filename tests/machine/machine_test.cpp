#include <gtest/gtest.h>

#include "machine/cpu.h"
#include "machine/memory.h"

namespace hearth::machine {
namespace {

TEST(Machine, CoresAreAtLeastOneAndAtMostTheProcessors) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), usable_processors());
}

TEST(Machine, FeaturesAreConsistent) {
  const CpuFeatures features = cpu_features();
  EXPECT_TRUE(!features.avx512 || features.avx2);
  EXPECT_TRUE(!features.avx512_vnni || features.avx512);
}

TEST(Machine, MemoryIsKnown) {
  const MemoryFacts facts = memory_facts();
  EXPECT_GT(facts.total, std::size_t{64} << 20);
  EXPECT_GT(facts.available, 0U);
  EXPECT_LE(facts.available, facts.total);
}

TEST(Machine, CachesGrowOutwards) {
  const CacheSizes caches = cache_sizes();
  EXPECT_TRUE(caches.l1 == 0 || caches.l2 == 0 || caches.l1 <= caches.l2);
  EXPECT_FALSE(cpu_name().empty());
}

}  // namespace
}  // namespace hearth::machine
