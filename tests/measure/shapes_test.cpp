#include "measure/shapes.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "measure/shape_image.h"
#include "model/families/registry.h"
#include "support/error.h"
#include "support/file.h"
#include "support/pattern_pages.h"
#include "temporary_folder.h"

namespace hearth::measure {
namespace {

using tensor::DType;

/// The file of a shape with zeros for data, which take no memory.
struct EmptyImage {
  explicit EmptyImage(const Shape& shape)
      : header(shape.writer.header()), memory(header.size() + shape.data_bytes) {
    std::memcpy(memory.bytes().data(), header.data(), header.size());
  }
  [[nodiscard]] gguf::File file() const { return gguf::File::from_bytes(memory.bytes()); }
  std::string header;
  PatternMemory memory;
};

std::int64_t parameters(const gguf::File& file) {
  std::int64_t count = 0;
  for (const gguf::TensorInfo& tensor : file.tensors()) count += tensor.elements();
  return count;
}

struct Known {
  const char* name;
  std::int64_t parameters;  // as their makers state them, without vision towers
};

class KnownShapes : public ::testing::TestWithParam<Known> {};

TEST_P(KnownShapes, HaveTheModelsParametersAndRun) {
  const EmptyImage image(known_shape(GetParam().name, std::nullopt));
  const gguf::File file = image.file();
  EXPECT_EQ(parameters(file), GetParam().parameters);
  const spec::ModelSpec spec = model::describe_model(file, {2048});
  EXPECT_TRUE(spec.causal);
  EXPECT_EQ(spec.logits, spec.vocabulary);
}

INSTANTIATE_TEST_SUITE_P(
    All, KnownShapes,
    ::testing::Values(Known{"llama3.2-1b", 1235814400}, Known{"llama3-8b", 8030261248},
                      Known{"qwen3-0.6b", 596049920}, Known{"qwen3-4b", 4022468096},
                      Known{"qwen3-30b-a3b", 30532122624}, Known{"qwen3.5-9b", 8953803264},
                      Known{"olmoe-7b-a1.3b", 6919161856}, Known{"gemma3-4b", 3880099328},
                      Known{"lfm2-350m", 354483968}, Known{"lfm2-1.2b", 1170340608},
                      Known{"gpt-oss-20b", 20914757184}),
    [](const ::testing::TestParamInfo<Known>& test) {
      std::string name;
      for (const char c : std::string(test.param.name)) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
      }
      return name;
    });

TEST(Shapes, NamesAreThoseOfAllShapes) {
  EXPECT_EQ(shape_names().size(), 11U);
  for (const std::string_view name : shape_names()) {
    EXPECT_EQ(known_shape(name, DType::kQ8_0).name, name);
  }
}

TEST(Shapes, TypeIsThatOfEveryMatrix) {
  const EmptyImage image(known_shape("llama3.2-1b", DType::kMXFP4));
  for (const gguf::TensorInfo& tensor : image.file().tensors()) {
    EXPECT_EQ(tensor.dtype, tensor.dimensions > 1 ? DType::kMXFP4 : DType::kF32) << tensor.name;
  }
}

TEST(Shapes, RowsThatAreNoWholeBlocksGetShorterBlocks) {
  const EmptyImage image(known_shape("gpt-oss-20b", DType::kQ4_K));
  const gguf::File file = image.file();
  EXPECT_EQ(file.find_tensor("blk.0.attn_q.weight")->dtype, DType::kQ5_0);       // 2880 columns
  EXPECT_EQ(file.find_tensor("blk.0.attn_output.weight")->dtype, DType::kQ4_K);  // 4096
}

TEST(Shapes, UnknownNamesAndTypesAreRefused) {
  try {
    (void)known_shape("llama9", std::nullopt);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    EXPECT_NE(error.hint().find("qwen3-30b-a3b"), std::string::npos);
  }
  EXPECT_THROW((void)known_shape("llama3-8b", DType::kQ8_K), Error);
}

TEST(Shapes, FilesNeedOnlyTheirHeader) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "header.gguf";
  write_file_atomically(path, known_shape("lfm2-350m", DType::kF16).writer.header());
  EXPECT_THROW((void)gguf::File::open(path), Error);
  const EmptyImage own(file_shape(path, std::nullopt));
  EXPECT_EQ(parameters(own.file()), 354483968);
  EXPECT_EQ(own.file().find_tensor("blk.2.attn_q.weight")->dtype, DType::kF16);
  const EmptyImage other(file_shape(path, DType::kQ6_K));
  EXPECT_EQ(other.file().find_tensor("blk.2.attn_q.weight")->dtype, DType::kQ6_K);
  EXPECT_EQ(other.file().find_tensor("blk.0.shortconv.conv.weight")->dtype, DType::kF32);
  EXPECT_EQ(other.file().find_tensor("blk.0.attn_norm.weight")->dtype, DType::kF32);
}

TEST(ShapeImages, HoldRandomTensorsThatDiffer) {
  ThreadTeam team(2);
  const ShapeImage image(known_shape("lfm2-350m", DType::kQ4_0), team);
  const gguf::File file = image.file();
  const auto bytes = [&](const char* name) { return file.data(*file.find_tensor(name)); };
  const auto norm = bytes("blk.0.attn_norm.weight");
  float one = 0;
  std::memcpy(&one, norm.data(), sizeof one);
  EXPECT_EQ(one, 1.0F);
  const auto up = bytes("blk.0.ffn_up.weight");
  const auto gate = bytes("blk.0.ffn_gate.weight");
  ASSERT_EQ(up.size(), gate.size());
  EXPECT_NE(std::memcmp(up.data(), gate.data(), up.size()), 0);
  const auto last = bytes("blk.15.ffn_down.weight");
  const std::vector<std::byte> before(last.begin(), last.begin() + 4096);
  image.forget_pages();
  EXPECT_EQ(std::memcmp(before.data(), last.data(), before.size()), 0);
}

}  // namespace
}  // namespace hearth::measure
