#include "state/sequence.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "compute/reference/reference_backend.h"
#include "resident_pages.h"
#include "support/error.h"

namespace hearth::state {
namespace {

/// One attention that keeps everything, one with a window, one recurrent mixer.
spec::ModelSpec memories(bool window, bool recurrent) {
  spec::ModelSpec spec;
  spec.kv_memories.push_back({1, 2, 2, {}});
  if (window) spec.kv_memories.push_back({1, 2, 2, {1, 100, false}});
  if (recurrent) spec.recurrent_memories.push_back({2, 3, 1, 2, 2});
  return spec;
}

constexpr std::int64_t kContext = 20 * kPageCells;

class SequenceTest : public ::testing::Test {
 protected:
  std::unique_ptr<MemoryPool> make_pool(const spec::ModelSpec& spec,
                                        std::int64_t context = kContext,
                                        std::int64_t sequences = 1) {
    return std::make_unique<MemoryPool>(*backend_, spec,
                                        MemoryLimits{context, sequences, 32, tensor::DType::kF32});
  }
  void write(MemoryPool& pool, const SequenceState& sequence, std::int64_t cell, float value) {
    const std::array row = {value, value};
    backend_->write(slot(pool, sequence, cell), row.data());
  }
  float read(MemoryPool& pool, const SequenceState& sequence, std::int64_t cell) {
    std::array<float, 2> row{};
    backend_->read(slot(pool, sequence, cell), row.data());
    return row[0];
  }
  static tensor::Tensor slot(MemoryPool& pool, const SequenceState& sequence, std::int64_t cell) {
    const std::int32_t page = sequence.pages(0)[static_cast<std::size_t>(cell / kPageCells)];
    const tensor::Tensor keys = pool.keys(0);
    return tensor::Tensor::contiguous(
        keys.buffer,
        keys.offset +
            static_cast<std::size_t>((page * kPageCells + cell % kPageCells) * 2) * sizeof(float),
        tensor::DType::kF32, {2});
  }
  void write_state(MemoryPool& pool, std::int32_t slot, float value) {
    const std::array<float, 4> values = {value, value, value, value};
    backend_->write(pool.scan(0).rows(slot, 1), values.data());
  }
  float read_state(MemoryPool& pool, std::int32_t slot) {
    std::array<float, 4> values{};
    backend_->read(pool.scan(0).rows(slot, 1), values.data());
    return values[3];
  }
  static void add(SequenceState& sequence, std::int64_t rows) {
    sequence.grow(rows);
    sequence.commit();
  }

  std::unique_ptr<compute::Backend> backend_ = compute::make_reference_backend();
};

TEST_F(SequenceTest, TakesAndGivesBackPages) {
  const auto pool = make_pool(memories(false, false), 4 * kPageCells);
  {
    SequenceState sequence(*pool);
    add(sequence, kPageCells + 1);
    EXPECT_EQ(pool->free_pages(0), 2);
    EXPECT_EQ(sequence.truncate(kPageCells), kPageCells);
    EXPECT_EQ(pool->free_pages(0), 3);
    EXPECT_EQ(sequence.truncate(500), kPageCells);
  }
  EXPECT_EQ(pool->free_pages(0), 4);
}

TEST_F(SequenceTest, RefusesMoreThanItsContextAndThePool) {
  const auto pool = make_pool(memories(false, false), 2 * kPageCells);
  SequenceState first(*pool);
  EXPECT_THROW(first.grow(2 * kPageCells + 1), Error);
  EXPECT_EQ(first.length(), 0);
  add(first, kPageCells + 1);
  SequenceState second(*pool);
  EXPECT_THROW(second.grow(1), Error);
  EXPECT_EQ(second.length(), 0);
}

TEST_F(SequenceTest, ForksShareWholePagesAndCopyOnWrite) {
  const auto pool = make_pool(memories(false, false), 4 * kPageCells, 2);
  SequenceState parent(*pool);
  add(parent, kPageCells + 2);
  write(*pool, parent, 5, 1.0F);
  write(*pool, parent, kPageCells, 2.0F);
  auto child = parent.fork();
  EXPECT_EQ(child->length(), parent.length());
  EXPECT_EQ(pool->free_pages(0), 6);
  add(*child, 1);
  EXPECT_EQ(read(*pool, *child, 5), 1.0F);
  EXPECT_EQ(read(*pool, *child, kPageCells), 2.0F);
  write(*pool, *child, kPageCells, 3.0F);
  EXPECT_EQ(read(*pool, parent, kPageCells), 2.0F);

  // Going back into the shared page and writing there must not touch the parent.
  child->truncate(5);
  add(*child, 1);
  write(*pool, *child, 5, 9.0F);
  EXPECT_EQ(read(*pool, parent, 5), 1.0F);
}

TEST_F(SequenceTest, WindowsHoldOnlyWhatTheyReach) {
  const auto pool = make_pool(memories(true, false));
  // 100 cells of window, 64 of slack, 32 rows of a pass, and what page borders add.
  EXPECT_EQ(pool->pages(1), (100 + kWindowSlack + 32 + 2 * kPageCells - 2) / kPageCells);
  SequenceState sequence(*pool);
  while (sequence.length() < kContext) add(sequence, 32);
  EXPECT_EQ(pool->free_pages(0), 0);
  EXPECT_GE(pool->free_pages(1), 1);
  // A little back is possible, far back is not.
  EXPECT_EQ(sequence.truncate(kContext - kWindowSlack), kContext - kWindowSlack);
  add(sequence, 3);
  EXPECT_EQ(sequence.truncate(400), 0);
  EXPECT_EQ(pool->free_pages(1), pool->pages(1));
}

TEST_F(SequenceTest, RecurrentStateGoesBackToSnapshots) {
  const auto pool = make_pool(memories(false, true));
  SequenceState sequence(*pool);
  const auto pass = [&](std::int64_t rows, float value) {
    sequence.grow(rows);
    const std::int32_t slot = sequence.next_slot();
    EXPECT_NE(slot, sequence.state_slot());
    write_state(*pool, slot, value);
    sequence.commit();
  };
  pass(10, 10);
  for (int i = 0; i < 20; ++i) pass(1, static_cast<float>(11 + i));
  pass(5, 35);
  for (int i = 0; i < 20; ++i) pass(1, static_cast<float>(36 + i));
  EXPECT_EQ(read_state(*pool, sequence.state_slot()), 55.0F);
  EXPECT_EQ(sequence.truncate(54), 54);  // the pass just made
  EXPECT_EQ(read_state(*pool, sequence.state_slot()), 54.0F);
  EXPECT_EQ(sequence.truncate(50), 35);  // the end of the last prompt
  EXPECT_EQ(read_state(*pool, sequence.state_slot()), 35.0F);
  EXPECT_EQ(sequence.truncate(34), 10);
  EXPECT_EQ(read_state(*pool, sequence.state_slot()), 10.0F);
  EXPECT_EQ(sequence.truncate(9), 0);
  EXPECT_EQ(sequence.state_slot(), -1);
}

TEST_F(SequenceTest, AFailedPassLeavesTheStateBeforeIt) {
  const auto pool = make_pool(memories(true, true));
  SequenceState sequence(*pool);
  add(sequence, 7);
  const std::int32_t before = sequence.state_slot();
  sequence.grow(3);
  EXPECT_EQ(sequence.truncate(7), 7);
  EXPECT_EQ(sequence.state_slot(), before);
  EXPECT_EQ(sequence.next_slot(), -1);
}

TEST_F(SequenceTest, ForksGoTheirOwnWayWithRecurrentState) {
  const auto pool = make_pool(memories(true, true), kContext, 2);
  SequenceState parent(*pool);
  parent.grow(4);
  write_state(*pool, parent.next_slot(), 4);
  parent.commit();
  const auto child = parent.fork();
  child->grow(1);
  write_state(*pool, child->next_slot(), 5);
  child->commit();
  EXPECT_EQ(read_state(*pool, parent.state_slot()), 4.0F);
  EXPECT_EQ(read_state(*pool, child->state_slot()), 5.0F);
}

TEST_F(SequenceTest, PositionsThatWereSkippedAreForgottenWithTheirCells) {
  const auto pool = make_pool(memories(false, false));
  SequenceState sequence(*pool, 3);
  add(sequence, 10);
  sequence.set_position(10, 40);
  EXPECT_EQ(sequence.next_position(), 40);
  add(sequence, 2);
  EXPECT_EQ(sequence.next_position(), 42);
  sequence.truncate(10);
  EXPECT_EQ(sequence.next_position(), 40);
  sequence.truncate(9);
  EXPECT_EQ(sequence.next_position(), 12);
}

TEST_F(SequenceTest, SavesAndLoads) {
  const spec::ModelSpec spec = memories(true, true);
  const auto pool = make_pool(spec);
  SequenceState sequence(*pool, 5);
  while (sequence.length() < 320) {
    sequence.grow(32);
    write_state(*pool, sequence.next_slot(), static_cast<float>(sequence.length()));
    sequence.commit();
  }
  write(*pool, sequence, 17, 1.5F);
  write(*pool, sequence, 300, 2.5F);
  const std::vector<std::byte> saved = sequence.save();

  const auto other = make_pool(spec);
  SequenceState loaded(*other);
  loaded.load(saved);
  EXPECT_EQ(loaded.length(), 320);
  EXPECT_EQ(loaded.first_position(), 5);
  EXPECT_EQ(read(*other, loaded, 17), 1.5F);
  EXPECT_EQ(read(*other, loaded, 300), 2.5F);
  EXPECT_EQ(read_state(*other, loaded.state_slot()), 320.0F);
  EXPECT_EQ(loaded.save(), saved);

  // Every shorter text is refused, and leaves nothing behind.
  for (std::size_t size = 0; size < saved.size(); size += 97) {
    const auto third = make_pool(spec);
    SequenceState target(*third);
    EXPECT_THROW(target.load(std::span(saved).first(size)), Error);
    EXPECT_EQ(target.length(), 0);
    EXPECT_EQ(third->free_pages(0), third->pages(0));
  }
  const auto different = make_pool(memories(false, true));
  SequenceState refused(*different);
  EXPECT_THROW(refused.load(saved), Error);
}

// Pages of every format are copied and saved whole.
TEST_F(SequenceTest, FormatsOfKeysAndValues) {
  spec::ModelSpec spec;
  spec.kv_memories.push_back({2, 64, 32, {}});
  for (const auto type : {tensor::DType::kF16, tensor::DType::kBF16, tensor::DType::kQ8_0}) {
    for (const bool fast : {false, true}) {
      backend_ =
          fast ? compute::make_cpu_backend({.threads = 1, .exact = false, .instruction_set = {}})
               : compute::make_reference_backend();
      const MemoryLimits limits{4 * kPageCells, 2, 32, type};
      MemoryPool pool(*backend_, spec, limits);
      SequenceState parent(pool);
      add(parent, 32);
      add(parent, 32);
      add(parent, 6);
      const auto page = [](MemoryPool& of, const SequenceState& sequence, bool values,
                           std::size_t index) {
        const tensor::Tensor all = values ? of.values(0) : of.keys(0);
        return all.rows(sequence.pages(0)[index], 1);
      };
      const auto bytes_of = [&](const tensor::Tensor& tensor) {
        return tensor::row_bytes(type, static_cast<std::size_t>(tensor.elements()));
      };
      const auto fill = [&](const SequenceState& sequence, bool values, std::uint8_t first) {
        const tensor::Tensor to = page(pool, sequence, values, 1);
        std::vector<std::uint8_t> bytes(bytes_of(to));
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          bytes[i] = static_cast<std::uint8_t>(first + i % 251);
        }
        backend_->write(to, bytes.data());
        return bytes;
      };
      const auto read_page = [&](MemoryPool& of, const SequenceState& sequence, bool values) {
        const tensor::Tensor from = page(of, sequence, values, 1);
        std::vector<std::uint8_t> bytes(bytes_of(from));
        backend_->read(from, bytes.data());
        return bytes;
      };
      const auto keys = fill(parent, false, 1);
      const auto values = fill(parent, true, 2);
      auto child = parent.fork();
      add(*child, 1);
      EXPECT_NE(child->pages(0)[1], parent.pages(0)[1]);
      EXPECT_EQ(read_page(pool, *child, false), keys);
      EXPECT_EQ(read_page(pool, *child, true), values);
      fill(*child, false, 9);
      EXPECT_EQ(read_page(pool, parent, false), keys);

      MemoryPool other(*backend_, spec, limits);
      SequenceState loaded(other);
      loaded.load(parent.save());
      EXPECT_EQ(read_page(other, loaded, false), keys);
      EXPECT_EQ(read_page(other, loaded, true), values);
    }
  }
}

TEST_F(SequenceTest, BlocksMustFitTheHeads) {
  spec::ModelSpec spec;
  spec.kv_memories.push_back({2, 64, 80, {}});
  EXPECT_THROW(MemoryPool(*backend_, spec, MemoryLimits{64, 1, 32, tensor::DType::kQ8_0}), Error);
  EXPECT_NO_THROW(MemoryPool(*backend_, spec, MemoryLimits{64, 1, 32, tensor::DType::kBF16}));
}

TEST_F(SequenceTest, DamagedStatesLeaveNothingBehind) {
  const spec::ModelSpec spec = memories(true, true);
  const auto pool = make_pool(spec);
  std::vector<std::byte> saved;
  {
    SequenceState sequence(*pool, 5);
    add(sequence, 200);
    sequence.set_position(200, 230);
    saved = sequence.save();
  }
  SequenceState target(*pool, 7);
  // The last bytes are missing, or there are more: the recurrent state has been read by then.
  std::vector<std::byte> longer = saved;
  longer.push_back(std::byte{0});
  for (int i = 0; i < 20; ++i) {  // more often than there are slots
    EXPECT_THROW(target.load(std::span(saved).first(saved.size() - 1)), Error);
    EXPECT_THROW(target.load(longer), Error);
    EXPECT_EQ(target.length(), 0);
    EXPECT_EQ(target.next_position(), 7);
    EXPECT_EQ(target.state_slot(), -1);
    EXPECT_EQ(pool->free_pages(0), pool->pages(0));
    EXPECT_EQ(pool->free_pages(1), pool->pages(1));
  }
  target.load(saved);
  EXPECT_EQ(target.next_position(), 230);
}

TEST_F(SequenceTest, SavedStatesLackNothingThatIsRead) {
  const spec::ModelSpec spec = memories(true, false);
  const auto pool = make_pool(spec);
  std::vector<std::byte> saved;
  {
    SequenceState sequence(*pool);
    add(sequence, 130);
    saved = sequence.save();
  }
  // Numbers of the header: magic, fingerprint, first position, length, encoder length, skips; then
  // the first group's first page.
  constexpr std::size_t kFirstPosition = 2, kFirstPage = 6;
  const auto with = [&](std::size_t index, std::int64_t value) {
    std::vector<std::byte> changed = saved;
    std::memcpy(changed.data() + index * sizeof value, &value, sizeof value);
    return changed;
  };
  SequenceState target(*pool);
  EXPECT_THROW(target.load(with(kFirstPosition, -1)), Error);
  // No window: every page is needed. As much of the data as would be left.
  for (const std::int64_t first : {1, 3}) {
    std::vector<std::byte> changed = with(kFirstPage, first);
    constexpr std::ptrdiff_t kPageBytes = 4 * kPageCells * sizeof(float);
    const auto data = changed.begin() + (kFirstPage + 2) * sizeof(std::int64_t);
    changed.erase(data, data + first * kPageBytes);
    EXPECT_THROW(target.load(changed), Error) << first;
  }
  EXPECT_EQ(pool->free_pages(0), pool->pages(0));
  target.load(saved);
  EXPECT_EQ(target.length(), 130);
}

TEST_F(SequenceTest, MemoryThatIsTakenAtOnceKeepsWhatItHolds) {
  const auto cpu = compute::make_cpu_backend({});
  MemoryPool pool(*cpu, memories(true, true), {200 * kPageCells, 4, 32, tensor::DType::kF32});
  const tensor::Tensor& keys = pool.keys(0);
  keys.buffer->host()[keys.offset + 5] = std::byte{42};
  pool.populate();
  EXPECT_EQ(keys.buffer->host()[keys.offset + 5], std::byte{42});
  const auto pages = testing::resident_pages({keys.buffer->host(), keys.buffer->size()});
  EXPECT_GT(pages.all, 10U);
  EXPECT_EQ(pages.in_memory, pages.all);
}

// A snapshot holds one state and what windows reach; the pool's plan has room for as many as it was
// asked for, beside full sequences.
TEST_F(SequenceTest, SnapshotsHoldWhatGoingOnNeeds) {
  MemoryLimits limits{kContext, 1, 32, tensor::DType::kF32};
  limits.snapshots = 3;
  limits.prefix_cells = 10 * kPageCells;
  const MemoryPool plain(*backend_, memories(true, true), {kContext, 1, 32, tensor::DType::kF32});
  MemoryPool pool(*backend_, memories(true, true), limits);
  EXPECT_TRUE(pool.needs_snapshots());
  EXPECT_EQ(pool.slots(), plain.slots() + 3);
  EXPECT_EQ(pool.pages(0), plain.pages(0) + 10);
  EXPECT_EQ(pool.pages(1), plain.pages(1) + 3 * 3);  // a window of 100 cells lies in 3 pages

  SequenceState sequence(pool);
  std::vector<std::unique_ptr<SequenceState>> snapshots;
  while (sequence.length() < kContext) {
    sequence.grow(32);
    write_state(pool, sequence.next_slot(), static_cast<float>(sequence.length()));
    sequence.commit();
    if (sequence.length() % 320 == 0 && snapshots.size() < 3)
      snapshots.push_back(sequence.snapshot());
  }
  EXPECT_EQ(snapshots[1]->length(), 640);
  EXPECT_EQ(read_state(pool, snapshots[1]->state_slot()), 640.0F);
  EXPECT_EQ(snapshots[1]->truncate(639), 0);
  EXPECT_EQ(pool.free_slots(), pool.slots() - 3 - 3);
}

TEST_F(SequenceTest, KnowsThePagesThatRowsWillTake) {
  const auto pool = make_pool(memories(true, false), kContext, 2);
  SequenceState sequence(*pool);
  add(sequence, 70);
  EXPECT_EQ(sequence.pages_needed(0, 58), 0);
  EXPECT_EQ(sequence.pages_needed(0, 59), 1);
  const auto fork = sequence.fork();
  for (const std::int64_t count : {1, 58, 59}) {
    const std::int64_t expected = sequence.pages_needed(0, count);
    const std::int64_t before = pool->free_pages(0);
    const auto copy = sequence.fork();
    copy->grow(count);
    EXPECT_EQ(before - pool->free_pages(0), expected);
    copy->truncate(70);
  }
}

// Cells in ranges from several sequences, the last row's state from the last one.
TEST_F(SequenceTest, LoadsRanges) {
  for (const bool whole_state : {false, true}) {
    const spec::ModelSpec spec = memories(whole_state, whole_state);
    const auto pool = make_pool(spec, kContext, 2);
    EXPECT_EQ(pool->rows_between_pages(), kPageCells);
    SequenceState sequence(*pool, 5);
    std::vector<std::byte> first, second, state;
    const auto into = [](std::vector<std::byte>& bytes) {
      return [&bytes](std::span<const std::byte> more) {
        bytes.insert(bytes.end(), more.begin(), more.end());
      };
    };
    add(sequence, 200);
    write(*pool, sequence, 17, 1.5F);
    write(*pool, sequence, 130, 2.5F);
    sequence.save_cells(0, into(first));
    add(sequence, 100);
    write(*pool, sequence, 290, 3.5F);
    sequence.save_cells(2 * kPageCells, into(second));
    sequence.save_state(into(state));

    class Source final : public ByteSource {
     public:
      explicit Source(const std::vector<std::byte>& bytes) : bytes_(bytes) {}
      std::span<const std::byte> take(std::size_t count) override {
        if (count > bytes_.size() - at_) throw Error("ends early");
        return std::span(bytes_).subspan(std::exchange(at_, at_ + count), count);
      }
      void skip(std::size_t count) override { (void)take(count); }

     private:
      const std::vector<std::byte>& bytes_;
      std::size_t at_ = 0;
    };
    const auto other = make_pool(spec);
    SequenceState loaded(*other);
    Source a(first), b(second), c(state);
    loaded.load_cells(a, 2 * kPageCells);
    loaded.load_cells(b, whole_state ? 300 : 291);
    if (whole_state) {
      EXPECT_THROW(loaded.finish_load(300), Error);
      EXPECT_EQ(other->free_pages(0), other->pages(0));
      Source again(first), and_again(second);
      loaded.load_cells(again, 2 * kPageCells);
      loaded.load_cells(and_again, 300);
      loaded.load_state(c);
      EXPECT_EQ(loaded.save(), sequence.save());
      EXPECT_EQ(loaded.truncate(300), 300);
    } else {
      loaded.finish_load(291);
      EXPECT_EQ(loaded.length(), 291);
      EXPECT_EQ(read(*other, loaded, 290), 3.5F);
    }
    EXPECT_EQ(loaded.next_position(), 5 + loaded.length());
    EXPECT_EQ(read(*other, loaded, 17), 1.5F);
    EXPECT_EQ(read(*other, loaded, 130), 2.5F);
    // A range that does not begin where the last one ended.
    SequenceState wrong(*other);
    Source gap(second);
    EXPECT_THROW(wrong.load_cells(gap, 300), Error);
  }
}

TEST_F(SequenceTest, RefusedRowsLeaveTheEncodedTextAlone) {
  spec::ModelSpec spec;
  spec.kv_memories.push_back({1, 2, 2, {1, 0, true}});
  spec.kv_memories.push_back({1, 2, 2, {}});
  const auto pool = make_pool(spec, 2 * kPageCells);
  SequenceState first(*pool);
  add(first, kPageCells + 1);
  SequenceState second(*pool);
  second.set_encoder_length(kPageCells);
  EXPECT_THROW(second.grow(1), Error);
  EXPECT_EQ(second.pages(0).size(), 1U);
  EXPECT_EQ(second.encoder_length(), kPageCells);
}

}  // namespace
}  // namespace hearth::state
