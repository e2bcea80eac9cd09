// The safetensors reader: types, shards, and files that are not as they should be.
#include "gguf/safetensors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "safetensors_writer.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"
#include "tensor/dtype.h"

namespace hearth::gguf {
namespace {

using hearth::testing::SafetensorsWriter;
using hearth::testing::TemporaryFolder;

SafeTensors parse_safetensors(const std::string& bytes) {
  return SafeTensors::from_bytes(std::as_bytes(std::span(bytes)));
}

/// What opening such a file says.
std::string refusal(const std::string& bytes) {
  try {
    (void)parse_safetensors(bytes);
  } catch (const Error& error) {
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "accepted";
}

std::string refusal(const std::string& header, const std::string& data) {
  return refusal(SafetensorsWriter::assemble(header, data));
}

template <class Number>
std::string raw(std::initializer_list<Number> values) {
  std::string bytes;
  for (const Number value : values) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

std::vector<float> values_of(const SafeTensors& tensors, const char* name) {
  const SafeTensor* tensor = tensors.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
  tensors.read(*tensor, 0, values);
  return values;
}

TEST(Safetensors, EveryTypeIsReadAsFloats) {
  const std::string bytes =
      SafetensorsWriter()
          .add("f64", "F64", {2}, raw<double>({1.5, -0.1}))
          .add("f32", "F32", {2}, raw<float>({1.5F, -0.1F}))
          .add("f16", "F16", {2}, raw<std::uint16_t>({0x3E00, 0xC000}))
          .add("bf16", "BF16", {2}, raw<std::uint16_t>({0x3FC0, 0xC000}))
          .add("i64", "I64", {2}, raw<std::int64_t>({3, -4}))
          .add("i32", "I32", {2}, raw<std::int32_t>({3, -4}))
          .add("i16", "I16", {2}, raw<std::int16_t>({3, -4}))
          .add("i8", "I8", {2}, raw<std::int8_t>({3, -4}))
          .add("u8", "U8", {2}, raw<std::uint8_t>({3, 250}))
          .add("u16", "U16", {2}, raw<std::uint16_t>({3, 65000}))
          .add("u32", "U32", {2}, raw<std::uint32_t>({3, 65000}))
          .add("u64", "U64", {2}, raw<std::uint64_t>({3, 65000}))
          .add("bool", "BOOL", {2}, raw<std::uint8_t>({1, 0}))
          // 1.75 * 2^0, the largest (448), the smallest subnormal (2^-9), minus 1.
          .add("e4m3", "F8_E4M3", {4}, raw<std::uint8_t>({0x3E, 0x7E, 0x01, 0xB8}))
          .add("e5m2", "F8_E5M2", {3}, raw<std::uint8_t>({0x3E, 0x7B, 0xBC}))
          .bytes();
  const SafeTensors tensors = parse_safetensors(bytes);
  EXPECT_EQ(tensors.tensors().size(), 15U);
  EXPECT_EQ(values_of(tensors, "f64"), (std::vector<float>{1.5F, -0.1F}));
  EXPECT_EQ(values_of(tensors, "f32"), (std::vector<float>{1.5F, -0.1F}));
  EXPECT_EQ(values_of(tensors, "f16"), (std::vector<float>{1.5F, -2}));
  EXPECT_EQ(values_of(tensors, "bf16"), (std::vector<float>{1.5F, -2}));
  for (const char* name : {"i64", "i32", "i16", "i8"})
    EXPECT_EQ(values_of(tensors, name), (std::vector<float>{3, -4})) << name;
  EXPECT_EQ(values_of(tensors, "u8"), (std::vector<float>{3, 250}));
  for (const char* name : {"u16", "u32", "u64"})
    EXPECT_EQ(values_of(tensors, name), (std::vector<float>{3, 65000})) << name;
  EXPECT_EQ(values_of(tensors, "bool"), (std::vector<float>{1, 0}));
  EXPECT_EQ(values_of(tensors, "e4m3"), (std::vector<float>{1.75F, 448, std::ldexp(1.0F, -9), -1}));
  EXPECT_EQ(values_of(tensors, "e5m2"), (std::vector<float>{1.5F, 57344, -1}));
}

TEST(Safetensors, PartsOfTensorsAreReadAtAnyAlignment) {
  const std::string bytes = SafetensorsWriter()
                                .add("odd", "U8", {3}, "abc")
                                .floats("matrix", {2, 3}, std::array<float, 6>{1, 2, 3, 4, 5, 6})
                                .bytes();
  const SafeTensors tensors = parse_safetensors(bytes);
  std::array<float, 3> values{};
  tensors.read(*tensors.find("matrix"), 2, values);
  EXPECT_EQ(values, (std::array<float, 3>{3, 4, 5}));
  EXPECT_EQ(tensors.data(*tensors.find("odd")).size(), 3U);
}

TEST(Safetensors, HeaderDetails) {
  const SafeTensors tensors = parse_safetensors(SafetensorsWriter::assemble(
      R"({"__metadata__":{"format":"pt","q\u00e9\ud83e\udd99":"\"\\\n"},
          "scalar":{"dtype":"F32","shape":[],"data_offsets":[0,4],"more":[1,{"a":[null,true,-1e5]}]},
          "empty" : {"shape":[0,7],"dtype":"I64","data_offsets":[4,4]} }   )",
      std::string(4, '\0')));
  EXPECT_EQ(tensors.metadata().at("format"), "pt");
  EXPECT_EQ(tensors.metadata().at("qé🦙"), "\"\\\n");
  EXPECT_EQ(tensors.find("scalar")->elements(), 1);
  EXPECT_EQ(tensors.find("empty")->elements(), 0);
  EXPECT_EQ(tensors.find("scala"), nullptr);
}

TEST(Safetensors, BadFilesAreRefused) {
  const std::string good = SafetensorsWriter().floats("a", {2}, std::array<float, 2>{1, 2}).bytes();
  EXPECT_EQ(refusal(good), "accepted");
  EXPECT_NE(refusal("short").find("too short for a header"), std::string::npos);
  EXPECT_NE(refusal(good.substr(0, good.size() - 1)).find("truncated"), std::string::npos);
  EXPECT_NE(refusal(good.substr(0, 20)).find("header claims"), std::string::npos);
  EXPECT_NE(refusal(std::string(8, '\xFF') + "{}").find("header claims"), std::string::npos);
  EXPECT_NE(refusal(good + "x").find("after its last tensor"), std::string::npos);

  const auto one = [](const std::string& entry, const std::string& data = "12345678") {
    return refusal("{\"a\":" + entry + "}", data);
  };
  EXPECT_NE(one(R"({"dtype":"F4","shape":[2],"data_offsets":[0,8]})").find("unknown dtype"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2]})").find("lacks"), std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})").find("12 bytes"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})").find("data_offsets"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})").find("no tensor"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,9]})").find("two offsets"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[4611686018427387904,4611686018427387904],)"
                R"("data_offsets":[0,8]})")
                .find("too large"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]})")
                .find("too large"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})").find("whole number"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})").find("not whole"),
            std::string::npos);
  EXPECT_NE(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8])").find("bad JSON"),
            std::string::npos);
  EXPECT_NE(one("[]").find("an object"), std::string::npos);
  EXPECT_NE(one(std::string(1000, '[')).find("bad JSON"), std::string::npos);

  const std::string twice = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  EXPECT_NE(
      refusal("{" + twice + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", "123456")
          .find("overlaps"),
      std::string::npos);
  EXPECT_NE(
      refusal("{" + twice + R"(,"a":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})", "123456")
          .find("two tensors"),
      std::string::npos);
  EXPECT_NE(refusal("{\"\":1}", "").find("name"), std::string::npos);
  EXPECT_NE(refusal("{\"a\xFF\":1}", "").find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal(R"({"\ud800":1})", "").find("surrogate"), std::string::npos);
  EXPECT_NE(refusal("{} x", "").find("after its end"), std::string::npos);
  EXPECT_NE(refusal("[]", "").find("an object"), std::string::npos);
}

TEST(Safetensors, DeepNestingIsRefused) {
  std::string deep = R"({"a":{"x":)";
  deep += std::string(100000, '[');
  EXPECT_NE(refusal(deep, "").find("too deeply"), std::string::npos);
}

class Shards : public ::testing::Test {
 protected:
  void SetUp() override {
    SafetensorsWriter()
        .floats("a", {1}, std::array<float, 1>{1})
        .write(folder_ / "x-1.safetensors");
    SafetensorsWriter()
        .floats("b", {1}, std::array<float, 1>{2})
        .floats("a", {1}, std::array<float, 1>{3})
        .write(folder_ / "x-2.safetensors");
  }
  void index(const std::string& map) const {
    write_file_atomically(folder_ / "model.safetensors.index.json",
                          "{\"metadata\":{\"total_size\":8},\"weight_map\":" + map + "}");
  }
  [[nodiscard]] std::string refusal_of_folder() const {
    try {
      (void)SafeTensors::open(folder_.path());
    } catch (const Error& error) {
      return std::string(error.what()) + "; " + error.hint();
    }
    return "accepted";
  }
  TemporaryFolder folder_;
};

TEST_F(Shards, TheIndexDecides) {
  index(R"({"a":"x-1.safetensors","b":"x-2.safetensors"})");
  const SafeTensors tensors = SafeTensors::open(folder_.path());
  EXPECT_EQ(tensors.parts(), 2U);
  EXPECT_EQ(tensors.tensors().size(), 2U);
  EXPECT_EQ(values_of(tensors, "a"), std::vector<float>{1});
  EXPECT_EQ(values_of(tensors, "b"), std::vector<float>{2});
  tensors.check();
}

TEST_F(Shards, MissingThingsAreNamed) {
  EXPECT_NE(refusal_of_folder().find("no model.safetensors.index.json"), std::string::npos);
  index(R"({"a":"x-1.safetensors","b":"x-3.safetensors"})");
  EXPECT_NE(refusal_of_folder().find("x-3.safetensors' is missing"), std::string::npos);
  index(R"({"c":"x-1.safetensors"})");
  EXPECT_NE(refusal_of_folder().find("lacks the tensor 'c'"), std::string::npos);
  index("{}");
  EXPECT_NE(refusal_of_folder().find("no weight_map"), std::string::npos);
}

TEST_F(Shards, AnIndexCannotReachOtherFolders) {
  for (const char* name : {"../x-1.safetensors", "/etc/passwd", "..", "a\\\\b", ""}) {
    index(std::string(R"({"a":")") + name + "\"}");
    EXPECT_NE(refusal_of_folder().find("plain file name"), std::string::npos) << name;
  }
}

TEST(SafetensorsFolder, OneFileNeedsNoIndexAndPickledWeightsAreExplained) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "pytorch_model.bin", std::string("x"));
  try {
    (void)SafeTensors::open(folder.path());
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("PyTorch"), std::string::npos);
  }
  SafetensorsWriter().floats("a", {1}, std::array<float, 1>{1}).write(folder / "my.safetensors");
  EXPECT_NE(SafeTensors::open(folder.path()).find("a"), nullptr);
  EXPECT_NE(SafeTensors::open(folder / "my.safetensors").find("a"), nullptr);
  EXPECT_THROW((void)SafeTensors::open(folder / "none.safetensors"), Error);
}

}  // namespace
}  // namespace hearth::gguf
