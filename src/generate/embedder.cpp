#include "generate/embedder.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "support/error.h"

namespace hearth::generate {

using spec::PoolingKind;

namespace {

constexpr std::int64_t kMostSequences = 64;
/// Cells of KV for all sequences of a decoder together, unless one text needs more.
constexpr std::int64_t kDecoderCells = 4096;

bool reads_whole_texts(const spec::ModelSpec& spec) { return !spec.causal || spec.encoder; }

void normalise(std::span<float> vector) {
  double sum = 0;
  for (const float value : vector) sum += static_cast<double>(value) * value;
  if (sum <= 0) return;
  const double factor = 1.0 / std::sqrt(sum);
  for (float& value : vector) value = static_cast<float>(value * factor);
}

/// Scores become probabilities.
void softmax(std::span<float> scores) {
  const float largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (float& score : scores) {
    score = std::exp(score - largest);
    sum += score;
  }
  for (float& score : scores) score = static_cast<float>(score / sum);
}

}  // namespace

std::int64_t longest_text(const spec::ModelSpec& spec) noexcept {
  if (spec.position_limit > 0) return std::min(spec.position_limit, spec.context_length);
  return spec.context_length;
}

spec::Setup embedding_setup(spec::Setup setup, const spec::ModelSpec& spec, std::int64_t longest,
                            std::int64_t texts) {
  longest = std::clamp<std::int64_t>(longest, 1, longest_text(spec));
  setup.context = longest;
  // Longer texts of encoders make a pass longer.
  setup.batch_rows = reads_whole_texts(spec) ? std::max(spec::kPassRows, longest) : spec::kPassRows;
  std::int64_t sequences = kMostSequences;
  if (!spec.kv_memories.empty()) sequences = kDecoderCells / longest;
  if (spec.encoder) sequences = 1;
  setup.sequences = static_cast<int>(std::clamp<std::int64_t>(
      std::min(sequences, texts), 1, std::min(kMostSequences, setup.batch_rows)));
  return setup;
}

model::Outputs embedding_outputs(const spec::Setup& setup) {
  model::Outputs outputs;
  outputs.logit_rows = 0;
  outputs.hidden = model::HiddenRequest::kHidden;
  outputs.hidden_rows = setup.batch_rows;
  return outputs;
}

void require_pooling(const gguf::Metadata& metadata, const spec::ModelSpec& spec,
                     const EmbedderOptions& options) {
  const bool is_encoder = !spec.causal && !spec.head.linear.present();
  if (options.pooling || is_encoder) return;
  if (metadata.contains(spec.architecture + ".pooling_type")) return;
  throw Error("this model was not made for embeddings: it does not say how to pool a text",
              "choose with --pooling mean, last or cls, or use an embedding model",
              ExitCode::kUsage);
}

Embedder::Embedder(model::LoadedModel& model, const EmbedderOptions& options)
    : model_(model), options_(options) {
  require_pooling(model.file().metadata(), model.spec(), options);
  const spec::Pooling& own = model.spec().pooling;
  pooling_ = options.pooling.value_or(own.kind);
  kept_ = pooling_ == PoolingKind::kRank ? own.rank_from : pooling_;
  rows_.reserve(static_cast<std::size_t>(model.setup().batch_rows));
}

Embedder::~Embedder() = default;

std::int64_t Embedder::dimensions() const noexcept {
  const bool own = !options_.pooling && pooling_ != PoolingKind::kNone;
  return own ? model_.runner().pooled_width() : model_.spec().width;
}

bool Embedder::wants(std::size_t row, std::size_t rows) const noexcept {
  if (kept_ == PoolingKind::kFirst) return row == 0;
  if (kept_ == PoolingKind::kLast) return row + 1 == rows;
  return true;
}

state::SequenceState& Embedder::sequence(std::size_t index) {
  if (index >= sequences_.size()) sequences_.push_back(model_.new_sequence());
  sequences_[index]->truncate(0);
  return *sequences_[index];
}

void Embedder::check(std::span<const TokenList> texts) const {
  const std::int64_t context = model_.setup().context;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto length = static_cast<std::int64_t>(texts[i].size());
    if (length == 0) {
      throw Error("text " + std::to_string(i + 1) + " is empty: this model makes no token of it",
                  "leave it out", ExitCode::kUsage);
    }
    if (length <= context) continue;
    throw Error("text " + std::to_string(i + 1) + " has " + std::to_string(length) +
                    " tokens, which is more than the " + std::to_string(context) +
                    " that the model takes",
                "shorten it, cut it into several texts, or use --truncate", ExitCode::kDoesNotFit);
  }
}

/// How many of the texts fit into one pass; at least one.
std::size_t Embedder::texts_of_pass(std::span<const TokenList> texts) const {
  if (model_.spec().encoder) return 1;
  const auto rows = static_cast<std::size_t>(model_.setup().batch_rows);
  const auto most = std::min(texts.size(), static_cast<std::size_t>(model_.setup().sequences));
  std::size_t count = 1;
  for (std::size_t used = texts[0].size(); count < most; ++count) {
    used += texts[count].size();
    if (used > rows) break;
  }
  return count;
}

void Embedder::add_states(std::span<const float> states) {
  states_.insert(states_.end(), states.begin(), states.end());
  lengths_.back() += static_cast<std::int64_t>(states.size()) / model_.spec().width;
}

/// To be held while the model computes.
std::unique_lock<ComputeTurn> Embedder::turn() const {
  return options_.turn != nullptr ? std::unique_lock(*options_.turn)
                                  : std::unique_lock<ComputeTurn>();
}

/// One pass of the rows.
void Embedder::run_rows() {
  if (before_pass_) before_pass_();
  const auto held = turn();
  model_.run(rows_);
}

/// Encoder-decoder models: the encoder's output.
void Embedder::run_encoder(const TokenList& text) {
  const auto fresh = model_.new_sequence();
  if (before_pass_) before_pass_();
  const auto held = turn();
  const std::span<const float> states = model_.runner().encode(*fresh, text);
  const auto width = static_cast<std::size_t>(model_.spec().width);
  lengths_.push_back(0);
  for (std::size_t row = 0; row < text.size(); ++row) {
    if (wants(row, text.size())) add_states(states.subspan(row * width, width));
  }
}

/// One text of a decoder that takes several passes.
void Embedder::run_long_text(const TokenList& text) {
  state::SequenceState& own = sequence(0);
  const auto piece = static_cast<std::size_t>(model_.setup().batch_rows);
  lengths_.push_back(0);
  for (std::size_t begin = 0; begin < text.size(); begin += piece) {
    const std::size_t end = std::min(begin + piece, text.size());
    rows_.clear();
    for (std::size_t row = begin; row < end; ++row) {
      rows_.push_back(
          {.sequence = &own, .token = text[row], .wants_hidden = wants(row, text.size())});
    }
    run_rows();
    add_states(model_.runner().hidden());
  }
}

/// Several texts, each a sequence of its own.
void Embedder::run_pass(std::span<const TokenList> texts) {
  states_.clear();
  lengths_.clear();
  if (model_.spec().encoder) return run_encoder(texts[0]);
  if (static_cast<std::int64_t>(texts[0].size()) > model_.setup().batch_rows) {
    return run_long_text(texts[0]);
  }
  rows_.clear();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    state::SequenceState& own = sequence(i);
    std::int64_t kept = 0;
    for (std::size_t row = 0; row < texts[i].size(); ++row) {
      const bool wanted = wants(row, texts[i].size());
      rows_.push_back({.sequence = &own, .token = texts[i][row], .wants_hidden = wanted});
      kept += wanted ? 1 : 0;
    }
    lengths_.push_back(kept);
  }
  run_rows();
  const std::span<const float> states = model_.runner().hidden();
  states_.assign(states.begin(), states.end());
}

/// The mean of each text's states, or the one state that was kept.
void Embedder::pool_here() {
  const auto width = static_cast<std::size_t>(model_.spec().width);
  vectors_.assign(lengths_.size() * width, 0.0F);
  std::size_t row = 0;
  for (std::size_t text = 0; text < lengths_.size(); ++text) {
    const auto rows = static_cast<std::size_t>(lengths_[text]);
    for (std::size_t i = 0; i < width; ++i) {
      double sum = 0;
      for (std::size_t r = row; r < row + rows; ++r) sum += states_[r * width + i];
      vectors_[text * width + i] = static_cast<float>(sum / static_cast<double>(rows));
    }
    row += rows;
  }
}

void Embedder::emit(std::size_t first, const VectorSink& sink) {
  const auto width = static_cast<std::size_t>(model_.spec().width);
  if (pooling_ == PoolingKind::kNone) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < lengths_.size(); ++i) {
      const auto rows = static_cast<std::size_t>(lengths_[i]);
      const std::span<float> own = std::span(states_).subspan(begin * width, rows * width);
      if (options_.normalise) {
        for (std::size_t row = 0; row < rows; ++row) normalise(own.subspan(row * width, width));
      }
      sink(first + i, own);
      begin += rows;
    }
    return;
  }
  if (options_.pooling) {
    pool_here();
  } else {
    const auto held = turn();
    const std::span<const float> pooled = model_.runner().pool(states_, lengths_);
    vectors_.assign(pooled.begin(), pooled.end());
  }
  const auto size = static_cast<std::size_t>(dimensions());
  for (std::size_t i = 0; i < lengths_.size(); ++i) {
    const std::span<float> vector = std::span(vectors_).subspan(i * size, size);
    if (pooling_ == PoolingKind::kRank) {
      if (model_.spec().pooling.softmax) softmax(vector);
    } else if (options_.normalise) {
      normalise(vector);
    }
    sink(first + i, vector);
  }
}

void Embedder::embed(std::span<const TokenList> texts, const VectorSink& sink,
                     const std::function<void()>& before_pass) {
  check(texts);
  before_pass_ = before_pass;
  for (std::size_t begin = 0; begin < texts.size();) {
    const std::size_t count = texts_of_pass(texts.subspan(begin));
    run_pass(texts.subspan(begin, count));
    emit(begin, sink);
    begin += count;
  }
}

std::string_view pooling_name(PoolingKind kind) noexcept {
  switch (kind) {
    case PoolingKind::kNone:
      return "none";
    case PoolingKind::kMean:
      return "mean";
    case PoolingKind::kFirst:
      return "cls";
    case PoolingKind::kLast:
      return "last";
    case PoolingKind::kRank:
      return "rank";
  }
  return "none";
}

std::vector<std::string> classifier_labels(const gguf::File& file, const spec::ModelSpec& spec) {
  const auto labels = file.metadata().get_strings(spec.architecture + ".classifier.output_labels");
  if (!labels) return {};
  return {labels->begin(), labels->end()};
}

}  // namespace hearth::generate
