// --lora and --control-vector as they are typed.
#include "cli/adapters.h"

#include <gtest/gtest.h>

#include <fstream>

#include "cli/program.h"
#include "gguf/writer.h"
#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

using cli::parse_scaled_file;

TEST(ScaledFile, HasTheNumberBehindTheLastColon) {
  EXPECT_EQ(parse_scaled_file("a.gguf").path, "a.gguf");
  EXPECT_EQ(parse_scaled_file("a.gguf").scale, 1.0F);
  EXPECT_EQ(parse_scaled_file("a:b.gguf:-0.5").path, "a:b.gguf");
  EXPECT_EQ(parse_scaled_file("a:b.gguf:-0.5").scale, -0.5F);
  for (const char* wrong : {"", "a.gguf:", "a.gguf:x", "a.gguf:1x", "a.gguf:inf", "a.gguf:nan"})
    EXPECT_THROW((void)parse_scaled_file(wrong), Error) << wrong;
  const TemporaryFolder folder;
  const std::string odd = (folder / "a.gguf:2").string();
  std::ofstream(odd) << "x";
  EXPECT_EQ(parse_scaled_file(odd).path, odd);
}

TEST(AdapterFlags, ChangeTheLogits) {
  const std::filesystem::path model = goldens_dir() / "arch" / "llama-bias.gguf";
  HEARTH_REQUIRE_FILE(model);
  const TemporaryFolder folder;
  gguf::Writer writer;
  writer.set("general.type", "adapter");
  writer.set("general.architecture", "llama");
  writer.set("adapter.type", "lora");
  writer.set("adapter.lora.alpha", 1.0F);
  const std::vector<float> numbers(64, 0.25F);
  writer.add_floats("token_embd.weight.lora_b", {1, 64}, numbers);
  writer.add_floats("token_embd.weight.lora_a", {1, 128}, std::vector<float>(128, 0.5F));
  writer.write(folder / "lora.gguf");
  gguf::Writer vector;
  vector.set("general.architecture", "controlvector");
  vector.add_floats("direction.1", {64}, numbers);
  vector.write(folder / "vector.gguf");

  const auto logits = [&](const std::vector<std::string>& more) {
    const std::filesystem::path out = folder / "logits.f32";
    std::vector<std::string> arguments = {"logits",  model.string(), "--tokens",  "1,2,3",
                                          "--exact", "--out",        out.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = Program(arguments).run();
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return read_file(out);
  };
  const std::string lora = (folder / "lora.gguf").string();
  const std::string control = (folder / "vector.gguf").string();
  const std::string plain = logits({});
  EXPECT_NE(logits({"--lora", lora}), plain);
  EXPECT_NE(logits({"--control-vector", control + ":2"}), plain);
  EXPECT_EQ(logits({"--lora", lora + ":0"}), plain);
  EXPECT_EQ(logits({"--lora", lora, "--lora", lora}), logits({"--lora", lora + ":2"}));

  const auto failed = [&](const std::vector<std::string>& arguments) {
    return Program(arguments).run();
  };
  const std::string name = model.string();
  EXPECT_EQ(failed({"run", name, "--lora", "x.gguf:y", "Hello"}).exit_code, 2);
  const ProgramResult absent = failed({"run", name, "--lora", "absent.gguf", "Hello"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_NE(absent.errors.find("absent.gguf"), std::string::npos) << absent.errors;
  EXPECT_EQ(failed({"run", name, "--lora", control, "Hello"}).exit_code, 1);
}

}  // namespace
}  // namespace hearth::testing
