#include "state/sequence.h"

#include <gtest/gtest.h>

#include <array>

#include "compute/reference/reference_backend.h"
#include "support/error.h"

namespace hearth::state {
namespace {

constexpr std::array kLayers = {KvLayer{1, 2, 2}};

class SequenceTest : public ::testing::Test {
 protected:
  void write(const SequenceState& sequence, std::int64_t cell, float value) {
    const std::array row = {value, value};
    backend_->write(slot(sequence, cell), row.data());
  }
  float read(const SequenceState& sequence, std::int64_t cell) {
    std::array<float, 2> row{};
    backend_->read(slot(sequence, cell), row.data());
    return row[0];
  }
  tensor::Tensor slot(const SequenceState& sequence, std::int64_t cell) {
    const std::int32_t page = sequence.pages()[static_cast<std::size_t>(cell / kPageCells)];
    tensor::Tensor pool = pool_.keys(0);
    return tensor::Tensor::contiguous(
        pool.buffer,
        pool.offset +
            static_cast<std::size_t>((page * kPageCells + cell % kPageCells) * 2) * sizeof(float),
        tensor::DType::kF32, {2});
  }

  std::unique_ptr<compute::Backend> backend_ = compute::make_reference_backend();
  KvPool pool_{*backend_, kLayers, 4, tensor::DType::kF32};
};

TEST_F(SequenceTest, TakesAndGivesBackPages) {
  {
    SequenceState sequence(pool_, 200);
    sequence.grow(kPageCells + 1);
    EXPECT_EQ(pool_.free_pages(), 2);
    sequence.truncate(kPageCells);
    EXPECT_EQ(pool_.free_pages(), 3);
    sequence.truncate(500);
    EXPECT_EQ(sequence.length(), kPageCells);
  }
  EXPECT_EQ(pool_.free_pages(), 4);
}

TEST_F(SequenceTest, RefusesMoreThanItsContextAndThePool) {
  SequenceState first(pool_, 2 * kPageCells);
  EXPECT_THROW(first.grow(2 * kPageCells + 1), Error);
  EXPECT_EQ(first.length(), 0);
  first.grow(2 * kPageCells);
  SequenceState second(pool_, 10 * kPageCells);
  EXPECT_THROW(second.grow(3 * kPageCells), Error);
  EXPECT_EQ(second.length(), 0);
  EXPECT_EQ(pool_.free_pages(), 2);
}

TEST_F(SequenceTest, ForksShareWholePagesAndCopyOnWrite) {
  SequenceState parent(pool_, 4 * kPageCells);
  parent.grow(kPageCells + 2);
  write(parent, 5, 1.0F);
  write(parent, kPageCells, 2.0F);
  auto child = parent.fork();
  EXPECT_EQ(child->length(), parent.length());
  EXPECT_EQ(pool_.free_pages(), 1);  // one shared page, two partial ones
  EXPECT_EQ(read(*child, 5), 1.0F);
  EXPECT_EQ(read(*child, kPageCells), 2.0F);
  write(*child, kPageCells, 3.0F);
  EXPECT_EQ(read(parent, kPageCells), 2.0F);

  // Going back into the shared page and writing there must not touch the parent.
  child->truncate(5);
  child->grow(1);
  write(*child, 5, 9.0F);
  EXPECT_EQ(read(parent, 5), 1.0F);
}

}  // namespace
}  // namespace hearth::state
