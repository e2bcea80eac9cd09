// Samples texts under schemas with the vocabulary of a GGUF file, for validation by other programs:
//   hearth-structured-samples VOCABULARY.gguf SCHEMAS SEED > samples.jsonl
// writes, for every handwritten schema and so many random ones, {"schema", "text", "complete"} per
// line, and what it took to standard error.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "generate/grammar/handwritten_schemas.h"
#include "generate/grammar/random_schemas.h"
#include "gguf/file.h"
#include "support/error.h"

namespace {

using hearth::testing::Json;
/// Processor time: what else the machine does matters less.
double milliseconds(std::clock_t begin) {
  return static_cast<double>(std::clock() - begin) * 1e3 / CLOCKS_PER_SEC;
}

int run(const std::string& path, int random_schemas, std::uint64_t seed) {
  namespace grammar = hearth::generate::grammar;
  const hearth::gguf::File file = hearth::gguf::File::open(path);
  const auto tokenizer = hearth::text::Tokenizer::create(file.metadata());
  const std::clock_t trie_begin = std::clock();
  const auto trie = grammar::build_token_trie(*tokenizer);
  std::fprintf(stderr, "vocabulary: %zu tokens, trie in %.1f ms\n", tokenizer->size(),
               milliseconds(trie_begin));
  std::vector<Json> schemas;
  for (const std::string_view text : hearth::testing::handwritten_schemas())
    schemas.push_back(Json::parse(text));
  for (int i = 0; i < random_schemas; ++i)
    schemas.push_back(hearth::testing::random_schema(seed + static_cast<std::uint64_t>(i)));
  std::vector<double> compile_times;
  double mask_seconds = 0, slowest = 0;
  std::int64_t masks = 0, complete = 0, valid = 0;
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    const std::clock_t begin = std::clock();
    const auto compiled = grammar::compile_json_schema(schemas[i]);
    compile_times.push_back(milliseconds(begin));
    if (compile_times.back() > 20)
      std::fprintf(stderr, "%.0f ms for %s\n", compile_times.back(), schemas[i].dump().c_str());
    const auto sample = hearth::testing::sample(compiled, trie, *tokenizer, seed + i, 3000);
    masks += sample.masks;
    mask_seconds += sample.mask_seconds;
    slowest = std::max(slowest, sample.slowest_mask);
    complete += sample.complete ? 1 : 0;
    if (sample.complete) {
      const Json value = Json::parse(sample.text, nullptr, false);
      const auto violation = value.is_discarded()
                                 ? std::optional<std::string>("no JSON")
                                 : hearth::testing::find_violation(value, schemas[i], schemas[i]);
      valid += violation ? 0 : 1;
      if (violation) {
        std::fprintf(stderr, "INVALID %s: %s\n  %s\n", violation->c_str(), sample.text.c_str(),
                     schemas[i].dump().c_str());
      }
    }
    const Json line{{"schema", schemas[i]}, {"text", sample.text}, {"complete", sample.complete}};
    std::printf("%s\n", line.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  }
  std::sort(compile_times.begin(), compile_times.end());
  std::fprintf(stderr,
               "%zu schemas, %lld complete, %lld of them valid; compiled in %.2f ms (median), %.2f "
               "(95 %%), %.2f (most); masks: %lld, %.4f ms each, slowest %.2f ms\n",
               schemas.size(), static_cast<long long>(complete), static_cast<long long>(valid),
               compile_times[compile_times.size() / 2],
               compile_times[compile_times.size() * 95 / 100], compile_times.back(),
               static_cast<long long>(masks), mask_seconds * 1e3 / static_cast<double>(masks),
               slowest * 1e3);
  return valid == complete ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: hearth-structured-samples VOCABULARY.gguf SCHEMAS SEED\n");
    return 2;
  }
  try {
    return run(argv[1], std::atoi(argv[2]), std::strtoull(argv[3], nullptr, 10));
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
