#include "gguf/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "quant/quant.h"
#include "raw_file.h"
#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::gguf {
namespace {

using hearth::testing::goldens_dir;
using hearth::testing::TemporaryFolder;
using testing::parse;
using testing::RawFile;

TEST(GgufFile, OpensEveryReferenceFile) {
  HEARTH_REQUIRE_FILE(goldens_dir());
  std::size_t opened = 0;
  for (const char* folder : {"tokenizer", "arch"}) {
    for (const auto& entry : std::filesystem::directory_iterator(goldens_dir() / folder)) {
      if (entry.path().extension() != ".gguf") continue;
      const File file = File::open(entry.path());
      EXPECT_TRUE(file.metadata().get_string("general.architecture").has_value()) << entry.path();
      std::uint64_t bytes = 0;
      for (const TensorInfo& tensor : file.tensors()) {
        bytes += file.data(tensor).size();
        EXPECT_EQ(file.find_tensor(tensor.name), &tensor);
      }
      EXPECT_LE(bytes, file.file_bytes());
      ++opened;
    }
  }
  EXPECT_GT(opened, 100U);
}

TEST(GgufFile, LargeVocabulariesAreViewsIntoTheFile) {
  const auto path = goldens_dir() / "tokenizer" / "llama4.gguf";
  HEARTH_REQUIRE_FILE(path);
  const std::string bytes = read_file(path);
  const File file = parse(bytes);
  const auto tokens = file.metadata().get_strings("tokenizer.ggml.tokens");
  ASSERT_TRUE(tokens.has_value());
  EXPECT_GT(tokens->size(), 200000U);
  for (const std::string_view token : *tokens) {
    ASSERT_GE(token.data(), bytes.data());
    ASSERT_LE(token.data() + token.size(), bytes.data() + bytes.size());
  }
}

/// One tensor of a type, its data in this machine's order and, with `swapped`, a file of the other
/// order that holds the same numbers.
RawFile plain_numbers(bool swapped, std::uint32_t version) {
  RawFile file(swapped);
  file.header(5, 4, version);
  file.entry("general.architecture", "test");
  file.entry<std::int64_t>("answer", ValueType::kI64, -42);
  file.array("scales", ValueType::kF32, 2).number(0.5F).number(-2.0F);
  file.entry<std::uint32_t>("general.alignment", ValueType::kU32, 8);
  file.tensor("f32", {2}, 0, 0).tensor("f16", {4}, 1, 8).tensor("i8", {8}, 24, 16);
  file.tensor("f64", {1}, 28, 24).tensor("q8", {32}, 8, 32);
  file.pad(8).number(1.5F).number(-3.0F);
  for (const int half : {0x3C00, 0xC000, 0x0001, 0x7BFF})
    file.number(static_cast<std::uint16_t>(half));
  file.raw("\1\2\3\4\5\6\7\10").number(0.1);
  file.number(std::uint16_t{0x3C00});
  for (int i = 0; i < 32; ++i) file.number(static_cast<std::int8_t>(i - 16));
  return file;
}

std::vector<float> decoded(const File& file, std::string_view name) {
  const TensorInfo* tensor = file.find_tensor(name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
  quant::decode(tensor->dtype, file.data(*tensor), values);
  return values;
}

TEST(GgufFile, BothByteOrdersAndVersionsReadAlike) {
  for (const std::uint32_t version : {2U, 3U}) {
    for (const bool swapped : {false, true}) {
      const RawFile raw = plain_numbers(swapped, version);
      const File file = parse(raw.bytes());
      EXPECT_EQ(file.version(), version);
      EXPECT_EQ(file.alignment(), 8U);
      EXPECT_EQ(file.metadata().get_string("general.architecture"), "test");
      EXPECT_EQ(file.metadata().get_int("answer"), -42);
      EXPECT_EQ(file.metadata().get_floats("scales"), (std::vector<double>{0.5, -2.0}));
      EXPECT_EQ(decoded(file, "f32"), (std::vector<float>{1.5F, -3.0F}));
      EXPECT_EQ(decoded(file, "f16"), (std::vector<float>{1.0F, -2.0F, 0x1p-24F, 65504.0F}));
      EXPECT_EQ(decoded(file, "i8"), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
      EXPECT_EQ(decoded(file, "f64"), (std::vector<float>{0.1F}));
      EXPECT_EQ(decoded(file, "q8").front(), -16.0F);
      EXPECT_EQ(decoded(file, "q8").back(), 15.0F);
    }
  }
}

/// Swapping twice gives the block back, swapping once changes only what is wider than a byte.
TEST(GgufByteOrder, SwappingBlocksIsItsOwnInverse) {
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    std::vector<std::byte> block(3 * type.block_bytes);
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(i * 37 + 11);
    std::vector<std::byte> swapped = block;
    swap_block_fields(type.dtype, swapped);
    const bool bytes_only = type.name == "I8" || type.name == "MXFP4" || type.name == "NVFP4";
    EXPECT_EQ(swapped == block, bytes_only) << type.name;
    swap_block_fields(type.dtype, swapped);
    EXPECT_TRUE(swapped == block) << type.name;
  }
}

TEST(GgufFile, AFileWithoutTensorsMayEndAfterTheMetadata) {
  const RawFile raw = RawFile().header(0, 1).entry("general.architecture", "test");
  EXPECT_EQ(parse(raw.bytes()).tensors().size(), 0U);
}

TEST(GgufFile, GapsBetweenTensorsAndAnyOrderAreFine) {
  RawFile raw = RawFile().header(2, 0).tensor("b", {1}, 0, 128).tensor("a", {1}, 0, 0).pad();
  raw.zeros(132);
  const File file = parse(raw.bytes());
  EXPECT_EQ(file.tensors()[0].name, "b");
  EXPECT_EQ(file.find_tensor("b")->offset - file.find_tensor("a")->offset, 128U);
}

TEST(GgufFile, HeadersCanBeReadWithoutTheData) {
  const TemporaryFolder folder;
  for (const bool swapped : {false, true}) {
    RawFile raw = RawFile(swapped).header(2, 1).entry("general.architecture", "test");
    raw.tensor("a", {32, 4}, 8, 0).tensor("b", {64}, 0, 160);
    const auto path = folder / "cut.gguf";
    write_file_atomically(path, raw.bytes());
    EXPECT_THROW((void)File::open(path), Error);
    const File file = File::open_header(path);
    EXPECT_EQ(file.metadata().get_string("general.architecture"), "test");
    ASSERT_EQ(file.tensors().size(), 2U);
    EXPECT_EQ(file.find_tensor("a")->bytes, 4U * 34U);
    // A header that ends too early is still an error, and so is one that contradicts itself.
    write_file_atomically(path, raw.bytes().substr(0, raw.bytes().size() - 1));
    EXPECT_THROW((void)File::open_header(path), Error);
  }
  RawFile overlapping = RawFile().header(2, 0);
  overlapping.tensor("a", {32, 4}, 8, 0).tensor("b", {64}, 0, 32);
  write_file_atomically(folder / "bad.gguf", overlapping.bytes());
  EXPECT_THROW((void)File::open_header(folder / "bad.gguf"), Error);
}

TEST(GgufFile, MovesKeepTheModel) {
  const RawFile raw = plain_numbers(true, 3);
  File file = parse(raw.bytes());
  File moved = std::move(file);
  file = std::move(moved);
  EXPECT_EQ(decoded(file, "f32"), (std::vector<float>{1.5F, -3.0F}));
}

std::string message_of(const std::filesystem::path& path) {
  try {
    (void)File::open(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(GgufFile, ErrorsNameTheFileTheOffsetAndTheProblem) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& bytes) {
    write_file_atomically(folder / "x.gguf", bytes);
    return message_of(folder / "x.gguf");
  };
  const std::string start = "bad GGUF file '" + (folder / "x.gguf").string() + "': ";
  EXPECT_EQ(write(""), start + "at byte 0, the file is empty");
  EXPECT_EQ(
      write("<html>"),
      start + "at byte 0, the file does not begin with the letters GGUF, so it is not a GGUF file");
  EXPECT_EQ(write(RawFile().header(0, 0, 1).bytes()),
            start + "at byte 4, version 1 is not supported");
  EXPECT_EQ(write(RawFile().header(0, 0, 9).bytes()),
            start + "at byte 4, version 9 is not supported");
  EXPECT_EQ(write(RawFile().header(0, 1).entry("b", ValueType::kBool, std::uint8_t{2}).bytes()),
            start + "at byte 37, a bool of 'b' is 2 instead of 0 or 1");
  EXPECT_EQ(write(RawFile().header(0, 2).entry("b", "").entry("b", "").bytes()),
            start + "at byte 45, the key 'b' appears a second time");
  EXPECT_EQ(write(RawFile().header(1, 0).tensor("t\n", {1}, 4, 0).bytes()),
            start + "at byte 46, tensor 't\\x0a' has the unknown type 4");
  EXPECT_EQ(message_of(folder / "none.gguf"),
            "no such file: '" + (folder / "none.gguf").string() + "'");
  EXPECT_NE(message_of(folder.path()).find("is a folder, not a file"), std::string::npos);
}

/// A file cut off while it is in use must not kill the process (SIGBUS).
TEST(GgufFile, TruncationWhileInUseIsAnError) {
  const TemporaryFolder folder;
  const auto path = folder / "model.gguf";
  constexpr std::size_t kBytes = 1 << 20;
  write_file_atomically(path, RawFile()
                                  .header(1, 0)
                                  .tensor("t", {kBytes}, 24, 0)
                                  .pad()
                                  .raw(std::string(kBytes, 'x'))
                                  .bytes());
  const File file = File::open(path);
  const auto data = file.data(*file.find_tensor("t"));
  EXPECT_EQ(data.back(), std::byte{'x'});
  EXPECT_NO_THROW(file.check());
  ASSERT_EQ(::truncate(path.c_str(), 8192), 0);
  std::size_t sum = 0;
  for (const std::byte byte : data) sum += static_cast<std::size_t>(byte);
  EXPECT_LT(sum, kBytes * std::size_t{'x'});
  try {
    file.check();
    FAIL() << "the truncation went unnoticed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("model.gguf"), std::string::npos);
  }
}

}  // namespace
}  // namespace hearth::gguf
