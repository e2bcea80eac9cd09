// Pages that are divided between memory and disk: what the least memory is enough for, and what is
// still read of a pass that failed.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "compute/reference/reference_backend.h"
#include "state/sequence.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::state {
namespace {

constexpr std::int64_t kDiskContext = 16'384;

class MemoryDiskTest : public ::testing::Test {
 protected:
  /// One layer. `budget` 0: all in memory.
  std::unique_ptr<MemoryPool> make_pool(const char* format, std::int64_t sequences,
                                        std::uint64_t budget, std::int64_t batch) {
    spec::ModelSpec spec;
    spec.kv_memories.push_back({1, 32, 32, {}});
    MemoryLimits limits;
    limits.context = kDiskContext;
    limits.sequences = sequences;
    limits.batch_rows = batch;
    limits.kv_type = spec::parse_kv_format(format);
    limits.kv_budget = budget;
    limits.spill_folder = folder_.path();
    return std::make_unique<MemoryPool>(*backend_, spec, limits);
  }
  /// With the least memory that is accepted, to a kilobyte.
  std::unique_ptr<MemoryPool> make_tight_pool(const char* format, std::int64_t sequences,
                                              std::int64_t batch) {
    std::uint64_t refused = 0;
    std::uint64_t taken = std::uint64_t{1} << 30;
    while (taken - refused > 1024) {
      const std::uint64_t budget = (taken + refused) / 2;
      try {
        (void)make_pool(format, sequences, std::max<std::uint64_t>(budget, 1), batch);
        taken = budget;
      } catch (const Error&) {
        refused = budget;
      }
    }
    return make_pool(format, sequences, taken, batch);
  }

  hearth::testing::TemporaryFolder folder_;
  std::unique_ptr<compute::Backend> backend_ = compute::make_reference_backend();
};

// A pass over all sequences at once pins the part that each of them ends in, wherever that is.
TEST_F(MemoryDiskTest, TheLeastBudgetIsEnoughForAllSequences) {
  constexpr std::int64_t kBatch = 512;
  for (const char* format : {"tq4", "f16"}) {
    for (const std::int64_t count : {4, 8}) {
      const auto pool = make_tight_pool(format, count, kBatch);
      ASSERT_NE(pool->stream(), nullptr);
      std::vector<std::unique_ptr<SequenceState>> sequences;
      for (std::int64_t i = 0; i < count; ++i)
        sequences.push_back(std::make_unique<SequenceState>(*pool));
      for (const std::int64_t depth : {8100, 8300, 12'200, 12'286}) {
        for (const auto& sequence : sequences) {
          while (sequence->length() < depth) {
            sequence->grow(std::min(kBatch, depth - sequence->length()));
            sequence->commit();
          }
        }
        for (const auto& sequence : sequences)
          ASSERT_NO_THROW(sequence->grow(1)) << format << ", " << count << " at " << depth;
        for (const auto& sequence : sequences) sequence->commit();
      }
    }
  }
}

// The thread that reads must not copy from a frame that is given to somebody else.
TEST_F(MemoryDiskTest, FramesAreNotReadAnyMoreWhenTheyAreGivenAway) {
  const auto pool = make_tight_pool("f16", 2, 64);
  auto first = std::make_unique<SequenceState>(*pool);
  SequenceState second(*pool);
  const auto add = [](SequenceState& sequence, std::int64_t rows) {
    for (std::int64_t done = 0; done < rows; done += 64) {
      sequence.grow(64);
      sequence.commit();
    }
  };
  add(*first, 12'288);
  add(second, 1024);
  // A pass begins, and fails before its first layer takes anything.
  PageStream& stream = *pool->stream();
  first->grow(1);
  stream.begin();
  stream.add_segment(0, 1);
  std::vector<std::int32_t> table(first->pages(0).size());
  const std::span<std::int32_t> tables[] = {table};
  pool->plan_segment(*first, tables);
  stream.read(0, 0, 1);
  stream.start();
  std::vector<PagePart> parts;
  stream.for_parts(0, 0, [&](const PagePart& part, bool) {
    if (part.staged) parts.push_back(part);
  });
  ASSERT_GT(parts.size(), static_cast<std::size_t>(PageStream::kSlots));
  first.reset();
  // Frames are free now; one of them gets a new page.
  second.grow(64);
  const auto take_all = [&] {
    for (const PagePart& part : parts) {
      (void)stream.take(0, part);
      stream.release();
    }
  };
  EXPECT_THROW(take_all(), Error);
}

}  // namespace
}  // namespace hearth::state
