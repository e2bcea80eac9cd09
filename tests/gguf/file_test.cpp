#include "gguf/file.h"

#include <gtest/gtest.h>

#include <chrono>

#include "shared_dir.h"

namespace hearth::gguf {
namespace {

using hearth::testing::goldens_dir;

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

}  // namespace
}  // namespace hearth::gguf
