// Sequences whose old pages are coded: what is coded when, what a cut leaves, what is shared.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "compute/reference/reference_backend.h"
#include "quant/kv_coder.h"
#include "state/sequence.h"
#include "support/error.h"

namespace hearth::state {
namespace {

constexpr std::int64_t kSize = 64;
constexpr std::int64_t kCodedContext = 20 * kPageCells;
constexpr std::int64_t kCodedBatch = 96;

/// Two layers that can be coded, an edge of the ladder, a window, a recurrent mixer.
spec::ModelSpec coded_memories(bool window, bool recurrent) {
  spec::ModelSpec spec;
  for (int i = 0; i < 2; ++i) spec.kv_memories.push_back({2, kSize, kSize, {}});
  spec.kv_memories.push_back({.kv_heads = 2, .key_size = kSize, .value_size = kSize, .edge = true});
  if (window) spec.kv_memories.push_back({1, 32, 32, {1, 100, false}});
  if (recurrent) spec.recurrent_memories.push_back({2, 3, 1, 2, 2});
  return spec;
}

std::int64_t raw_used(const MemoryPool& pool, const SequenceState& sequence, std::size_t group) {
  std::int64_t raw = 0;
  for (const std::int32_t page : sequence.pages(group)) {
    raw += (page & compute::kCodedPage) == 0 ? 1 : 0;
  }
  EXPECT_TRUE(pool.coded(group));
  return raw;
}

class CodedSequenceTest : public ::testing::Test {
 protected:
  std::unique_ptr<MemoryPool> make_pool(const spec::ModelSpec& spec, const char* format = "tq4",
                                        std::int64_t sequences = 1,
                                        std::int64_t context = kCodedContext) {
    return std::make_unique<MemoryPool>(
        *backend_, spec,
        MemoryLimits{context, sequences, kCodedBatch, spec::parse_kv_format(format)});
  }
  /// Where a cell's row of head `head` of memory 0 is: only of raw pages.
  static tensor::Tensor cell_of(MemoryPool& pool, const SequenceState& sequence, std::int64_t cell,
                                std::int64_t head) {
    const std::int32_t page = sequence.pages(0)[static_cast<std::size_t>(cell / kPageCells)];
    EXPECT_EQ(page & compute::kCodedPage, 0) << "cell " << cell;
    const tensor::Tensor keys = pool.keys(0);
    const std::int64_t at = ((page * 2 + head) * kPageCells + cell % kPageCells) * kSize;
    return tensor::Tensor::contiguous(keys.buffer, keys.offset + static_cast<std::size_t>(at) * 2,
                                      keys.dtype, {kSize});
  }
  static std::vector<float> row_of(std::int64_t cell, std::int64_t head) {
    std::vector<float> row;
    for (std::int64_t i = 0; i < kSize; ++i) {
      row.push_back(static_cast<float>(
          std::sin(0.37 * static_cast<double>(cell * (i + 1)) + static_cast<double>(head))));
    }
    return row;
  }
  /// Adds rows in passes, each cell's keys of memory 0 being row_of().
  void add(MemoryPool& pool, SequenceState& sequence, std::int64_t rows,
           std::int64_t batch = kCodedBatch) {
    while (rows > 0) {
      const std::int64_t count = std::min(rows, batch);
      const std::int64_t begin = sequence.length();
      sequence.grow(count);
      for (std::int64_t cell = begin; cell < begin + count; ++cell) {
        for (std::int64_t head = 0; head < 2; ++head) {
          std::vector<std::uint16_t> half;
          for (const float x : row_of(cell, head)) half.push_back(tensor::half_from_float(x));
          backend_->write(cell_of(pool, sequence, cell, head), half.data());
        }
      }
      sequence.commit();
      rows -= count;
    }
  }
  void expect_exact(MemoryPool& pool, const SequenceState& sequence, std::int64_t cell) {
    std::vector<std::uint16_t> half(kSize);
    backend_->read(cell_of(pool, sequence, cell, 1), half.data());
    const std::vector<float> row = row_of(cell, 1);
    for (std::size_t i = 0; i < row.size(); ++i) {
      ASSERT_EQ(half[i], tensor::half_from_float(row[i])) << "cell " << cell << ", " << i;
    }
  }

  std::unique_ptr<compute::Backend> backend_ = compute::make_reference_backend();
};

TEST_F(CodedSequenceTest, GroupsWhatIsCodedApart) {
  const auto pool = make_pool(coded_memories(true, false));
  EXPECT_EQ(pool->group_of(0), pool->group_of(1));
  EXPECT_NE(pool->group_of(0), pool->group_of(2));
  EXPECT_TRUE(pool->coded(pool->group_of(0)));
  EXPECT_FALSE(pool->coded(pool->group_of(2)));
  EXPECT_FALSE(pool->coded(pool->group_of(3)));
  EXPECT_EQ(pool->keys(2).dtype, tensor::DType::kQ8_0);
  EXPECT_EQ(pool->keys(0).dtype, tensor::DType::kF16);
  EXPECT_TRUE(pool->coded_pages(0).keys);
  EXPECT_FALSE(pool->coded_pages(2).keys);
  EXPECT_EQ(pool->format(2).choice, KvChoice::kEdge);
  EXPECT_EQ(pool->format(3).choice, KvChoice::kWindow);
  // Raw pages are few.
  EXPECT_LE(pool->keys(0).shape[0], 8);
  EXPECT_EQ(pool->keys(2).shape[0], kCodedContext / kPageCells);
}

TEST_F(CodedSequenceTest, PlainFormatsAreAsTheyWere) {
  const auto pool = make_pool(coded_memories(true, false), "f16");
  for (std::size_t g = 0; g < pool->groups().size(); ++g) EXPECT_FALSE(pool->coded(g));
  EXPECT_EQ(pool->groups().size(), 2U);
  EXPECT_EQ(pool->keys(2).dtype, tensor::DType::kF16);
  EXPECT_EQ(pool->keys(0).shape[0], kCodedContext / kPageCells);
}

TEST_F(CodedSequenceTest, CodesPagesThatAreNeitherFirstNorYoung) {
  const auto pool = make_pool(coded_memories(false, false));
  SequenceState sequence(*pool);
  add(*pool, sequence, 5 * kPageCells + 10, 1);
  const auto pages = sequence.pages(0);
  for (std::size_t p = 0; p < pages.size(); ++p) {
    const bool coded = (pages[p] & compute::kCodedPage) != 0;
    EXPECT_EQ(coded, p == 1 || p == 2) << p;
  }
  for (const std::int64_t cell : {std::int64_t{0}, std::int64_t{63}, 3 * kPageCells}) {
    expect_exact(*pool, sequence, cell);
  }
}

TEST_F(CodedSequenceTest, CodedPagesHoldWhatWasWritten) {
  const auto pool = make_pool(coded_memories(false, false), "tq4");
  SequenceState sequence(*pool);
  add(*pool, sequence, 5 * kPageCells);
  const std::int32_t page = sequence.pages(0)[1];
  ASSERT_NE(page & compute::kCodedPage, 0);
  const CodedPages& coded = pool->coded_pages(0);
  const tensor::Tensor row = coded.keys.rows(page & ~compute::kCodedPage, 1);
  const auto bytes = static_cast<std::size_t>(row.shape[2]);
  std::vector<std::byte> heads(2 * bytes);
  backend_->read(row, heads.data());
  const quant::KvCoder coder(coded.key_code, kSize);
  std::vector<float> cells(static_cast<std::size_t>(kPageCells * kSize));
  coder.decode_page(quant::KvPart::kKeys, std::span(heads).subspan(bytes, bytes), cells);
  double error = 0;
  double norm = 0;
  for (std::int64_t cell = 0; cell < kPageCells; ++cell) {
    const std::vector<float> wanted = row_of(kPageCells + cell, 1);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const double d = wanted[i] - cells[static_cast<std::size_t>(cell * kSize) + i];
      error += d * d;
      norm += static_cast<double>(wanted[i]) * wanted[i];
    }
  }
  EXPECT_LT(error / norm, 0.02);
  EXPECT_GT(error, 0);
}

TEST_F(CodedSequenceTest, FillsItsContextWhateverTheBatch) {
  for (const char* format : {"tq4", "tq3u", "q8_0:tq4"}) {
    for (const std::int64_t batch :
         {std::int64_t{1}, std::int64_t{63}, std::int64_t{65}, kCodedBatch}) {
      for (const bool recurrent : {false, true}) {
        const auto pool = make_pool(coded_memories(true, recurrent), format);
        const std::int64_t free = pool->free_pages(0);
        EXPECT_EQ(free, pool->pages(0));
        {
          SequenceState sequence(*pool);
          for (std::int64_t done = 0; done < kCodedContext;) {
            const std::int64_t count = std::min(batch, kCodedContext - done);
            ASSERT_NO_THROW(sequence.grow(count)) << format << ", batch " << batch << ", " << done;
            sequence.commit();
            done += count;
            // At the end of the context coded pages may have run out.
            if (done < kCodedContext / 2) {
              EXPECT_LE(raw_used(*pool, sequence, 0), 4);
            }
          }
          EXPECT_LE(pool->free_pages(0), recurrent ? kSlotsPerSequence - 1 : 0);
          EXPECT_EQ(sequence.length(), kCodedContext);
        }
        EXPECT_EQ(pool->free_pages(0), free);
      }
    }
  }
}

TEST_F(CodedSequenceTest, SeveralSequencesFillTheirContexts) {
  const auto pool = make_pool(coded_memories(false, true), "tq3", 3);
  std::vector<std::unique_ptr<SequenceState>> sequences;
  for (int i = 0; i < 3; ++i) sequences.push_back(std::make_unique<SequenceState>(*pool));
  for (std::int64_t done = 0; done < kCodedContext; done += 32) {
    for (const auto& sequence : sequences) ASSERT_NO_THROW(sequence->grow(32)) << done;
    for (const auto& sequence : sequences) sequence->commit();
  }
  EXPECT_LE(pool->free_pages(0), 3 * (kSlotsPerSequence - 1));
}

TEST_F(CodedSequenceTest, UniformFormatsCodeAllWholePages) {
  const auto pool = make_pool(coded_memories(false, false), "tq3u");
  EXPECT_EQ(pool->group_of(0), pool->group_of(2));
  SequenceState sequence(*pool);
  add(*pool, sequence, 5 * kPageCells + 10);
  EXPECT_EQ(raw_used(*pool, sequence, 0), 1);
}

TEST_F(CodedSequenceTest, ShortCutsAreExactAndDeepOnesEndWithAPage) {
  const auto pool = make_pool(coded_memories(false, false));
  SequenceState sequence(*pool);
  add(*pool, sequence, 8 * kPageCells);
  const std::int64_t near = 8 * kPageCells - 100;
  EXPECT_EQ(sequence.truncate(near), near);
  expect_exact(*pool, sequence, near - 1);
  EXPECT_EQ(sequence.truncate(3 * kPageCells + 17), 3 * kPageCells);
  EXPECT_EQ(sequence.length(), 3 * kPageCells);
  // It goes on from there, and into the sink page, which is raw.
  add(*pool, sequence, 4 * kPageCells);
  EXPECT_EQ(sequence.truncate(17), 17);
  expect_exact(*pool, sequence, 16);
  add(*pool, sequence, kCodedContext - 17);
}

TEST_F(CodedSequenceTest, RecurrentStatesKeepTheirLastPageRaw) {
  const auto pool = make_pool(coded_memories(false, true));
  SequenceState sequence(*pool);
  add(*pool, sequence, 2 * kPageCells + 20, 40);  // the last pass ends a prompt
  const std::int64_t prompt = sequence.length();
  add(*pool, sequence, 5 * kPageCells, 1);
  ASSERT_NE(sequence.pages(0)[2] & compute::kCodedPage, 0);
  EXPECT_EQ(sequence.truncate(prompt + 30), prompt);
  for (std::int64_t cell = 2 * kPageCells; cell < prompt; ++cell) {
    expect_exact(*pool, sequence, cell);
  }
  add(*pool, sequence, kCodedContext - prompt, 7);
  EXPECT_LE(pool->free_pages(0), kSlotsPerSequence - 1);
  EXPECT_EQ(sequence.truncate(0), 0);
  EXPECT_EQ(pool->free_pages(0), pool->pages(0));
}

TEST_F(CodedSequenceTest, ForksShareCodedPages) {
  const auto pool = make_pool(coded_memories(false, true), "tq4", 2);
  auto parent = std::make_unique<SequenceState>(*pool);
  add(*pool, *parent, 6 * kPageCells + 10);
  const std::int64_t free = pool->free_pages(0);
  auto child = parent->fork();
  EXPECT_EQ(pool->free_pages(0), free);
  add(*pool, *child, 4 * kPageCells);
  EXPECT_EQ(child->pages(0)[2], parent->pages(0)[2]);
  expect_exact(*pool, *parent, 6 * kPageCells + 9);
  parent.reset();
  expect_exact(*pool, *child, 5);
  child.reset();
  EXPECT_EQ(pool->free_pages(0), pool->pages(0));
}

TEST_F(CodedSequenceTest, SnapshotsHoldFewRawPages) {
  const auto pool = make_pool(coded_memories(false, true), "tq4", 2);
  SequenceState sequence(*pool);
  add(*pool, sequence, 6 * kPageCells + 10);
  const auto snapshot = sequence.snapshot();
  EXPECT_EQ(raw_used(*pool, *snapshot, 0), 2);  // the sinks, and the page that is not full
  EXPECT_EQ(raw_used(*pool, sequence, 0), 4);
  EXPECT_EQ(snapshot->length(), sequence.length());
  expect_exact(*pool, *snapshot, 6 * kPageCells + 9);
}

TEST_F(CodedSequenceTest, SavesAndLoads) {
  for (const char* format : {"tq4", "tq2.5u", "q8_0:tq3", "q4_0r"}) {
    const auto pool = make_pool(coded_memories(true, true), format, 2);
    SequenceState sequence(*pool);
    add(*pool, sequence, 6 * kPageCells + 10);
    const std::vector<std::byte> bytes = sequence.save();
    SequenceState loaded(*pool);
    loaded.load(bytes);
    EXPECT_EQ(loaded.length(), sequence.length());
    EXPECT_EQ(loaded.save(), bytes) << format;
    for (std::size_t p = 0; p < loaded.pages(0).size(); ++p) {
      EXPECT_EQ(loaded.pages(0)[p] & compute::kCodedPage,
                sequence.pages(0)[p] & compute::kCodedPage);
    }
    add(*pool, loaded, kPageCells);
    // Damage is noticed, and nothing is lost to it.
    const std::int64_t free = pool->free_pages(0);
    SequenceState other(*pool);
    EXPECT_THROW(other.load(std::span(bytes).first(bytes.size() - 1)), Error);
    EXPECT_EQ(pool->free_pages(0), free);
  }
}

TEST_F(CodedSequenceTest, LoadsIntoReservedRoom) {
  for (const char* format : {"tq4", "tq2.5u", "q8_0:tq3", "f16"}) {
    const auto pool = make_pool(coded_memories(true, true), format, 3);
    SequenceState sequence(*pool);
    add(*pool, sequence, 6 * kPageCells + 10);
    const auto snapshot = sequence.snapshot();
    const std::vector<std::byte> bytes = snapshot->save();
    const std::int64_t free = pool->free_pages(0), slots = pool->free_slots();
    std::int64_t usual = 0;
    {
      SequenceState loaded(*pool);
      loaded.load(bytes);
      usual = pool->free_pages(0);
    }
    {
      SequenceState loaded(*pool);
      loaded.reserve(sequence.length());
      loaded.load(bytes);
      loaded.settle();
      EXPECT_EQ(loaded.save(), bytes) << format;
      EXPECT_EQ(pool->free_pages(0), usual) << format;
      EXPECT_EQ(slots - pool->free_slots(), 1);
      add(*pool, loaded, kPageCells);
    }
    SequenceState damaged(*pool);
    damaged.reserve(sequence.length());
    EXPECT_THROW(damaged.load(std::span(bytes).first(bytes.size() - 1)), Error);
    EXPECT_EQ(pool->free_pages(0), free);
    EXPECT_EQ(pool->free_slots(), slots);
    EXPECT_THROW(damaged.reserve(kCodedContext + 1), Error);
  }
}

TEST_F(CodedSequenceTest, OtherFormatsDoNotLoad) {
  const auto from = make_pool(coded_memories(false, false), "tq4");
  SequenceState sequence(*from);
  add(*from, sequence, 3 * kPageCells);
  const std::vector<std::byte> bytes = sequence.save();
  for (const char* format : {"tq3", "tq4r", "tq4u", "tq4:tq3", "f16", "q4_0r"}) {
    const auto pool = make_pool(coded_memories(false, false), format);
    SequenceState other(*pool);
    EXPECT_THROW(other.load(bytes), Error) << format;
  }
}

TEST_F(CodedSequenceTest, AFailedPassLeavesNothingBehind) {
  const auto pool = make_pool(coded_memories(true, true));
  SequenceState sequence(*pool);
  add(*pool, sequence, 4 * kPageCells + 5);
  const std::int64_t free = pool->free_pages(0);
  sequence.grow(kCodedBatch);
  EXPECT_EQ(sequence.truncate(4 * kPageCells + 5), 4 * kPageCells + 5);
  EXPECT_EQ(pool->free_pages(0), free);
  EXPECT_THROW(sequence.grow(kCodedContext), Error);
  EXPECT_EQ(pool->free_pages(0), free);
}

}  // namespace
}  // namespace hearth::state
