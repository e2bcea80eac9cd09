// Quantized copies of models: their bytes, their keys, and what is refused.
#include "model/quantize/quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "quant/quant.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::model::quantize {
namespace {

using tensor::DType;

constexpr std::int64_t kWidth = 256, kRows = 24, kExperts = 3;

std::vector<float> noise(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

class Quantizer : public ::testing::Test {
 protected:
  /// A model of one layer with three experts.
  static gguf::Writer model(DType type = DType::kF32) {
    gguf::Writer writer;
    writer.set("general.architecture", "llama");
    writer.set("general.file_type", 0u);
    writer.set("llama.block_count", 1u);
    writer.set("llama.expert_count", 3u);
    writer.set_array("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
    writer.add_floats("output.weight", {kWidth, kRows}, noise(kWidth * kRows, 1), type);
    writer.add_floats("blk.0.attn_norm.weight", {kWidth}, noise(kWidth, 2));
    writer.add_floats("blk.0.attn_q.weight", {kWidth, kRows}, noise(kWidth * kRows, 3), type);
    writer.add_floats("blk.0.ffn_up_exps.weight", {kWidth, kRows, kExperts},
                      noise(kWidth * kRows * kExperts, 4), type);
    return writer;
  }
  static ImportanceMatrix importance() {
    ImportanceMatrix matrix;
    std::vector<float> sums = noise(kWidth * kExperts, 5);
    for (float& sum : sums) sum *= sum;
    matrix.tensors["blk.0.attn_q.weight"] = {{sums.begin(), sums.begin() + kWidth}, {4}};
    matrix.tensors["blk.0.ffn_up_exps.weight"] = {sums, {4, 0, 9}};
    matrix.chunk_count = 6;
    matrix.datasets = {"text.txt"};
    return matrix;
  }

  void SetUp() override { model().write(in()); }
  [[nodiscard]] std::filesystem::path in() const { return folder_ / "in.gguf"; }
  [[nodiscard]] std::filesystem::path out() const { return folder_ / "out.gguf"; }
  [[nodiscard]] std::filesystem::path matrix_path() const { return folder_ / "m.imatrix"; }

  gguf::File quantized(const QuantizeOptions& options, int threads = 2) const {
    Quantization(in(), options).write(out(), {true, threads});
    return gguf::File::open(out());
  }
  [[nodiscard]] std::string error_of(const QuantizeOptions& options,
                                     WriteOptions how = {true, 2}) const {
    try {
      Quantization(in(), options).write(out(), how);
    } catch (const Error& error) {
      expect_no_leftovers();
      return std::string(error.what()) + "; " + error.hint();
    }
    return "no error";
  }
  void expect_no_leftovers() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      const std::string name = entry.path().filename().string();
      EXPECT_TRUE(name.ends_with(".gguf") || name.ends_with(".imatrix")) << name;
    }
  }

  testing::TemporaryFolder folder_;
};

/// `values` encoded row by row; the importance of a row is `weights(row)`.
template <class Weights>
std::vector<std::byte> encoded(DType type, const std::vector<float>& values, Weights weights) {
  const std::size_t row_bytes = tensor::row_bytes(type, kWidth);
  std::vector<std::byte> bytes(values.size() / kWidth * row_bytes);
  for (std::size_t row = 0; row * kWidth < values.size(); ++row) {
    const std::vector<float> importance = weights(row);
    quant::encode_row(type, std::span(values).subspan(row * kWidth, kWidth), importance,
                      std::span(bytes).subspan(row * row_bytes, row_bytes));
  }
  return bytes;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

std::span<const std::byte> data_of(const gguf::File& file, const char* name) {
  return file.data(*file.find_tensor(name));
}

TEST_F(Quantizer, EncodesRowByRow) {
  const gguf::File file = quantized({FileType::kQ4_K_S});
  EXPECT_EQ(file.tensors().size(), 4u);
  const auto none = [](std::size_t) { return std::vector<float>(); };
  EXPECT_EQ(file.find_tensor("blk.0.attn_q.weight")->dtype, DType::kQ4_K);
  EXPECT_TRUE(same(data_of(file, "blk.0.attn_q.weight"),
                   encoded(DType::kQ4_K, noise(kWidth * kRows, 3), none)));
  EXPECT_TRUE(
      same(data_of(file, "output.weight"), encoded(DType::kQ6_K, noise(kWidth * kRows, 1), none)));
  EXPECT_EQ(file.find_tensor("blk.0.attn_norm.weight")->dtype, DType::kF32);
  const std::vector<float> norm = noise(kWidth, 2);
  EXPECT_TRUE(same(data_of(file, "blk.0.attn_norm.weight"), std::as_bytes(std::span(norm))));
  EXPECT_EQ(file.find_tensor("blk.0.ffn_up_exps.weight")->shape[2], kExperts);
}

TEST_F(Quantizer, EveryExpertHasItsOwnImportance) {
  write_importance(matrix_path(), importance());
  QuantizeOptions options{FileType::kIQ2_XXS};
  options.importance = matrix_path();
  const gguf::File file = quantized(options);
  const ImportanceMatrix matrix = importance();
  EXPECT_EQ(file.find_tensor("blk.0.ffn_up_exps.weight")->dtype, DType::kIQ2_XXS);
  const auto weights = [&](std::size_t row) {
    std::vector<float> result(kWidth);
    matrix.find("blk.0.ffn_up_exps.weight")
        ->weights(static_cast<std::int64_t>(row / kRows), result);
    return result;
  };
  EXPECT_TRUE(same(data_of(file, "blk.0.ffn_up_exps.weight"),
                   encoded(DType::kIQ2_XXS, noise(kWidth * kRows * kExperts, 4), weights)));
  EXPECT_EQ(file.metadata().get_string("quantize.imatrix.file"), "m.imatrix");
  EXPECT_EQ(file.metadata().get_string("quantize.imatrix.dataset"), "text.txt");
  EXPECT_EQ(file.metadata().get_uint("quantize.imatrix.entries_count"), 2u);
  EXPECT_EQ(file.metadata().get_uint("quantize.imatrix.chunks_count"), 6u);
  EXPECT_EQ(Quantization(in(), options).without_importance(), 0u);
}

TEST_F(Quantizer, CountsTensorsThatAreNotInTheMatrix) {
  ImportanceMatrix partial = importance();
  partial.tensors.erase("blk.0.attn_q.weight");
  write_importance(matrix_path(), partial);
  QuantizeOptions options{FileType::kQ4_K_M};
  options.importance = matrix_path();
  EXPECT_EQ(Quantization(in(), options).without_importance(), 1u);
  options.type = FileType::kBF16;  // which knows no importance
  EXPECT_EQ(Quantization(in(), options).without_importance(), 0u);
}

TEST_F(Quantizer, KeysSayWhatItIs) {
  const gguf::File file = quantized({FileType::kQ5_K_M});
  EXPECT_EQ(file.metadata().get_uint("general.file_type"), 17u);
  EXPECT_EQ(file.metadata().get_uint("general.quantization_version"), 2u);
  EXPECT_EQ(file.metadata().get_string("general.architecture"), "llama");
  EXPECT_EQ(file.metadata().get_strings("tokenizer.ggml.tokens")->size(), 2u);
  EXPECT_FALSE(file.metadata().contains("quantize.imatrix.file"));
  EXPECT_EQ(quantized({FileType::kCopy}).metadata().get_uint("general.file_type"), 0u);
}

TEST_F(Quantizer, SizesAreThoseOfTheFile) {
  const Quantization job(in(), {FileType::kQ4_0});
  const gguf::File file = quantized({FileType::kQ4_0});
  std::uint64_t bytes = 0, weights = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    bytes += tensor.bytes;
    weights += static_cast<std::uint64_t>(tensor.elements());
  }
  EXPECT_EQ(job.bytes_after(), bytes);
  EXPECT_EQ(job.weights(), weights);
  EXPECT_EQ(job.bytes_before(), weights * 4);
  EXPECT_EQ(job.without_importance(), 0u);
}

TEST_F(Quantizer, ThreadsDoNotChangeTheBytes) {
  (void)quantized({FileType::kQ4_K_M}, 1);
  const std::string one = read_file(out());
  (void)quantized({FileType::kQ4_K_M}, 3);
  EXPECT_EQ(one, read_file(out()));
}

TEST_F(Quantizer, ReportsProgressToItsEnd) {
  std::uint64_t last = 0, total = 0;
  Quantization(in(), {FileType::kQ8_0}).write(out(), {}, [&](const QuantizeProgress& progress) {
    EXPECT_GE(progress.done, last);
    last = progress.done;
    total = progress.total;
  });
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, Quantization(in(), {FileType::kQ8_0}).weights());
}

TEST_F(Quantizer, AnExceptionOfProgressEndsItAndLeavesNothing) {
  const Quantization job(in(), {FileType::kQ8_0});
  EXPECT_THROW(job.write(out(), {}, [](const QuantizeProgress&) { throw Error("enough"); }), Error);
  EXPECT_FALSE(std::filesystem::exists(out()));
  expect_no_leftovers();
}

TEST_F(Quantizer, QuantizedModelsNeedPermission) {
  model(DType::kQ8_0).write(in());
  EXPECT_NE(error_of({FileType::kQ4_K_M}).find("quantized already"), std::string::npos);
  EXPECT_EQ(error_of({FileType::kQ8_0}), "no error");  // nothing is encoded
  EXPECT_TRUE(same(data_of(gguf::File::open(in()), "output.weight"),
                   data_of(gguf::File::open(out()), "output.weight")));
  QuantizeOptions allowed{FileType::kQ4_K_M};
  allowed.allow_requantize = true;
  EXPECT_EQ(quantized(allowed).find_tensor("blk.0.attn_q.weight")->dtype, DType::kQ4_K);
}

TEST_F(Quantizer, SplitModelsBecomeOneFile) {
  gguf::SplitLimits limits;
  limits.max_tensors = 2;
  const auto parts = model().write_split(folder_ / "split.gguf", limits);
  ASSERT_EQ(parts.size(), 2u);
  const Quantization job(parts[0], {FileType::kQ8_0});
  job.write(out(), {});
  const gguf::File file = gguf::File::open(out());
  EXPECT_EQ(file.parts(), 1u);
  EXPECT_EQ(file.tensors().size(), 4u);
  EXPECT_FALSE(file.metadata().contains("split.count"));
  for (const std::filesystem::path& part : parts)
    EXPECT_THROW(job.write(part, {true, 1}), Error) << part;
}

TEST_F(Quantizer, RefusesToGoWithoutImportance) {
  const std::string error = error_of({FileType::kIQ2_XXS});
  EXPECT_EQ(error,
            "IQ2_XXS needs an importance matrix: 'blk.0.attn_q.weight' would be IQ2_XXS; make one "
            "with hearth imatrix and give it with --imatrix");
  ImportanceMatrix partial = importance();
  partial.tensors.erase("blk.0.ffn_up_exps.weight");
  write_importance(matrix_path(), partial);
  QuantizeOptions options{FileType::kIQ2_XXS};
  options.importance = matrix_path();
  EXPECT_NE(error_of(options).find("says nothing about 'blk.0.ffn_up_exps.weight'"),
            std::string::npos);
  options.overrides = {parse_type_override("ffn_up_exps=Q2_K")};
  EXPECT_EQ(error_of(options), "no error");
}

TEST_F(Quantizer, RefusesTheImportanceOfAnotherModel) {
  ImportanceMatrix other = importance();
  other.tensors["blk.0.attn_q.weight"] = {{1, 2, 3}, {1}};
  write_importance(matrix_path(), other);
  QuantizeOptions options{FileType::kQ4_K_M};
  options.importance = matrix_path();
  EXPECT_NE(error_of(options).find("'blk.0.attn_q.weight' has another size"), std::string::npos);
  ImportanceMatrix stranger;
  stranger.tensors["blk.7.attn_q.weight"] = {{1, 2, 3}, {1}};
  write_importance(matrix_path(), stranger);
  EXPECT_NE(error_of(options).find("knows none of these tensors"), std::string::npos);
  options.importance = in();
  EXPECT_NE(error_of(options).find("is not an importance matrix"), std::string::npos);
}

TEST_F(Quantizer, RefusesValuesThatNoTypeCanHold) {
  const auto write_model = [&](float value) {
    std::vector<float> values(512, 1.0f);
    values[300] = value;
    gguf::Writer writer;
    writer.set("general.architecture", "llama");
    writer.add_floats("blk.0.attn_q.weight", {256, 2}, values);
    writer.write(in());
  };
  write_model(std::nanf(""));
  EXPECT_NE(error_of({FileType::kQ4_K_M}).find("not finite"), std::string::npos);
  write_model(-std::numeric_limits<float>::infinity());
  EXPECT_NE(error_of({FileType::kQ8_0}).find("not finite"), std::string::npos);
  write_model(1e6f);
  EXPECT_NE(error_of({FileType::kF16}).find("too large for F16"), std::string::npos);
  EXPECT_EQ(error_of({FileType::kBF16}), "no error");
  EXPECT_EQ(error_of({FileType::kQ8_0}), "no error");
}

TEST_F(Quantizer, RefusesToWriteOverWhatItReads) {
  const Quantization job(in(), {FileType::kQ8_0});
  const std::string before = read_file(in());
  std::filesystem::create_symlink(in(), folder_ / "link.gguf");
  EXPECT_THROW(job.write(in(), {true, 1}), Error);
  EXPECT_THROW(job.write(folder_ / "link.gguf", {true, 1}), Error);
  EXPECT_THROW(job.write(folder_.path(), {true, 1}), Error);
  EXPECT_EQ(before, read_file(in()));
  job.write(out(), {});
  EXPECT_THROW(job.write(out(), {}), Error);
  job.write(out(), {true, 1});
}

TEST_F(Quantizer, TruncatedModelsAreRefused) {
  const std::string whole = read_file(in());
  for (const std::size_t size : {whole.size() - 64, whole.size() / 2, std::size_t{100}}) {
    write_file_atomically(in(), whole.substr(0, size));
    EXPECT_NE(error_of({FileType::kQ8_0}), "no error") << size;
  }
}

}  // namespace
}  // namespace hearth::model::quantize
