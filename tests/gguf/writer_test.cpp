#include "gguf/writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "raw_file.h"
#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::gguf {
namespace {

using hearth::testing::TemporaryFolder;
using tensor::DType;
using testing::parse;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A writer with one value of every type.
Writer every_type() {
  Writer writer;
  writer.set("general.architecture", "test");
  writer.set("u8", std::uint8_t{255});
  writer.set("i8", std::int8_t{-128});
  writer.set("u16", std::uint16_t{65535});
  writer.set("i16", std::int16_t{-32768});
  writer.set("u32", std::numeric_limits<std::uint32_t>::max());
  writer.set("i32", std::numeric_limits<std::int32_t>::min());
  writer.set("u64", std::numeric_limits<std::uint64_t>::max());
  writer.set("i64", std::numeric_limits<std::int64_t>::min());
  writer.set("f32", 0.1F);
  writer.set("f64", 0.1);
  writer.set("yes", true);
  writer.set("no", false);
  writer.set("text", std::string("bytes \xff\0 of any kind", 20));
  writer.set("empty", "");
  writer.set_array("u8s", std::vector<std::uint8_t>{0, 255});
  writer.set_array("i8s", std::vector<std::int8_t>{-128, 127});
  writer.set_array("u16s", std::vector<std::uint16_t>{65535});
  writer.set_array("i16s", std::vector<std::int16_t>{-32768});
  writer.set_array("u32s", std::vector<std::uint32_t>{1, 2, 3});
  writer.set_array("i32s", std::vector<std::int32_t>{-1, 2});
  writer.set_array("u64s", std::vector<std::uint64_t>{std::numeric_limits<std::uint64_t>::max()});
  writer.set_array("i64s", std::vector<std::int64_t>{-1});
  writer.set_array("f32s", std::vector<float>{0.5F, -0.0F});
  writer.set_array("f64s", std::vector<double>{1e300});
  writer.set_array("bools", std::vector<bool>{true, false, true});
  writer.set_array("strings", std::vector<std::string>{"a", "", "Ġhello"});
  writer.set_array("none", std::vector<std::string>{});
  return writer;
}

TEST(GgufWriter, EveryValueTypeSurvives) {
  const std::string bytes = every_type().bytes();
  const File file = parse(bytes);
  const Metadata& metadata = file.metadata();
  EXPECT_EQ(file.version(), 3U);
  EXPECT_EQ(metadata.entries().size(), 28U);
  EXPECT_EQ(metadata.get_uint("u8"), 255U);
  EXPECT_EQ(metadata.get_int("i8"), -128);
  EXPECT_EQ(metadata.get_uint("u64"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(metadata.get_int("i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(metadata.get_float("f32"), static_cast<double>(0.1F));
  EXPECT_EQ(metadata.get_float("f64"), 0.1);
  EXPECT_EQ(metadata.get_bool("yes"), true);
  EXPECT_EQ(metadata.get_bool("no"), false);
  EXPECT_EQ(metadata.get_string("text"), std::string_view("bytes \xff\0 of any kind", 20));
  EXPECT_EQ(metadata.get_string("empty"), "");
  EXPECT_EQ(metadata.get_ints("u8s"), (std::vector<std::int64_t>{0, 255}));
  EXPECT_EQ(metadata.get_ints("i8s"), (std::vector<std::int64_t>{-128, 127}));
  EXPECT_EQ(metadata.get_ints("bools"), (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(metadata.get_floats("f32s"), (std::vector<double>{0.5, -0.0}));
  EXPECT_EQ(metadata.get_floats("u32s"), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(metadata.get_strings("strings"), (std::vector<std::string_view>{"a", "", "Ġhello"}));
  EXPECT_EQ(metadata.get_strings("none"), std::vector<std::string_view>{});
}

TEST(GgufWriter, CopyingMetadataGivesTheSameBytes) {
  const std::string bytes = every_type().bytes();
  const File file = parse(bytes);
  Writer copy;
  copy.copy(file.metadata());
  EXPECT_TRUE(copy.bytes() == bytes);
}

TEST(GgufMetadata, GettersRefuseWhatTheyWouldHaveToBend) {
  const std::string bytes = every_type().bytes();
  const File file = parse(bytes);
  const Metadata& metadata = file.metadata();
  EXPECT_EQ(metadata.find("missing"), nullptr);
  EXPECT_EQ(metadata.get_uint("missing"), std::nullopt);
  EXPECT_EQ(metadata.get_uint("i8"), std::nullopt);    // negative
  EXPECT_EQ(metadata.get_int("u64"), std::nullopt);    // too large
  EXPECT_EQ(metadata.get_float("u64"), std::nullopt);  // not exact
  EXPECT_EQ(metadata.get_int("f32"), std::nullopt);
  EXPECT_EQ(metadata.get_int("yes"), std::nullopt);
  EXPECT_EQ(metadata.get_bool("u8"), std::nullopt);
  EXPECT_EQ(metadata.get_string("u8"), std::nullopt);
  EXPECT_EQ(metadata.get_strings("u8s"), std::nullopt);
  EXPECT_EQ(metadata.get_ints("f32s"), std::nullopt);
  EXPECT_EQ(metadata.get_ints("u64s"), std::nullopt);
  EXPECT_EQ(metadata.get_ints("strings"), std::nullopt);
  EXPECT_EQ(metadata.get_floats("strings"), std::nullopt);
  EXPECT_EQ(metadata.get_floats("u64s"), std::nullopt);
}

TEST(GgufMetadata, ScalarsStandForArraysOfOne) {
  const std::string bytes = every_type().bytes();
  const File file = parse(bytes);
  const Metadata& metadata = file.metadata();
  EXPECT_EQ(metadata.get_ints("u8"), std::vector<std::int64_t>{255});
  EXPECT_EQ(metadata.get_ints("yes"), std::vector<std::int64_t>{1});
  EXPECT_EQ(metadata.get_floats("i16"), std::vector<double>{-32768});
  EXPECT_EQ(metadata.get_floats("no"), std::vector<double>{0});
  EXPECT_EQ(metadata.get_strings("empty"), std::vector<std::string_view>{""});
}

/// A small model with tensors of odd sizes; tensor i is filled with the byte i.
struct SmallModel {
  std::vector<std::string> data;
  Writer writer;

  explicit SmallModel(std::size_t tensors, std::uint32_t alignment = 32) {
    writer.set("general.architecture", "test");
    if (alignment != 32) writer.set("general.alignment", alignment);
    for (std::size_t i = 0; i < tensors; ++i) {
      data.emplace_back(4 * (i + 1) * 3, static_cast<char>(i));
    }
    for (std::size_t i = 0; i < tensors; ++i) {
      writer.add_tensor("blk." + std::to_string(i) + ".weight", DType::kF32,
                        {static_cast<std::int64_t>(i + 1), 3}, std::as_bytes(std::span(data[i])));
    }
  }

  void expect_in(const File& file) const {
    ASSERT_EQ(file.tensors().size(), data.size());
    for (std::size_t i = 0; i < data.size(); ++i) {
      const TensorInfo* tensor = file.find_tensor("blk." + std::to_string(i) + ".weight");
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(tensor->shape[0], static_cast<std::int64_t>(i + 1));
      EXPECT_EQ(tensor->shape[1], 3);
      EXPECT_EQ(tensor->shape[2], 1);
      EXPECT_EQ(tensor->dimensions, 2U);
      EXPECT_EQ(tensor->elements(), static_cast<std::int64_t>(3 * (i + 1)));
      EXPECT_EQ(tensor->offset % file.alignment(), 0U);
      EXPECT_TRUE(text_of(file.data(*tensor)) == data[i]) << tensor->name;
    }
    EXPECT_EQ(file.find_tensor("blk.9999.weight"), nullptr);
    EXPECT_EQ(file.find_tensor(""), nullptr);
  }
};

TEST(GgufWriter, TensorsSurviveAtEveryAlignment) {
  for (const std::uint32_t alignment : {1U, 2U, 8U, 32U, 64U, 4096U}) {
    const SmallModel model(20, alignment);
    const std::string bytes = model.writer.bytes();
    const File file = parse(bytes);
    EXPECT_EQ(file.alignment(), alignment);
    EXPECT_EQ(file.file_bytes(), bytes.size());
    model.expect_in(file);
  }
}

TEST(GgufWriter, WritesTheSameBytesToDisk) {
  const TemporaryFolder folder;
  const SmallModel model(5);
  model.writer.write(folder / "model.gguf");
  EXPECT_TRUE(read_file(folder / "model.gguf") == model.writer.bytes());
  const File file = File::open(folder / "model.gguf");
  EXPECT_EQ(file.parts(), 1U);
  EXPECT_EQ(file.path(), folder / "model.gguf");
  model.expect_in(file);
  file.check();
}

TEST(GgufWriter, StreamsLargeTensorsInChunks) {
  const TemporaryFolder folder;
  constexpr std::int64_t kBytes = (3 << 20) + 5;
  std::uint64_t expected_offset = 0;
  Writer writer;
  writer.set("general.architecture", "test");
  writer.add_tensor("big", DType::kI8, {kBytes},
                    [&](std::uint64_t offset, std::span<std::byte> out) {
                      EXPECT_EQ(offset, expected_offset);
                      EXPECT_LE(out.size(), std::size_t{1} << 20);
                      expected_offset += out.size();
                      for (std::size_t i = 0; i < out.size(); ++i)
                        out[i] = static_cast<std::byte>((offset + i) % 251);
                    });
  writer.write(folder / "big.gguf");
  EXPECT_EQ(expected_offset, static_cast<std::uint64_t>(kBytes));
  const File file = File::open(folder / "big.gguf");
  const auto data = file.data(*file.find_tensor("big"));
  ASSERT_EQ(data.size(), static_cast<std::size_t>(kBytes));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    wrong += data[i] == static_cast<std::byte>(i % 251) ? 0 : 1;
  }
  EXPECT_EQ(wrong, 0U);
}

TEST(GgufWriter, AddFloatsEncodes) {
  std::vector<float> values(64);
  std::iota(values.begin(), values.end(), -32.0F);
  Writer writer;
  writer.add_floats("f32", {32, 2}, values);
  writer.add_floats("half", {64}, values, DType::kF16);
  writer.add_floats("q8", {32, 2}, values, DType::kQ8_0);
  const std::string bytes = writer.bytes();
  const File file = parse(bytes);
  EXPECT_EQ(file.find_tensor("f32")->bytes, 256U);
  EXPECT_EQ(std::memcmp(file.data(*file.find_tensor("f32")).data(), values.data(), 256), 0);
  EXPECT_EQ(file.find_tensor("half")->bytes, 128U);
  EXPECT_EQ(file.find_tensor("q8")->bytes, 68U);
}

TEST(GgufWriter, RefusesWrongUse) {
  Writer writer;
  const std::vector<float> values(32, 1.0F);
  const auto bytes = std::as_bytes(std::span(values));
  writer.add_floats("a", {32}, values);
  EXPECT_THROW(writer.add_floats("a", {32}, values), Error);
  EXPECT_THROW(writer.add_floats("", {32}, values), Error);
  EXPECT_THROW(writer.add_floats("b", {31}, values), Error);
  EXPECT_THROW(writer.add_floats("b", {}, values), Error);
  EXPECT_THROW(writer.add_floats("b", {-32}, values), Error);
  EXPECT_THROW(writer.add_floats("b", {1, 1, 1, 1, 32}, values), Error);
  EXPECT_THROW(writer.add_floats("b", {16, 2}, values, DType::kQ8_0), Error);
  EXPECT_THROW(writer.add_floats("b", {32}, values, DType::kIQ2_XS), Error);
  EXPECT_THROW(writer.add_tensor("b", DType::kF16, {32}, bytes), Error);
  EXPECT_THROW(writer.add_tensor("b", DType::kF32, {1LL << 62, 4}, bytes), Error);
  EXPECT_THROW(writer.set("split.count", std::uint16_t{2}), Error);
  EXPECT_THROW(writer.set("general.alignment", std::uint32_t{24}), Error);
  EXPECT_THROW(writer.set("general.alignment", "32"), Error);
  EXPECT_THROW(writer.set("", 1), Error);
  EXPECT_THROW(writer.set("bad \xff", 1), Error);
  const std::string written = writer.bytes();
  EXPECT_EQ(parse(written).tensors().size(), 1U);
}

TEST(GgufWriter, LeavesNothingBehindWhenASourceFails) {
  const TemporaryFolder folder;
  Writer writer;
  writer.add_tensor("a", DType::kF32, {8},
                    [](std::uint64_t, std::span<std::byte>) { throw Error("no data today"); });
  EXPECT_THROW(writer.write(folder / "model.gguf"), Error);
  EXPECT_THROW(writer.write_split(folder / "model.gguf", {}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GgufSplit, EveryPartOpensTheWholeModel) {
  for (const std::uint32_t alignment : {32U, 128U}) {
    const TemporaryFolder folder;
    const SmallModel model(10, alignment);
    const auto paths = model.writer.write_split(folder / "model.gguf", {.max_tensors = 3});
    ASSERT_EQ(paths.size(), 4U);
    EXPECT_EQ(paths[1].filename(), "model-00002-of-00004.gguf");
    for (const auto& path : paths) {
      const File file = File::open(path);
      EXPECT_EQ(file.parts(), 4U);
      EXPECT_EQ(file.metadata().get_string("general.architecture"), "test");
      EXPECT_EQ(file.alignment(), alignment);
      model.expect_in(file);
    }
  }
}

TEST(GgufSplit, CutsByBytes) {
  const TemporaryFolder folder;
  const SmallModel model(10);
  const auto paths = model.writer.write_split(folder / "m.gguf", {.max_data_bytes = 200});
  EXPECT_GT(paths.size(), 3U);
  const File file = File::open(paths[0]);
  std::vector<std::uint64_t> sizes(paths.size());
  for (const TensorInfo& tensor : file.tensors()) sizes[tensor.part] += tensor.bytes;
  for (const std::uint64_t size : sizes) EXPECT_LE(size, 200U);
  model.expect_in(file);
}

TEST(GgufSplit, OnePartIsAnOrdinaryFile) {
  const TemporaryFolder folder;
  const SmallModel model(3);
  const auto paths = model.writer.write_split(folder / "m.gguf", {});
  ASSERT_EQ(paths.size(), 1U);
  std::filesystem::rename(paths[0], folder / "renamed.gguf");
  model.expect_in(File::open(folder / "renamed.gguf"));
}

TEST(GgufWriter, RewritingAReferenceModelKeepsEverything) {
  const auto path = hearth::testing::goldens_dir() / "arch" / "llama-256-Q4_K_M.gguf";
  HEARTH_REQUIRE_FILE(path);
  const File original = File::open(path);
  Writer writer;
  writer.copy(original.metadata());
  for (const TensorInfo& tensor : original.tensors()) {
    writer.add_tensor(tensor.name, tensor.dtype, {tensor.shape, tensor.shape + tensor.dimensions},
                      original.data(tensor));
  }
  EXPECT_TRUE(writer.bytes() == read_file(path));
}

}  // namespace
}  // namespace hearth::gguf
