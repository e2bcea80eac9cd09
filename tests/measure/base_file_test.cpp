#include "measure/base_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <random>

#include "measure/chunks.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::measure {
namespace {

const RowReader kRows;
constexpr BaseShape kShape{.vocabulary = 13, .context = 8, .chunks = 2};

std::vector<std::int32_t> tokens_of(std::int64_t chunk) {
  std::vector<std::int32_t> tokens(8);
  std::iota(tokens.begin(), tokens.end(), static_cast<std::int32_t>(chunk));
  return tokens;
}

std::vector<float> logits_of(std::int64_t chunk, std::int64_t row) {
  std::mt19937 random(static_cast<unsigned>(chunk * 100 + row));
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(13);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

class BaseFile : public ::testing::Test {
 protected:
  /// A whole file; rows go in pieces of `piece`.
  void write(std::int64_t piece = 3) {
    BaseWriter writer(path(), kShape);
    for (std::int64_t chunk = 0; chunk < kShape.chunks; ++chunk) {
      for (std::int64_t first = 0; first < rows_scored(8); first += piece) {
        const std::int64_t count = std::min(piece, rows_scored(8) - first);
        std::vector<std::byte> packed(static_cast<std::size_t>(count) * kShape.row_bytes());
        for (std::int64_t i = 0; i < count; ++i) {
          const std::vector<float> logits = logits_of(chunk, first + i);
          BaseWriter::set_row(
              kShape,
              std::span(packed).subspan(static_cast<std::size_t>(i) * kShape.row_bytes(),
                                        kShape.row_bytes()),
              kRows.summarise(logits), logits, 5);
        }
        writer.write(packed, tokens_of(chunk));
      }
    }
    writer.commit();
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_ / "base.kl"; }
  [[nodiscard]] std::string bytes() const { return read_file(path()); }
  void replace(const std::string& bytes) const { std::ofstream(path(), std::ios::binary) << bytes; }
  /// What opening the file and checking all chunks says; empty when nothing.
  [[nodiscard]] std::string complaint() const {
    try {
      const BaseReader reader(path());
      for (std::int64_t i = 0; i < reader.shape().chunks; ++i) reader.check(i);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  [[nodiscard]] bool complains(const std::string& of) const {
    return complaint().find(of) != std::string::npos;
  }

  hearth::testing::TemporaryFolder folder_;
};

TEST_F(BaseFile, HoldsWhatWasWritten) {
  write();
  EXPECT_EQ(bytes().size(), kShape.file_bytes());
  const BaseReader reader(path());
  EXPECT_EQ(reader.shape(), kShape);
  for (std::int64_t chunk = 0; chunk < 2; ++chunk) {
    reader.check(chunk);
    EXPECT_TRUE(reader.has_tokens(chunk, tokens_of(chunk)));
    EXPECT_FALSE(reader.has_tokens(chunk, tokens_of(chunk + 1)));
    for (std::int64_t row = 0; row < rows_scored(8); ++row) {
      const std::vector<float> logits = logits_of(chunk, row);
      const RowSummary summary = kRows.summarise(logits);
      const BaseRow read = reader.row(chunk, row);
      EXPECT_FLOAT_EQ(read.log_probability,
                      static_cast<float>(log_probability(summary, logits, 5)));
      EXPECT_EQ(read.best, summary.best);
      EXPECT_LT(kRows.divergence(read.packed, summary, logits), 1e-7);
    }
  }
}

TEST_F(BaseFile, DoesNotDependOnThePieces) {
  write(3);
  const std::string in_threes = bytes();
  write(1);
  EXPECT_EQ(bytes(), in_threes);
}

TEST_F(BaseFile, AppearsOnlyWhenComplete) {
  {
    BaseWriter writer(path(), kShape);
    EXPECT_THROW(writer.commit(), Error);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(BaseFile, EveryTruncationIsAnError) {
  write();
  const std::string whole = bytes();
  EXPECT_EQ(complaint(), "");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    replace(whole.substr(0, size));
    EXPECT_NE(complaint(), "") << size;
  }
  replace(whole.substr(0, whole.size() - 1));
  EXPECT_TRUE(complains("is truncated")) << complaint();
  replace(whole + "x");
  EXPECT_TRUE(complains("is longer than it says")) << complaint();
}

TEST_F(BaseFile, EveryChangedByteIsAnError) {
  write();
  const std::string whole = bytes();
  for (std::size_t place = 0; place < whole.size(); ++place) {
    std::string changed = whole;
    changed[place] = static_cast<char>(changed[place] ^ 0x10);
    replace(changed);
    EXPECT_NE(complaint(), "") << place;
  }
}

TEST_F(BaseFile, OtherFilesAndVersionsAreNamed) {
  replace("GGUF and so on, which is long enough to have a header");
  EXPECT_TRUE(complains("is not a base file")) << complaint();
  write();
  std::string later = bytes();
  later[8] = 2;
  replace(later);
  EXPECT_TRUE(complains("has version 2")) << complaint();
}

/// Headers with a right checksum and numbers that would overflow or divide by nothing.
TEST_F(BaseFile, HostileHeadersAreErrors) {
  write();
  const std::string whole = bytes();
  for (const std::size_t field : {12U, 16U, 20U, 24U}) {
    for (const std::uint32_t value : {0U, 1U, 3U, 0x7FFFFFFFU, 0xFFFFFFFFU, 0x4000000U}) {
      std::string changed = whole;
      std::memcpy(changed.data() + field, &value, sizeof value);
      Checksum checksum;
      checksum.add(std::as_bytes(std::span(changed.data(), 32)));
      const std::uint64_t sum = checksum.value();
      std::memcpy(changed.data() + 32, &sum, sizeof sum);
      if (changed == whole) continue;
      replace(changed);
      EXPECT_NE(complaint(), "") << field << " " << value;
    }
  }
}

}  // namespace
}  // namespace hearth::measure
