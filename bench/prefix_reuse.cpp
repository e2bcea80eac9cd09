// What a second request costs that begins like an earlier one (issue 6, acceptance 4): it starts
// decoding in at most 3 % of the first one's prefill time when at most 16 tokens are new, and after
// the last 200 tokens were edited at most 456 are evaluated again. Synthetic models of each kind of
// mixer, with the memory that `hearth run` plans for one chat.
//
//   build/bench/prefix_reuse [TOKENS [KIND]]      default: 8192 tokens, all kinds
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "generate/evaluator.h"
#include "gguf/file.h"
#include "model/loaded_model.h"
#include "state/prefix_cache.h"
#include "support/error.h"
#include "synthetic_models.h"

namespace hearth::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Text = std::vector<std::int32_t>;

constexpr std::int64_t kNew = 16, kEdited = 200, kAnswer = 64;
constexpr double kMostRatio = 0.03;
constexpr std::int64_t kMostEvaluated = 456;

struct Reading {
  double seconds = 0;          // until the logits after the last token
  std::int64_t evaluated = 0;  // tokens
};

/// One chat after the other, as `hearth run` has them.
class Reader {
 public:
  Reader(const std::string& bytes, std::int64_t context)
      : model_(load(bytes, context)),
        cache_(model_->pool(), state::PrefixCache::limits_of(model_->pool())),
        evaluator_(*model_) {
    evaluator_.use_cache(cache_);
  }
  [[nodiscard]] const model::LoadedModel& model() const { return *model_; }

  Reading read(const Text& text, const std::vector<std::int64_t>& boundaries) {
    const Clock::time_point start = Clock::now();
    const auto total = static_cast<std::int64_t>(text.size());
    std::int64_t at = evaluator_.resume(held_, text).length;
    Reading reading{0, total - at};
    while (at < total) {
      const std::int64_t stop = evaluator_.next_stop(at, total, boundaries);
      const std::int64_t rows = std::min(evaluator_.batch_rows(), stop - at);
      const std::span<const float> logits = evaluator_.evaluate(
          std::span(text).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(rows)),
          at + rows == total);
      at += rows;
      if (at < stop) continue;
      evaluator_.snapshot(std::span(text).first(static_cast<std::size_t>(at)), logits,
                          std::binary_search(boundaries.begin(), boundaries.end(), at));
    }
    reading.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    held_ = text;
    return reading;
  }
  void answer(std::int64_t tokens) {
    for (std::int64_t i = 0; i < tokens; ++i) {
      const std::int32_t token = 7;
      const std::span<const float> logits = evaluator_.evaluate({&token, 1}, true);
      held_.push_back(token);
      if (evaluator_.snapshot_due()) evaluator_.snapshot(held_, logits, false);
    }
  }

 private:
  static std::unique_ptr<model::LoadedModel> load(const std::string& bytes, std::int64_t context) {
    spec::Setup setup;
    setup.context = context;
    setup.snapshots = -1;
    return model::LoadedModel::load(
        std::make_shared<gguf::File>(gguf::File::from_bytes(std::as_bytes(std::span(bytes)))),
        compute::make_cpu_backend({}), setup, {});
  }

  std::unique_ptr<model::LoadedModel> model_;
  state::PrefixCache cache_;
  generate::ModelEvaluator evaluator_;
  Text held_;
};

Text random_text(std::int64_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  Text text(static_cast<std::size_t>(size));
  for (std::int32_t& token : text) token = static_cast<std::int32_t>(random() % kVocabulary);
  return text;
}

Text joined(const Text& text, std::int64_t first, const Text& end) {
  Text result(text.begin(), text.begin() + first);
  result.insert(result.end(), end.begin(), end.end());
  return result;
}

/// Whether both limits are kept.
bool measure(const char* name, const std::string& bytes, std::int64_t tokens) {
  Reader reader(bytes, tokens + 2 * kAnswer + kEdited);
  const Text prefix = random_text(tokens, 1);
  const Text question = joined(prefix, tokens, random_text(kNew, 2));
  const Reading first = reader.read(question, {tokens});
  reader.answer(kAnswer);
  const Reading second = reader.read(joined(prefix, tokens, random_text(kNew, 3)), {tokens});
  reader.answer(kAnswer);
  // As a chat's last turn: what went before it ends at a boundary, too.
  const Reading edited =
      reader.read(joined(question, tokens + kNew - kEdited, random_text(kEdited, 4)), {});
  const double ratio = second.seconds / first.seconds;
  const bool good = ratio <= kMostRatio && edited.evaluated <= kMostEvaluated;
  const model::MemoryReport memory = reader.model().memory();
  std::printf("%-14s %9.2f %10.1f %8.2f %9lld %9lld %9.1f %9.1f  %s\n", name, first.seconds,
              1e3 * second.seconds, 100 * ratio, static_cast<long long>(second.evaluated),
              static_cast<long long>(edited.evaluated), static_cast<double>(memory.kv) / 1e6,
              static_cast<double>(memory.state) / 1e6, good ? "" : "MISSED");
  std::fflush(stdout);
  return good;
}

int run(std::int64_t tokens, const std::string& wanted) {
  struct Kind {
    const char* name;
    std::function<std::string()> make;
  };
  const Kind kinds[] = {{"dense", dense},
                        {"windows", [] { return windows(4); }},
                        {"all-windows", [] { return windows(kLayers + 1); }},
                        {"delta-net", delta_net},
                        {"mamba-2", mamba2}};
  std::printf("%lld tokens in common\n", static_cast<long long>(tokens));
  std::printf("%-14s %9s %10s %8s %9s %9s %9s %9s\n", "", "first s", "second ms", "ratio %",
              "evaluated", "edited", "kv MB", "state MB");
  bool good = true, known = false;
  for (const Kind& kind : kinds) {
    if (!wanted.empty() && wanted != kind.name) continue;
    known = true;
    good = measure(kind.name, kind.make(), tokens) && good;
  }
  if (!known)
    throw Error("there is no such kind", "dense, windows, all-windows, delta-net, mamba-2");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace hearth::bench

int main(int count, char** arguments) {
  try {
    const std::int64_t tokens = count > 1 ? std::strtoll(arguments[1], nullptr, 10) : 8192;
    if (tokens < 1024 || tokens > hearth::bench::kTrainedContext / 2)
      throw hearth::Error("the number of tokens is too small or too large", "1024 to 32768");
    return hearth::bench::run(tokens, count > 2 ? arguments[2] : "");
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "prefix_reuse: %s; %s\n", error.what(), error.hint().c_str());
    return 2;
  }
}
