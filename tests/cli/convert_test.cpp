// hearth convert as a process: what it prints, its exit codes, and that Ctrl-C leaves nothing.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "program.h"
#include "safetensors_writer.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

/// A checkpoint of one layer; the feed-forward has `inner` units.
class ConvertCommand : public ::testing::Test {
 protected:
  void make(std::int64_t inner, const std::string& model_type = "llama") {
    std::filesystem::create_directories(source());
    write_file_atomically(source() / "config.json",
                          R"({"hidden_size":64,"num_hidden_layers":1,"num_attention_heads":2,
            "max_position_embeddings":32,"rms_norm_eps":1e-5,"tie_word_embeddings":true,
            "eos_token_id":2,"model_type":")" +
                              model_type + R"(","intermediate_size":)" + std::to_string(inner) +
                              "}");
    write_file_atomically(source() / "tokenizer.json",
                          std::string(R"({"pre_tokenizer":{"type":"ByteLevel",
            "add_prefix_space":false},"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},
            "merges":["a b"]}})"));
    // The data are zeros that take no room on the disk.
    std::string header;
    std::uint64_t end = 0;
    const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
      std::uint64_t bytes = 4;
      std::string sizes;
      for (const std::int64_t size : shape) {
        bytes *= static_cast<std::uint64_t>(size);
        sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
      }
      header += (header.empty() ? "\"" : ",\"") + name + R"(":{"dtype":"F32","shape":[)" + sizes +
                R"(],"data_offsets":[)" + std::to_string(end) + "," + std::to_string(end + bytes) +
                "]}";
      end += bytes;
    };
    add("model.embed_tokens.weight", {8, 64});
    add("model.norm.weight", {64});
    const std::string layer = "model.layers.0.";
    add(layer + "input_layernorm.weight", {64});
    add(layer + "post_attention_layernorm.weight", {64});
    for (const char* name : {"q", "k", "v", "o"})
      add(layer + "self_attn." + name + "_proj.weight", {64, 64});
    add(layer + "mlp.gate_proj.weight", {inner, 64});
    add(layer + "mlp.up_proj.weight", {inner, 64});
    add(layer + "mlp.down_proj.weight", {64, inner});
    const std::string file = SafetensorsWriter::assemble("{" + header + "}", "");
    write_file_atomically(source() / "model.safetensors", file);
    std::filesystem::resize_file(source() / "model.safetensors", file.size() + end);
  }
  [[nodiscard]] std::filesystem::path source() const { return folder_ / "tiny"; }
  [[nodiscard]] std::filesystem::path out() const { return folder_ / "out.gguf"; }
  [[nodiscard]] Program program(const std::vector<std::string>& options = {}) const {
    std::vector<std::string> words = {"convert", source().string(), out().string()};
    words.insert(words.end(), options.begin(), options.end());
    return Program(words);
  }
  void expect_nothing_left() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      EXPECT_EQ(entry.path().filename(), "tiny");
  }

  TemporaryFolder folder_;
};

TEST_F(ConvertCommand, WritesAModelThatInspectReads) {
  make(128);
  const ProgramResult result = program({"--type", "bf16"}).run();
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.output, out().string() + ": llama, 11 tensors, 0.1 MB, matrices in BF16\n");
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(gguf::File::open(out()).metadata().get_int("general.file_type"), 32);
  EXPECT_EQ(Program({"inspect", out().string()}).run().exit_code, 0);

  EXPECT_EQ(program().run().exit_code, 1);
  EXPECT_NE(program().run().errors.find("exists already; use --force"), std::string::npos);
  EXPECT_EQ(program({"--force"}).run().exit_code, 0);
  EXPECT_EQ(gguf::File::open(out()).metadata().get_int("general.file_type"), 1);
}

TEST_F(ConvertCommand, RefusesInOneSentence) {
  make(128, "gpt_bigcode");
  const ProgramResult unknown = program().run();
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_EQ(unknown.output, "");
  EXPECT_NE(unknown.errors.find("'gpt_bigcode' cannot be converted; known types are bert, "),
            std::string::npos);
  EXPECT_EQ(program({"--type", "Q4_K"}).run().exit_code, 2);
  EXPECT_EQ(Program({"convert", source().string()}).run().exit_code, 2);
  expect_nothing_left();
}

TEST_F(ConvertCommand, InterruptingLeavesNothing) {
  make(std::int64_t{1} << 22);  // 3 GB to read
  Terminal terminal(program());
  ASSERT_TRUE(terminal.wait_for("converting"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 130);
  EXPECT_NE(terminal.screen().find("interrupted; nothing was written"), std::string::npos);
  expect_nothing_left();
}

}  // namespace
}  // namespace hearth::testing
