#include "measure/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "measure/base_file.h"
#include "measure/log_probabilities.h"
#include "support/elapsed.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace hearth::measure {
namespace {

/// Rows that are packed for a base file at a time.
constexpr std::int64_t kPackedRows = 32;

/// What one row of logits is worth.
struct RowScore {
  double log_probability = 0;
  bool finite = false;
  // Compared with a base:
  double divergence = 0, base_log_probability = 0;
  bool same_best = false;
};

/// Sums over the tokens of a comparison.
class ComparisonSums {
 public:
  void add(const RowScore& score) {
    base_nll_.add(-score.base_log_probability);
    nll_difference_.add(score.base_log_probability - score.log_probability);
    divergence_.add(score.divergence);
    divergences_.push_back(static_cast<float>(score.divergence));
    const double change = std::exp(score.log_probability) - std::exp(score.base_log_probability);
    change_.add(change);
    change_squared_.add(change * change);
    same_best_.add(score.same_best ? 1 : 0);
  }

  [[nodiscard]] Comparison result(const Estimate& perplexity) const {
    Comparison result;
    result.base_perplexity = perplexity_of(base_nll_.estimate());
    const Estimate nll_difference = nll_difference_.estimate();
    result.ratio = perplexity_of(nll_difference);
    // P - B with P = e^(b + d) and B = e^b, where d is the mean difference of the likelihoods: its
    // differential is P dd + (P - B) db, and cov(b, d) follows from var(b + d).
    const double p = perplexity.value;
    const double gap = p - result.base_perplexity.value;
    const auto squared = [](double error) { return error * error; };
    const double of_d = squared(nll_difference.error);
    const double of_b = squared(base_nll_.estimate().error);
    const double twice_cov = squared(perplexity.error / p) - of_b - of_d;
    const double variance = p * p * of_d + gap * gap * of_b + p * gap * twice_cov;
    result.difference = {gap, std::sqrt(std::max(0.0, variance))};
    result.divergence = divergence_.estimate();
    result.divergences = distribution_of(divergences_);
    result.probability_change = change_.estimate();
    result.probability_change_rms = std::sqrt(change_squared_.estimate().value);
    result.same_best = same_best_.estimate();
    return result;
  }

 private:
  Mean base_nll_, nll_difference_, divergence_, change_, change_squared_, same_best_;
  std::vector<float> divergences_;
};

/// One run over all chunks.
class Measurement {
 public:
  Measurement(model::LoadedModel& model, const TokenChunks& chunks,
              const PerplexityOptions& options)
      : chunks_(chunks),
        options_(options),
        vocabulary_(model.spec().logits),
        team_(options.threads) {
    shape_ = {vocabulary_, chunks.size(), chunks.count()};
    if (!options.base.empty()) reader_.emplace(options.base);
    if (!options.save.empty()) writer_.emplace(options.save, shape_);
    result_.chunks = chunks.count();
  }

  PerplexityResult run(model::LoadedModel& model) {
    ChunkRunner runner(model, WantedLogits::kSecondHalf, options_.adapters);
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    runner.run(chunks_, [&](std::int64_t evaluated, std::span<const LogitRow> rows,
                            std::span<const float> logits) {
      take(rows, logits);
      result_.evaluated += evaluated;
      result_.seconds = seconds_since(begin);
      result_.nll = nll_.estimate();
      result_.perplexity = perplexity_of(result_.nll);
      if (options_.progress) options_.progress(result_, chunks_.count() * (chunks_.size() - 1));
    });
    result_.scored = nll_.count();
    if (reader_) result_.comparison = sums_.result(result_.perplexity);
    if (writer_) writer_->commit();
    return result_;
  }

 private:
  [[nodiscard]] std::span<const float> row_of(std::span<const float> logits,
                                              std::int64_t row) const noexcept {
    const auto size = static_cast<std::size_t>(vocabulary_);
    return logits.subspan(static_cast<std::size_t>(row) * size, size);
  }
  [[nodiscard]] text::TokenId next_token(const LogitRow& row) const noexcept {
    return chunks_.chunk(row.chunk)[static_cast<std::size_t>(row.position + 1)];
  }

  void take(std::span<const LogitRow> rows, std::span<const float> logits) {
    if (reader_) check_chunks(rows);
    const auto count = static_cast<std::int64_t>(rows.size());
    scores_.resize(rows.size());
    summaries_.resize(rows.size());
    team_.for_chunks(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i)
        score(i, rows[static_cast<std::size_t>(i)], logits);
    });
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!scores_[i].finite) fail(rows[i]);
      nll_.add(-scores_[i].log_probability);
      if (reader_) sums_.add(scores_[i]);
    }
    if (writer_) save(rows, logits);
  }

  void score(std::int64_t i, const LogitRow& row, std::span<const float> all) noexcept {
    const std::span<const float> logits = row_of(all, i);
    const text::TokenId next = next_token(row);
    RowSummary& summary = summaries_[static_cast<std::size_t>(i)] = rows_.summarise(logits);
    RowScore& score = scores_[static_cast<std::size_t>(i)];
    score.log_probability = log_probability(summary, logits, next);
    score.finite = std::isfinite(summary.log_sum) && std::isfinite(score.log_probability);
    if (!reader_ || !score.finite) return;
    const BaseRow base = reader_->row(row.chunk, row.position - first_scored(chunks_.size()));
    score.divergence = rows_.divergence(base.packed, summary, logits);
    score.base_log_probability = base.log_probability;
    score.same_best = base.best == summary.best;
  }

  [[noreturn]] void fail(const LogitRow& row) const {
    throw Error("the model gives the token at " + std::to_string(row.position + 1) + " of chunk " +
                    std::to_string(row.chunk + 1) + " no probability (a logit is not finite)",
                "the model's file may be damaged: try --exact, or fetch it again");
  }

  void check_chunks(std::span<const LogitRow> rows) {
    for (const LogitRow& row : rows) {
      for (; checked_ <= row.chunk; ++checked_) reader_->check(checked_);
    }
  }

  /// Packs some rows at a time, in parallel, and writes them.
  void save(std::span<const LogitRow> rows, std::span<const float> logits) {
    const std::size_t row_bytes = shape_.row_bytes();
    packed_.resize(static_cast<std::size_t>(kPackedRows) * row_bytes);
    for (std::size_t first = 0; first < rows.size();) {
      // Rows of one chunk.
      std::size_t last = first;
      while (last < rows.size() && last - first < static_cast<std::size_t>(kPackedRows) &&
             rows[last].chunk == rows[first].chunk)
        ++last;
      const auto count = static_cast<std::int64_t>(last - first);
      team_.for_chunks(count, 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::size_t row = first + static_cast<std::size_t>(i);
          BaseWriter::set_row(
              shape_,
              std::span(packed_).subspan(static_cast<std::size_t>(i) * row_bytes, row_bytes),
              summaries_[row], row_of(logits, static_cast<std::int64_t>(row)),
              next_token(rows[row]));
        }
      });
      writer_->write(std::span(packed_).first((last - first) * row_bytes),
                     chunks_.chunk(rows[first].chunk));
      first = last;
    }
  }

  const TokenChunks& chunks_;
  const PerplexityOptions& options_;
  std::int64_t vocabulary_;
  ThreadTeam team_;
  RowReader rows_;
  BaseShape shape_;
  std::optional<BaseReader> reader_;
  std::optional<BaseWriter> writer_;
  std::int64_t checked_ = 0;  // chunks of the base
  std::vector<RowScore> scores_;
  std::vector<RowSummary> summaries_;
  std::vector<std::byte> packed_;
  Mean nll_;
  ComparisonSums sums_;
  PerplexityResult result_;
};

}  // namespace

Estimate Mean::estimate() const noexcept {
  if (count_ < 2) return {mean_, 0};
  const auto n = static_cast<double>(count_);
  return {mean_, std::sqrt(squares_ / (n - 1) / n)};
}

Estimate perplexity_of(const Estimate& mean_nll) noexcept {
  const double value = std::exp(mean_nll.value);
  return {value, value * mean_nll.error};
}

Distribution distribution_of(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    const double part = place - static_cast<double>(below);
    return (1 - part) * values[below] + part * values[above];
  };
  return {at(0.5), at(0.9), at(0.95), at(0.99), at(0.999), at(1)};
}

void match_base(TokenChunks& chunks, const std::filesystem::path& base, std::int64_t vocabulary,
                bool whole) {
  const BaseReader reader(base);
  const BaseShape& shape = reader.shape();
  const std::string name = "the base file '" + printable(base.string(), 300) + "'";
  if (shape.vocabulary != vocabulary) {
    throw Error(name + " is of a model with a vocabulary of " + std::to_string(shape.vocabulary) +
                    " tokens, and this one has " + std::to_string(vocabulary),
                "compare models with the same tokens");
  }
  if (shape.context != chunks.size()) {
    throw Error(name + " has chunks of " + std::to_string(shape.context) + " tokens, not of " +
                    std::to_string(chunks.size()),
                "use --ctx " + std::to_string(shape.context), ExitCode::kUsage);
  }
  if (whole && shape.chunks > chunks.count()) {
    throw Error(
        name + " has " + std::to_string(shape.chunks) + " chunks, and the text only " +
            std::to_string(chunks.count()),
        "give the text that it was made with, or --chunks " + std::to_string(chunks.count()));
  }
  chunks.keep(std::min(chunks.count(), shape.chunks));
  for (std::int64_t i = 0; i < chunks.count(); ++i) {
    if (reader.has_tokens(i, chunks.chunk(i))) continue;
    throw Error(name + " is of other tokens than this text gives, from chunk " +
                    std::to_string(i + 1) + " on",
                "give the text that it was made with, and a model with the same tokenizer");
  }
}

PerplexityResult measure_perplexity(model::LoadedModel& model, const TokenChunks& chunks,
                                    const PerplexityOptions& options) {
  if (!options.base.empty()) {
    TokenChunks known = chunks;
    match_base(known, options.base, model.spec().logits, /*whole=*/false);
    if (known.count() < chunks.count()) {
      throw Error("the base file has " + std::to_string(known.count()) + " chunks, and the text " +
                      std::to_string(chunks.count()),
                  "use --chunks " + std::to_string(known.count()));
    }
  }
  return Measurement(model, chunks, options).run(model);
}

}  // namespace hearth::measure
