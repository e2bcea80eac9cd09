#include "hub/reference.h"

#include <gtest/gtest.h>

#include "support/error.h"

namespace hearth::hub {
namespace {

struct Understood {
  const char *text, *full;
};
class References : public ::testing::TestWithParam<Understood> {};

TEST_P(References, are_understood) {
  EXPECT_EQ(to_text(parse_reference(GetParam().text)), GetParam().full);
  // What is written into manifests is understood again, as the same.
  EXPECT_EQ(to_text(parse_reference(GetParam().full)), GetParam().full);
}

INSTANTIATE_TEST_SUITE_P(
    all, References,
    ::testing::Values(
        Understood{"qwen3-4b", "qwen3-4b"}, Understood{"qwen3-4b:Q8_0", "qwen3-4b:Q8_0"},
        Understood{"hf:a/b", "hf:a/b"}, Understood{"HF:a/b:Q4_K_M", "hf:a/b:Q4_K_M"},
        Understood{"hf:a/b@v1.0:x/y.gguf", "hf:a/b@v1.0:x/y.gguf"},
        Understood{"hf.co/a/b:Q4_0", "hf:a/b:Q4_0"}, Understood{"huggingface.co/a/b", "hf:a/b"},
        Understood{"https://huggingface.co/a/b/resolve/main/d/m.gguf?download=true",
                   "hf:a/b:d/m.gguf"},
        Understood{"https://huggingface.co/a/b/blob/dev/m.gguf", "hf:a/b@dev:m.gguf"},
        Understood{"ollama:llama3.2", "ollama:llama3.2:latest"},
        Understood{"ollama:someone/tiny:1b-q8", "ollama:someone/tiny:1b-q8"},
        Understood{"https://host.example/m.gguf?token=secret", "https://host.example/m.gguf"},
        Understood{"./m.gguf", "./m.gguf"}, Understood{"m.gguf", "m.gguf"},
        Understood{"/models/m.bin", "/models/m.bin"}));

class Refused : public ::testing::TestWithParam<const char*> {};

TEST_P(Refused, with_a_hint) {
  try {
    (void)parse_reference(GetParam());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
    EXPECT_FALSE(error.hint().empty()) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(all, Refused,
                         ::testing::Values("", "hf:a", "hf:a/..", "hf:../b", "hf:a/b:", "hf:a/b/c",
                                           "hf:a/b:../x.gguf", "hf:a/b:x//y.gguf", "hf:a/b@x/y",
                                           "ollama:", "ollama:a/b/c", "ollama:a:b c",
                                           "https://user:secret@host/m.gguf", "https://",
                                           "ftp://host/m.gguf", "a b", "line\nbreak"));

TEST(FileNames, tell_the_quantization) {
  EXPECT_EQ(quant_of_file_name("Qwen3-0.6B-Q4_K_M.gguf"), "Q4_K_M");
  EXPECT_EQ(quant_of_file_name("sub/qwen3-0.6b-q8_0.gguf"), "Q8_0");
  EXPECT_EQ(quant_of_file_name("model.IQ2_XXS.gguf"), "IQ2_XXS");
  EXPECT_EQ(quant_of_file_name("x-UD-Q4_K_XL.gguf"), "UD-Q4_K_XL");
  EXPECT_EQ(quant_of_file_name("gpt-oss-20b-mxfp4.gguf"), "MXFP4");
  EXPECT_EQ(quant_of_file_name("x-BF16"), "BF16");
  EXPECT_EQ(quant_of_file_name("x-TQ1_0.gguf"), "TQ1_0");
  EXPECT_EQ(quant_of_file_name("Q-model.gguf"), "");
  EXPECT_EQ(quant_of_file_name(""), "");
}

TEST(FileNames, tell_the_part) {
  const auto place = split_place("m-Q8_0-00002-of-00003.gguf");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->base, "m-Q8_0");
  EXPECT_EQ(place->number, 2);
  EXPECT_EQ(place->count, 3);
  EXPECT_FALSE(split_place("m-00004-of-00003.gguf"));
  EXPECT_FALSE(split_place("m-00000-of-00003.gguf"));
  EXPECT_FALSE(split_place("-00001-of-00003.gguf"));
  EXPECT_FALSE(split_place("m-0001-of-00003.gguf"));
}

TEST(FileNames, are_made_safe) {
  EXPECT_EQ(safe_name("../../etc/passwd"), "etc-passwd");
  EXPECT_EQ(safe_name("a b\nc"), "a-b-c");
  EXPECT_EQ(safe_name("-rf"), "rf");
  EXPECT_EQ(safe_name("größe"), "gr-e");
  EXPECT_FALSE(is_safe_name(".."));
  EXPECT_FALSE(is_safe_name("-x"));
  EXPECT_FALSE(is_safe_name("a/b"));
  EXPECT_TRUE(is_safe_name("Qwen3-0.6B_x"));
  EXPECT_EQ(encode_path("a b/ü.gguf"), "a%20b/%C3%BC.gguf");
}

}  // namespace
}  // namespace hearth::hub
