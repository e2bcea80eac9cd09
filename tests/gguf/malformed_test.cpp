// Several hundred GGUF files that are wrong in one way each. Every one must end in an Error of one
// line that names the file, without a crash and without memory beyond what the file's size
// justifies.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "raw_file.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace {

std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};

void count(void* memory) {
  const std::size_t now = live_bytes += malloc_usable_size(memory);
  std::size_t peak = peak_bytes.load();
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now)) {
  }
}

}  // namespace

// Counting replacements of the global allocation functions, for this test program only.
void* operator new(std::size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  count(memory);
  return memory;
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept {
  if (memory != nullptr) live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { operator delete(memory); }

namespace hearth::gguf {
namespace {

using hearth::testing::TemporaryFolder;
using tensor::DType;
using testing::RawFile;
using enum ValueType;

constexpr std::size_t kMemoryLimit = 100U << 20;
constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();

struct Case {
  std::string what;  // for the test's messages
  std::string bytes;
  std::string expected;  // part of the error message
};

/// Runs `open`, which must throw a one-line Error that names `file` and contains `expected`.
template <typename Open>
void expect_error(const std::string& what, const std::string& file, const std::string& expected,
                  Open open) {
  const std::size_t before = live_bytes.load();
  peak_bytes = before;
  try {
    (void)open();
    ADD_FAILURE() << what << ": no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(file), std::string::npos) << what << ": " << message;
    EXPECT_NE(message.find(expected), std::string::npos) << what << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << what << ": " << message;
    EXPECT_LT(message.size(), 1000U) << what;
  }
  EXPECT_GT(peak_bytes.load(), before) << what << ": allocations are not counted";
  EXPECT_LT(peak_bytes.load() - before, kMemoryLimit) << what;
}

void expect_errors(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    expect_error(one.what, "'broken.gguf'", one.expected,
                 [&] { return testing::parse(one.bytes, "broken.gguf"); });
  }
}

/// A right file with values of all kinds and two tensors, ending with the last byte of data.
RawFile good(bool swapped = false) {
  RawFile file(swapped);
  file.header(2, 8);
  file.entry("general.architecture", "test").mark();
  file.entry("u8", kU8, std::uint8_t{1}).mark();
  file.entry("f64", kF64, 1.0).mark();
  file.entry("bool", kBool, std::uint8_t{1}).mark();
  file.array("numbers", kU32, 3).number(1U).number(2U).number(3U).mark();
  file.array("strings", kString, 2).text("one").text("two").mark();
  file.array("bools", kBool, 2).raw(std::string_view("\0\1", 2)).mark();
  file.entry("general.alignment", kU32, std::uint32_t{32}).mark();
  file.tensor("first", {32, 2}, 8, 0).mark();
  file.tensor("second", {4, 2, 2, 2}, 0, 96).mark();
  file.pad().mark().zeros(68).pad().mark().zeros(128);
  return file;
}

TEST(GgufMalformed, TheFileThatTheCasesAreMadeFromIsRight) {
  for (const bool swapped : {false, true}) {
    const RawFile file = good(swapped);
    EXPECT_EQ(testing::parse(file.bytes()).tensors().size(), 2U);
  }
}

TEST(GgufMalformed, TruncationAtEveryByte) {
  std::vector<Case> cases;
  for (const bool swapped : {false, true}) {
    const std::string whole = good(swapped).bytes();
    for (std::size_t length = 0; length < whole.size(); ++length) {
      cases.push_back({(swapped ? "swapped, " : "") + std::to_string(length) + " bytes",
                       whole.substr(0, length), "at byte "});
    }
  }
  EXPECT_GE(cases.size(), 1000U);
  expect_errors(cases);
}

TEST(GgufMalformed, Beginnings) {
  std::vector<Case> cases;
  for (const char* text :
       {"G", "GGU", "GGML", "FUGG", "gguf",
        "\x7f"
        "ELF",
        "<!DOCTYPE html>", "version https://git-lfs.github.com/spec/v1", "PK\3\4", "lmgg"}) {
    cases.push_back({text, text + std::string(64, ' '), "not a GGUF file"});
  }
  for (const std::uint32_t version :
       {0U, 1U, 4U, 5U, 65535U, 65536U, 0x01000000U, 0x04000000U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    cases.push_back({"version " + std::to_string(version),
                     RawFile().header(0, 0, version).zeros(64).bytes(), "is not supported"});
  }
  expect_errors(cases);
}

TEST(GgufMalformed, Counts) {
  std::vector<Case> cases;
  for (const std::uint64_t count :
       {std::uint64_t{100}, std::uint64_t{1} << 31, std::uint64_t{1} << 32, std::uint64_t{1} << 60,
        std::uint64_t{1} << 63, kHuge - 1, kHuge}) {
    const std::string number = std::to_string(count);
    cases.push_back(
        {"tensors " + number, RawFile().header(count, 0).zeros(256).bytes(), "cannot fit"});
    cases.push_back(
        {"pairs " + number, RawFile().header(0, count).zeros(256).bytes(), "cannot fit"});
    for (const ValueType type : {kU8, kBool, kU16, kF32, kU64, kString}) {
      cases.push_back({"array elements " + number,
                       RawFile().header(0, 1).array("a", type, count).zeros(99).bytes(),
                       "cannot fit"});
    }
    if (count == 100) continue;
    cases.push_back({"key length " + number, RawFile().header(0, 1).u64(count).zeros(256).bytes(),
                     "claims a length"});
    cases.push_back({"string length " + number,
                     RawFile().header(0, 1).key("k", kString).u64(count).zeros(256).bytes(),
                     "a string value"});
    cases.push_back(
        {"array string length " + number,
         RawFile().header(0, 1).array("k", kString, 2).text("a").u64(count).zeros(256).bytes(),
         "a string of an array"});
    cases.push_back({"tensor name length " + number,
                     RawFile().header(1, 0).u64(count).zeros(256).bytes(), "claims a length"});
  }
  cases.push_back({"one more pair than there is",
                   RawFile().header(0, 2).entry("key", "value and more").bytes(), "a key"});
  expect_errors(cases);
}

TEST(GgufMalformed, LargeFilesOfLies) {
  // 4 MiB, every 14 bytes of which could be a pair or 8 an empty string.
  const std::size_t size = 4U << 20;
  std::vector<Case> cases;
  cases.push_back({"pairs", RawFile().header(0, size / 14).zeros(size).bytes(), "is empty"});
  cases.push_back({"tensors", RawFile().header(size / 41, 0).zeros(size).bytes(), "is empty"});
  cases.push_back({"strings",
                   RawFile().header(0, 2).array("a", kString, size / 8).zeros(size).bytes(),
                   "a key"});
  cases.push_back(
      {"bytes", RawFile().header(0, 2).array("a", kU8, size).zeros(size).bytes(), "a key"});
  cases.push_back({"too many elements",
                   RawFile().header(0, 1).array("a", kU8, (8U << 20) + 1).zeros(9U << 20).bytes(),
                   "more than the"});
  expect_errors(cases);
}

TEST(GgufMalformed, Values) {
  std::vector<Case> cases;
  for (const std::uint32_t type : {13U, 14U, 255U, 256U, 0x80000000U, 0xFFFFFFFFU}) {
    cases.push_back({"value type " + std::to_string(type),
                     RawFile().header(0, 1).text("k").u32(type).zeros(64).bytes(), "unknown type"});
    cases.push_back({"element type " + std::to_string(type),
                     RawFile().header(0, 1).key("k", kArray).u32(type).u64(1).zeros(64).bytes(),
                     "unknown element type"});
  }
  RawFile nested = RawFile().header(0, 1).key("k", kArray);
  for (int depth = 0; depth < 100000; ++depth) nested.u32(9).u64(1);
  cases.push_back({"deep arrays", nested.bytes(), "array of arrays"});
  cases.push_back({"array of arrays",
                   RawFile().header(0, 1).array("k", kArray, 0).zeros(64).bytes(),
                   "array of arrays"});
  for (const int value : {2, 127, 255}) {
    const auto byte = static_cast<std::uint8_t>(value);
    cases.push_back({"bool", RawFile().header(0, 1).entry("k", kBool, byte).bytes(), "a bool"});
    cases.push_back({"bools",
                     RawFile()
                         .header(0, 1)
                         .array("k", kBool, 2)
                         .raw(std::string_view("\0", 1))
                         .number(byte)
                         .bytes(),
                     "a bool"});
  }
  expect_errors(cases);
}

TEST(GgufMalformed, Names) {
  std::vector<Case> cases;
  const std::string long_name(70000, 'n');
  for (const std::string_view name :
       {std::string_view("\xff"), std::string_view("a\x80"), std::string_view("\xed\xa0\x80"),
        std::string_view("\xc0\xaf"), std::string_view("\xf4\x90\x80\x80"),
        std::string_view("e\xcc"), std::string_view("zero\0byte", 9), std::string_view(""),
        std::string_view(long_name)}) {
    cases.push_back(
        {"key " + printable(name), RawFile().header(0, 1).entry(name, "v").bytes(), "a key"});
    cases.push_back({"tensor " + printable(name),
                     RawFile().header(1, 0).tensor(name, {1}, 0, 0).pad().zeros(32).bytes(),
                     "a tensor name"});
  }
  cases.push_back({"key twice", RawFile().header(0, 2).entry("k", "1").entry("k", "2").bytes(),
                   "a second time"});
  cases.push_back(
      {"key twice, other type",
       RawFile().header(0, 3).entry("k", "1").entry("l", "").entry("k", kU8, '\1').bytes(),
       "a second time"});
  cases.push_back({"tensor twice",
                   RawFile()
                       .header(2, 0)
                       .tensor("t", {1}, 0, 0)
                       .tensor("t", {1}, 0, 32)
                       .pad()
                       .zeros(64)
                       .bytes(),
                   "second tensor called 't'"});
  expect_errors(cases);
}

TEST(GgufMalformed, Alignments) {
  std::vector<Case> cases;
  const auto with = [](RawFile file) {
    return file.tensor("t", {1}, 0, 0).pad().zeros(64).bytes();
  };
  for (const std::uint64_t bad :
       {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{24}, std::uint64_t{33},
        std::uint64_t{0x7FFFFFFF}, std::uint64_t{0x80000000}, kHuge, std::uint64_t{1} << 63}) {
    cases.push_back({"alignment " + std::to_string(bad),
                     with(RawFile().header(1, 1).entry("general.alignment", kU64, bad)),
                     "power of two"});
  }
  cases.push_back({"negative", with(RawFile().header(1, 1).entry("general.alignment", kI32, -32)),
                   "not an unsigned integer"});
  cases.push_back({"string", with(RawFile().header(1, 1).entry("general.alignment", "32")),
                   "not an unsigned integer"});
  cases.push_back({"float", with(RawFile().header(1, 1).entry("general.alignment", kF32, 32.0F)),
                   "not an unsigned integer"});
  cases.push_back({"array",
                   with(RawFile().header(1, 1).array("general.alignment", kU32, 1).u32(32)),
                   "not an unsigned integer"});
  cases.push_back({"data start beyond the end",
                   with(RawFile().header(1, 1).entry("general.alignment", kU32, 1U << 26)),
                   "past the end"});
  expect_errors(cases);
}

TEST(GgufMalformed, Shapes) {
  std::vector<Case> cases;
  const auto add = [&](const std::vector<std::int64_t>& shape, std::uint32_t type,
                       const std::string& expected) {
    std::string what = "type " + std::to_string(type) + ":";
    for (const std::int64_t size : shape) what += " " + std::to_string(size);
    cases.push_back({what,
                     RawFile().header(1, 0).tensor("t", shape, type, 0).pad().zeros(512).bytes(),
                     expected});
  };
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  add({}, 0, "dimensions instead");
  add({1, 1, 1, 1, 1}, 0, "dimensions instead");
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{-32}, kMin}) {
    add({size}, 0, "dimension 0");
    add({32, size}, 8, "dimension 1");
    add({1, 1, 1, size}, 0, "dimension 3");
  }
  add({kMax}, 0, "overflows");
  add({kMax, 2}, 24, "overflows");
  add({std::int64_t{1} << 32, std::int64_t{1} << 32}, 24, "overflows");
  add({std::int64_t{1} << 31, std::int64_t{1} << 31, 4}, 0, "overflows");
  add({65536, 65536, 65536, 65536}, 24, "overflows");
  add({65536, 65536, 65536, 32768}, 24, "overflows");
  add({std::int64_t{1} << 62}, 0, "overflows");
  add({std::int64_t{1} << 62}, 24, "past the end");
  add({kMax - 255, 1}, 10, "past the end");
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    const auto id = static_cast<std::uint32_t>(type.dtype);
    add({1 << 20}, id, "past the end");
    if (type.block_elements == 1) continue;
    add({1}, id, "not a multiple");
    add({type.block_elements + 1, 2}, id, "not a multiple");
    add({type.block_elements / 2, 2}, id, "not a multiple");
  }
  for (const std::uint32_t type : {4U, 5U, 31U, 33U, 36U, 38U, 43U, 64U, 0xFFFFFFFFU}) {
    add({256}, type, "unknown type");
  }
  for (const std::uint32_t dimensions : {1000U, 0xFFFFFFFFU}) {
    cases.push_back({"dimensions",
                     RawFile().header(1, 0).text("t").u32(dimensions).zeros(512).bytes(),
                     "dimensions instead"});
  }
  expect_errors(cases);
}

TEST(GgufMalformed, Offsets) {
  std::vector<Case> cases;
  const auto two = [](std::uint64_t first, std::uint64_t second) {
    return RawFile()
        .header(2, 0)
        .tensor("a", {16}, 0, first)
        .tensor("b", {16}, 0, second)
        .pad()
        .zeros(256)
        .bytes();
  };
  for (const std::uint64_t offset :
       {std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{31}, std::uint64_t{33}, kHuge}) {
    cases.push_back({"misaligned " + std::to_string(offset), two(0, offset), "not a multiple"});
  }
  for (const std::uint64_t offset : {std::uint64_t{224}, std::uint64_t{256}, std::uint64_t{1} << 32,
                                     std::uint64_t{1} << 63, kHuge - 31}) {
    cases.push_back({"outside " + std::to_string(offset), two(0, offset), "past the end"});
  }
  cases.push_back({"same place", two(0, 0), "overlap"});
  cases.push_back({"half over", two(0, 32), "overlap"});
  cases.push_back({"half over, second first", two(96, 64), "overlap"});
  cases.push_back({"inside another",
                   RawFile()
                       .header(3, 0)
                       .tensor("a", {64}, 0, 0)
                       .tensor("b", {1}, 0, 128)
                       .tensor("c", {1}, 0, 32)
                       .pad()
                       .zeros(256)
                       .bytes(),
                   "overlap"});
  expect_errors(cases);
}

TEST(GgufMalformed, SplitKeysOfOneFile) {
  std::vector<Case> cases;
  const auto file = [](RawFile entries) { return entries.bytes(); };
  const auto split = [](std::uint16_t number, std::uint16_t parts) {
    return RawFile().header(0, 2).entry("split.no", kU16, number).entry("split.count", kU16, parts);
  };
  cases.push_back({"split in memory", file(split(0, 2)), "split into 2"});
  cases.push_back({"number = count", file(split(2, 2)), "do not go together"});
  cases.push_back({"number > count", file(split(9, 2)), "do not go together"});
  cases.push_back({"number 1 of 1", file(split(1, 1)), "do not go together"});
  cases.push_back({"number of none", file(split(1, 0)), "do not go together"});
  cases.push_back({"huge count",
                   file(RawFile()
                            .header(0, 2)
                            .entry("split.no", kU16, std::uint16_t{0})
                            .entry("split.count", kU64, kHuge)),
                   "do not go together"});
  cases.push_back({"no number",
                   file(RawFile().header(0, 1).entry("split.count", kU16, std::uint16_t{3})),
                   "'split.no' is missing"});
  cases.push_back({"no count",
                   file(RawFile().header(0, 1).entry("split.no", kU16, std::uint16_t{3})),
                   "'split.count' is missing"});
  for (const char* key : {"split.no", "split.count", "split.tensors.count"}) {
    cases.push_back({key, file(RawFile().header(0, 1).entry(key, "2")), "not an unsigned integer"});
    cases.push_back(
        {key, file(RawFile().header(0, 1).entry(key, kF32, 2.0F)), "not an unsigned integer"});
    cases.push_back(
        {key, file(RawFile().header(0, 1).entry(key, kI32, -2)), "not an unsigned integer"});
    cases.push_back({key, file(RawFile().header(0, 1).entry(key, kBool, std::uint8_t{1})),
                     "not an unsigned integer"});
    cases.push_back({key, file(RawFile().header(0, 1).array(key, kU16, 1).number(std::uint16_t{1})),
                     "not an unsigned integer"});
  }
  cases.push_back({"wrong tensor count",
                   file(RawFile()
                            .header(0, 2)
                            .entry("split.count", kU16, std::uint16_t{1})
                            .entry("split.tensors.count", kI32, 5)),
                   "promises 5 tensors"});
  expect_errors(cases);
}

/// A split model of three parts on disk that a test then damages.
class GgufMalformedSplit : public ::testing::Test {
 protected:
  void SetUp() override {
    Writer writer;
    writer.set("general.architecture", "test");
    const std::vector<float> values(32, 1.0F);
    for (const char* name : {"a", "b", "c"}) writer.add_floats(name, {32}, values);
    paths_ = writer.write_split(folder_ / "m.gguf", {.max_tensors = 1});
    ASSERT_EQ(paths_.size(), 3U);
    ASSERT_EQ(File::open(paths_[0]).tensors().size(), 3U);
  }

  static std::string part(std::uint16_t number, std::uint16_t count, std::int32_t tensors,
                          std::string_view name) {
    return RawFile()
        .header(1, 3)
        .entry("split.no", kU16, number)
        .entry("split.count", kU16, count)
        .entry("split.tensors.count", kI32, tensors)
        .tensor(name, {4}, 0, 0)
        .pad()
        .zeros(16)
        .bytes();
  }

  void expect_failure(const std::string& what, const std::string& expected) {
    for (const auto& path : paths_) {
      if (!std::filesystem::is_regular_file(path)) continue;
      expect_error(what, "m-0000", expected, [&] { return File::open(path); });
    }
  }

  TemporaryFolder folder_;
  std::vector<std::filesystem::path> paths_;
};

TEST_F(GgufMalformedSplit, MissingPart) {
  std::filesystem::remove(paths_[1]);
  expect_failure("missing", "m-00002-of-00003.gguf");
}

TEST_F(GgufMalformedSplit, RepeatedPart) {
  std::filesystem::copy_file(paths_[0], paths_[1],
                             std::filesystem::copy_options::overwrite_existing);
  expect_error("repeated", "m-00002", "part 2 of 3", [&] { return File::open(paths_[0]); });
  expect_error("repeated", "m-00002", "does not end in", [&] { return File::open(paths_[1]); });
}

TEST_F(GgufMalformedSplit, LinksInACircle) {
  std::filesystem::remove(paths_[1]);
  std::filesystem::create_symlink(paths_[1], paths_[1]);
  expect_error("to itself", "m-00002", "missing", [&] { return File::open(paths_[0]); });
  std::filesystem::remove(paths_[1]);
  std::filesystem::create_symlink(paths_[0], paths_[1]);
  expect_error("to the first", "m-00002", "part 2 of 3", [&] { return File::open(paths_[0]); });
}

TEST_F(GgufMalformedSplit, PartsThatAreNoFiles) {
  std::filesystem::remove(paths_[1]);
  std::filesystem::create_directory(paths_[1]);
  expect_failure("directory", "is a folder, not a file");
  std::filesystem::remove(paths_[1]);
  ASSERT_EQ(::mkfifo(paths_[1].c_str(), 0600), 0);
  expect_failure("pipe", "not a regular file");
}

TEST_F(GgufMalformedSplit, DamagedParts) {
  const std::string whole = read_file(paths_[2]);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{3}, std::size_t{20}, whole.size() - 1}) {
    write_file_atomically(paths_[2], whole.substr(0, length));
    expect_failure("cut to " + std::to_string(length), "m-00003-of-00003.gguf");
  }
}

TEST_F(GgufMalformedSplit, KeysThatContradict) {
  const std::pair<std::string, std::string> wrong[] = {
      {part(0, 3, 3, "b"), ""}, {part(2, 3, 3, "b"), ""},
      {part(1, 2, 3, "b"), ""}, {part(1, 4, 3, "b"), ""},
      {part(1, 3, 4, "b"), ""}, {part(1, 3, 3, "a"), "called 'a'"},
      {part(7, 3, 3, "b"), ""}, {RawFile().header(0, 0).bytes(), "part 1 of 1"},
  };
  for (const auto& [bytes, expected] : wrong) {
    write_file_atomically(paths_[1], bytes);
    expect_error("contradiction", "m-0000", expected, [&] { return File::open(paths_[0]); });
  }
}

TEST_F(GgufMalformedSplit, FewerTensorsThanPromised) {
  for (std::uint16_t number = 0; number < 3; ++number) {
    write_file_atomically(paths_[number],
                          part(number, 3, 4, std::string(1, static_cast<char>('a' + number))));
  }
  expect_failure("promises", "promises 4 tensors but 3");
}

TEST_F(GgufMalformedSplit, TheLargestCount) {
  const auto path = folder_ / "n-00001-of-65535.gguf";
  write_file_atomically(path, part(0, 65535, 65535, "a"));
  expect_error("65535 parts", "n-00002-of-65535.gguf", "missing", [&] { return File::open(path); });
}

TEST_F(GgufMalformedSplit, RenamedPart) {
  std::filesystem::rename(paths_[0], folder_ / "m-00001.gguf");
  expect_error("renamed", "m-00001.gguf", "does not end in",
               [&] { return File::open(folder_ / "m-00001.gguf"); });
}

/// Overwrites every position of a right file with extreme numbers: an Error or a readable model,
/// never anything else.
TEST(GgufMalformed, ExtremeNumbersEverywhere) {
  std::size_t refused = 0;
  for (const bool swapped : {false, true}) {
    const std::string whole = good(swapped).bytes();
    for (std::size_t position = 0; position + 8 <= whole.size(); ++position) {
      for (const std::uint64_t number :
           {std::uint64_t{0}, kHuge, kHuge >> 1, std::uint64_t{1} << 63,
            std::uint64_t{0x0101010101010101}}) {
        std::string bytes = whole;
        std::memcpy(bytes.data() + position, &number, 8);
        try {
          const File file = testing::parse(bytes);
          for (const TensorInfo& tensor : file.tensors())
            ASSERT_EQ(file.data(tensor).size(), tensor.bytes);
        } catch (const Error&) {
          ++refused;
        }
      }
    }
  }
  EXPECT_GT(refused, 1000U);
}

}  // namespace
}  // namespace hearth::gguf
