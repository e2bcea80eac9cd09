// hearth quantize as a process: every type made and run, what it prints, its exit codes, and that
// Ctrl-C leaves nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "model/importance.h"
#include "model/quantize/file_type.h"
#include "program.h"
#include "shared_dir.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

namespace quantize = model::quantize;

class QuantizeCommand : public ::testing::Test {
 protected:
  [[nodiscard]] static std::filesystem::path golden(const std::string& name) {
    return goldens_dir() / "arch" / (name + ".gguf");
  }
  [[nodiscard]] std::filesystem::path out() const { return folder_ / "out.gguf"; }
  [[nodiscard]] ProgramResult make(const std::filesystem::path& in, const std::string& type,
                                   const std::vector<std::string>& options = {}) const {
    std::vector<std::string> words = {"quantize", in.string(), out().string(), type};
    words.insert(words.end(), options.begin(), options.end());
    return Program(words).run();
  }
  [[nodiscard]] ProgramResult evaluate() const {
    return Program({"logits", out().string(), "--tokens", "1,2,3,4", "--out",
                    (folder_ / "logits.f32").string()})
        .run();
  }
  /// An importance matrix for the matrices of a golden model.
  [[nodiscard]] std::string importance_of(const std::filesystem::path& path) const {
    model::ImportanceMatrix matrix;
    const gguf::File file = gguf::File::open(path);
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      if (tensor.dimensions < 2) continue;
      const auto columns = static_cast<std::size_t>(tensor.shape[0] * tensor.shape[2]);
      std::vector<float> sums(columns);
      for (std::size_t i = 0; i < columns; ++i) sums[i] = static_cast<float>(1 + i % 7);
      matrix.tensors[tensor.name] = {
          sums, std::vector<float>(static_cast<std::size_t>(tensor.shape[2]), 8)};
    }
    const std::filesystem::path written = folder_ / "m.imatrix";
    model::write_importance(written, matrix);
    return written.string();
  }
  void expect_nothing_left() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      EXPECT_EQ(entry.path().filename(), "in.gguf");
  }

  TemporaryFolder folder_;
};

TEST_F(QuantizeCommand, MakesEveryTypeOfANarrowModel) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  const std::string importance = importance_of(golden("llama-plain"));
  for (const quantize::FileTypeInfo& type : quantize::all_file_types()) {
    if (type.type == quantize::FileType::kQ2_EXPERTS) continue;  // it has none
    const ProgramResult result =
        make(golden("llama-plain"), std::string(type.name), {"--imatrix", importance, "--force"});
    ASSERT_EQ(result.exit_code, 0) << type.name << ": " << result.errors;
    EXPECT_TRUE(result.output.starts_with(out().string() + ": " + std::string(type.name) + ", "))
        << result.output;
    EXPECT_EQ(evaluate().exit_code, 0) << type.name;
  }
}

TEST_F(QuantizeCommand, MakesEveryTypeOfAModelOfWholeBlocks) {
  HEARTH_REQUIRE_FILE(golden("llama-256-Q8_0"));
  const std::string importance = importance_of(golden("llama-256-Q8_0"));
  for (const quantize::FileTypeInfo& type : quantize::all_file_types()) {
    if (type.type == quantize::FileType::kQ2_EXPERTS) continue;
    const ProgramResult result = make(golden("llama-256-Q8_0"), std::string(type.name),
                                      {"--imatrix", importance, "--force", "--allow-requantize"});
    ASSERT_EQ(result.exit_code, 0) << type.name << ": " << result.errors;
    const gguf::File made = gguf::File::open(out());
    const gguf::TensorInfo* up = made.find_tensor("blk.1.ffn_up.weight");
    ASSERT_NE(up, nullptr);
    if (type.type == quantize::FileType::kMXFP4_MOE || type.type == quantize::FileType::kCopy) {
      EXPECT_EQ(up->dtype, tensor::DType::kQ8_0);
    } else {
      EXPECT_EQ(up->dtype, type.base) << type.name;
    }
    EXPECT_EQ(evaluate().exit_code, 0) << type.name;
  }
}

TEST_F(QuantizeCommand, ChoosesWhatTheReferenceQuantizerChose) {
  HEARTH_REQUIRE_FILE(golden("llama-256-Q4_K_M"));
  for (const char* type : {"Q4_K_M", "Q6_K", "Q8_0"}) {
    // From Q8_0, of which a model in the golden's own type would keep the bytes.
    ASSERT_EQ(make(golden("llama-256-Q8_0"), type, {"--allow-requantize", "--force"}).exit_code, 0);
    const gguf::File made = gguf::File::open(out());
    const gguf::File expected = gguf::File::open(golden(std::string("llama-256-") + type));
    EXPECT_EQ(made.metadata().get_uint("general.file_type"),
              expected.metadata().get_uint("general.file_type"));
    for (const gguf::TensorInfo& tensor : expected.tensors())
      EXPECT_EQ(made.find_tensor(tensor.name)->dtype, tensor.dtype) << type << " " << tensor.name;
  }
}

TEST_F(QuantizeCommand, MakesMixesForExperts) {
  HEARTH_REQUIRE_FILE(golden("llama-moe"));
  const std::string importance = importance_of(golden("llama-moe"));
  for (const char* type : {"Q2_EXPERTS", "MXFP4_MOE", "IQ2_XXS", "Q4_K_M"}) {
    const ProgramResult result =
        make(golden("llama-moe"), type, {"--imatrix", importance, "--force"});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(
        gguf::File::open(out()).find_tensor("blk.0.ffn_gate_inp.weight")->dtype,
        gguf::File::open(golden("llama-moe")).find_tensor("blk.0.ffn_gate_inp.weight")->dtype);
    EXPECT_EQ(evaluate().exit_code, 0) << type;
  }
}

TEST_F(QuantizeCommand, SaysWhatItMade) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  const ProgramResult result =
      make(golden("llama-plain"), "q4_k_m", {"--tensor-type", "attn_v=F16"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.output.find("kB of 206.1 kB, "), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(" bits per weight, "), std::string::npos);
  EXPECT_NE(result.output.find("\ntensors: "), std::string::npos);
  EXPECT_NE(result.output.find("F32 5"), std::string::npos);
  EXPECT_NE(result.output.find("F16 2"), std::string::npos);
  EXPECT_NE(result.errors.find("tensors are Q5_0 instead: the rows do not fit"), std::string::npos)
      << result.errors;
}

TEST_F(QuantizeCommand, DryRunsWriteNothing) {
  HEARTH_REQUIRE_FILE(golden("llama-plain"));
  const ProgramResult result = make(golden("llama-plain"), "Q8_0", {"--dry-run", "--pure"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.output.find("F16 -> Q8_0"), std::string::npos);
  EXPECT_NE(result.output.find("F32 -> F32"), std::string::npos);
  expect_nothing_left();
}

TEST_F(QuantizeCommand, RefusesInOneSentence) {
  HEARTH_REQUIRE_FILE(golden("llama-256-Q8_0"));
  const auto expect = [&](const ProgramResult& result, int exit_code, const std::string& error) {
    EXPECT_EQ(result.exit_code, exit_code) << error;
    EXPECT_EQ(result.output, "");
    EXPECT_TRUE(result.errors.starts_with("hearth: " + error)) << result.errors;
    EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
    expect_nothing_left();
  };
  const auto wide = golden("llama-256-Q8_0");
  expect(make(wide, "Q4_K_N"), 2, "unknown type 'Q4_K_N'; did you mean 'Q4_K_M'?");
  expect(make(wide, "Q4_K_M"), 2, "the model is quantized already");
  expect(make(wide, "IQ2_XXS", {"--allow-requantize"}), 2,
         "IQ2_XXS needs an importance matrix: 'blk.0.attn_k.weight' would be IQ2_XXS; make one");
  expect(make(wide, "Q2_EXPERTS"), 2, "the model has no routed experts");
  expect(make(wide, "Q8_0", {"--tensor-type", "ffn_down"}), 2, "--tensor-type ffn_down: ");
  expect(make(wide, "Q8_0", {"--tensor-type", "none=Q6_K"}), 2, "--tensor-type: the model has no");
  expect(make(wide, "Q8_0", {"--imatrix", "/nonexistent"}), 1, "");
  expect(make(wide, "Q8_0", {"--threads", "0"}), 2, "");
  expect(make(folder_ / "none.gguf", "Q8_0"), 1, "no such file");
  expect(Program({"quantize", wide.string(), out().string()}).run(), 2, "");

  const std::string bytes = read_file(wide);
  write_file_atomically(folder_ / "in.gguf", bytes.substr(0, bytes.size() - 4096));
  expect(make(folder_ / "in.gguf", "Q8_0"), 1, "bad GGUF file");
  write_file_atomically(folder_ / "in.gguf", bytes);
  const std::string in = (folder_ / "in.gguf").string();
  expect(Program({"quantize", in, in, "Q8_0", "--force"}).run(), 2, "'" + in + "' is the model");
  EXPECT_EQ(read_file(in), bytes);
}

template <typename T>
void put(std::string& to, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  to.append(bytes, sizeof(T));
}

void put_text(std::string& to, const std::string& text) {
  put(to, static_cast<std::uint64_t>(text.size()));
  to += text;
}

TEST_F(QuantizeCommand, InterruptingLeavesNothing) {
  // A model of one tensor of zeros, 8 GB that take no room on the disk.
  constexpr std::uint64_t kWidth = 4096, kRows = 1 << 20;
  std::string header = "GGUF";
  put(header, std::uint32_t{3});
  put(header, std::uint64_t{1});
  put(header, std::uint64_t{1});
  put_text(header, "general.architecture");
  put(header, std::uint32_t{8});
  put_text(header, "llama");
  put_text(header, "token_embd.weight");
  put(header, std::uint32_t{2});
  put(header, kWidth);
  put(header, kRows);
  put(header, std::uint32_t{1});
  put(header, std::uint64_t{0});
  header.resize((header.size() + 31) / 32 * 32);
  write_file_atomically(folder_ / "in.gguf", header);
  std::filesystem::resize_file(folder_ / "in.gguf", header.size() + kWidth * kRows * 2);

  Terminal terminal(
      Program({"quantize", (folder_ / "in.gguf").string(), out().string(), "Q4_K_M"}));
  ASSERT_TRUE(terminal.wait_for("quantizing"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_NE(terminal.screen().find("interrupted; nothing was written"), std::string::npos);
  expect_nothing_left();
}

}  // namespace
}  // namespace hearth::testing
