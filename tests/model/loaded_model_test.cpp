#include "model/loaded_model.h"

#include <fstream>
#include <sstream>

#include "golden_case.h"

namespace hearth::testing {
namespace {

/// Kilobytes of the pages of `file` that count as memory of this process.
long resident_kilobytes(const std::filesystem::path& file) {
  std::ifstream maps("/proc/self/smaps");
  bool is_of_file = false;
  long total = 0;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::string first;
    fields >> first;
    if (first.back() != ':') {
      is_of_file = line.ends_with(file.filename().string());
    } else if (long kilobytes = 0; is_of_file && first == "Rss:" && fields >> kilobytes) {
      total += kilobytes;
    }
  }
  return total;
}

TEST(LoadedModel, RowsOfTheFileDoNotStayInMemory) {
  const std::filesystem::path file = goldens_dir() / "arch" / "llama-plain.gguf";
  HEARTH_REQUIRE_FILE(file);
  spec::Setup setup;
  setup.model = file;
  setup.context = 64;
  setup.threads = 1;
  const auto loaded = model::LoadedModel::load(setup, {}, {});
  EXPECT_EQ(resident_kilobytes(file), 0);
  {
    const auto sequence = loaded->new_sequence();
    loaded->run(std::vector<model::BatchRow>{{sequence.get(), 1, true}});
  }
  EXPECT_GT(resident_kilobytes(file), 0) << "the table of embeddings is not read from the file";
  // Sequences that are gone give back their part of the context.
  for (int pass = 0; pass < 8; ++pass) {
    const auto other = loaded->new_sequence();
    std::vector<model::BatchRow> rows;
    for (std::int32_t i = 0; i < 32; ++i) rows.push_back({other.get(), i, i == 31});
    loaded->run(rows);
  }
  EXPECT_EQ(resident_kilobytes(file), 0);
}

}  // namespace
}  // namespace hearth::testing
