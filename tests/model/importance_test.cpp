// Importance matrices: both file formats, what quantizers get of them, and files that lie.
#include "model/importance.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::model {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

ImportanceMatrix example() {
  ImportanceMatrix matrix;
  matrix.tensors["blk.0.attn_q.weight"] = {{2, 4, 6, 8}, {2}};
  matrix.tensors["blk.0.ffn_down_exps.weight"] = {{1, 2, 3, 4, 0, 0}, {2, 4, 0}};
  matrix.datasets = {"wiki.txt"};
  matrix.chunk_count = 7;
  matrix.chunk_size = 512;
  return matrix;
}

template <typename T>
void put(std::string& to, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  to.append(bytes, sizeof(T));
}

void put_text(std::string& to, const std::string& text) {
  put(to, static_cast<std::int32_t>(text.size()));
  to += text;
}

/// A file of the older format with one tensor.
std::string old_file(const std::vector<float>& values, std::int32_t calls = 2) {
  std::string file;
  put(file, std::int32_t{1});
  put_text(file, "blk.0.attn_q.weight");
  put(file, calls);
  put(file, static_cast<std::int32_t>(values.size()));
  for (const float value : values) put(file, value);
  return file;
}

std::string error_of(const std::string& file) {
  try {
    (void)parse_importance(bytes_of(file), "m.dat");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<float> weights_of(const ImportanceMatrix& matrix, const std::string& name,
                              std::int64_t slice, std::size_t columns) {
  std::vector<float> weights(columns);
  matrix.find(name)->weights(slice, weights);
  return weights;
}

TEST(Importance, IsReadAsItWasWritten) {
  const testing::TemporaryFolder folder;
  write_importance(folder / "m.gguf", example());
  const ImportanceMatrix read = read_importance(folder / "m.gguf");
  EXPECT_EQ(read.datasets, example().datasets);
  EXPECT_EQ(read.chunk_count, 7u);
  EXPECT_EQ(read.chunk_size, 512u);
  ASSERT_EQ(read.tensors.size(), 2u);
  EXPECT_EQ(read.find("blk.0.ffn_down_exps.weight")->sums, (std::vector<float>{1, 2, 3, 4, 0, 0}));
  EXPECT_EQ(read.find("blk.0.ffn_down_exps.weight")->counts, (std::vector<float>{2, 4, 0}));
  EXPECT_EQ(read.find("blk.1.attn_q.weight"), nullptr);

  const gguf::File file = gguf::File::open(folder / "m.gguf");
  EXPECT_EQ(file.metadata().get_string("general.type"), "imatrix");
  const gguf::TensorInfo* sums = file.find_tensor("blk.0.ffn_down_exps.weight.in_sum2");
  EXPECT_EQ(sums->shape[0], 2);
  EXPECT_EQ(sums->shape[1], 3);
  EXPECT_EQ(file.find_tensor("blk.0.ffn_down_exps.weight.counts")->shape[1], 3);
}

TEST(Importance, WeightsAreMeansAndOneForAnExpertThatWasNotUsed) {
  const ImportanceMatrix matrix = example();
  EXPECT_EQ(weights_of(matrix, "blk.0.attn_q.weight", 0, 4), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(weights_of(matrix, "blk.0.ffn_down_exps.weight", 1, 2), (std::vector<float>{0.75, 1}));
  EXPECT_EQ(weights_of(matrix, "blk.0.ffn_down_exps.weight", 2, 2), (std::vector<float>{1, 1}));
  const Importance& experts = *matrix.find("blk.0.ffn_down_exps.weight");
  EXPECT_TRUE(experts.fits(2, 3));
  EXPECT_FALSE(experts.fits(3, 2));
  EXPECT_FALSE(experts.fits(6, 1));
}

TEST(Importance, ReadsTheOlderFormat) {
  std::string file = old_file({2, 4, 6, 8});
  const ImportanceMatrix plain = parse_importance(bytes_of(file));
  EXPECT_EQ(weights_of(plain, "blk.0.attn_q.weight", 0, 4), (std::vector<float>{1, 2, 3, 4}));
  // It does not say how many matrices there are.
  EXPECT_TRUE(plain.find("blk.0.attn_q.weight")->fits(2, 2));
  EXPECT_EQ(weights_of(plain, "blk.0.attn_q.weight", 1, 2), (std::vector<float>{3, 4}));

  put(file, std::int32_t{9});
  put_text(file, "calibration.txt");
  const ImportanceMatrix named = parse_importance(bytes_of(file));
  EXPECT_EQ(named.chunk_count, 9u);
  EXPECT_EQ(named.datasets, std::vector<std::string>{"calibration.txt"});
}

TEST(Importance, RunsAddUp) {
  ImportanceMatrix matrix = example();
  matrix.add(example());
  EXPECT_EQ(matrix.chunk_count, 14u);
  EXPECT_EQ(matrix.datasets.size(), 1u);
  EXPECT_EQ(matrix.find("blk.0.attn_q.weight")->sums, (std::vector<float>{4, 8, 12, 16}));
  EXPECT_EQ(matrix.find("blk.0.attn_q.weight")->counts, std::vector<float>{4});
  ImportanceMatrix other;
  other.tensors["blk.0.attn_q.weight"] = {{1}, {1}};
  EXPECT_THROW(matrix.add(other), Error);
}

TEST(Importance, EveryTruncationIsRefused) {
  std::string old = old_file({2, 4, 6, 8});
  for (std::size_t size = 0; size < old.size(); ++size)
    EXPECT_NE(error_of(old.substr(0, size)), "no error") << size;
  const std::string written = importance_bytes(example());
  // The last bytes are padding.
  for (std::size_t size = 0; size + 32 < written.size(); size += 7)
    EXPECT_NE(error_of(written.substr(0, size)), "no error") << size;
}

TEST(Importance, RefusesWhatNoMeasurementGives) {
  EXPECT_NE(error_of(old_file({1, -1})).find("negative or not finite"), std::string::npos);
  EXPECT_NE(error_of(old_file({1, std::numeric_limits<float>::quiet_NaN()})).find("not finite"),
            std::string::npos);
  EXPECT_NE(error_of(old_file({})).find("not a whole number of rows"), std::string::npos);
  EXPECT_NE(error_of(old_file({1}, -1)).find("number of calls is negative"), std::string::npos);
  std::string twice = old_file({1});
  twice[0] = 2;
  twice += old_file({1}).substr(4);
  EXPECT_NE(error_of(twice).find("names a tensor twice"), std::string::npos);
  std::string long_name = old_file({1});
  long_name[7] = '\x7f';  // a name of 2 GB
  EXPECT_NE(error_of(long_name).find("ends within a name"), std::string::npos);
  std::string none;
  put(none, std::int32_t{0});
  EXPECT_NE(error_of(none).find("nothing about any tensor"), std::string::npos);

  gguf::Writer model;
  model.set("general.architecture", "llama");
  EXPECT_EQ(error_of(model.bytes()), "'m.dat' is not an importance matrix");
  gguf::Writer no_counts;
  no_counts.set("general.type", "imatrix");
  no_counts.add_floats("x.weight.in_sum2", {1}, std::vector<float>{1});
  EXPECT_NE(error_of(no_counts.bytes()).find("no counts of 'x.weight'"), std::string::npos);
}

}  // namespace
}  // namespace hearth::model
