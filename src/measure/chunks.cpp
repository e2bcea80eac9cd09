#include "measure/chunks.h"

#include <algorithm>
#include <string>
#include <utility>

#include "state/page_disk.h"
#include "support/error.h"

namespace hearth::measure {
namespace {

/// Logits of one pass take at most this much memory, unless one row takes more.
constexpr std::int64_t kLogitBytes = std::int64_t{256} << 20;
constexpr std::int64_t kMostSequences = 256;

std::int64_t evaluated_rows(std::int64_t size, WantedLogits wanted) {
  return wanted == WantedLogits::kSecondHalf ? size - 1 : size;
}

std::int64_t wanted_rows(std::int64_t size, WantedLogits wanted) {
  switch (wanted) {
    case WantedLogits::kNone:
      return 0;
    case WantedLogits::kSecondHalf:
      return rows_scored(size);
    case WantedLogits::kAll:
      return size;
  }
  return 0;
}

void require_continuation(const spec::ModelSpec& spec) {
  if (spec.causal && !spec.encoder && spec.head.linear.present() && !spec.embedding.hidden) return;
  throw Error("this model does not go on with a text, so its predictions cannot be measured",
              "use a model that continues texts");
}

}  // namespace

TokenChunks::TokenChunks(const text::Tokenizer& tokenizer, std::string_view text, std::int64_t size,
                         std::int64_t most)
    : size_(size), tokens_(tokenizer.encode(text, {.add_special = true, .parse_special = false})) {
  if (text.empty()) {
    throw Error("the text is empty", "give a text of some thousand words", ExitCode::kUsage);
  }
  const auto length = static_cast<std::int64_t>(tokens_.size());
  if (length < size) {
    throw Error("the text has " + std::to_string(length) +
                    " tokens, which is less than a chunk of " + std::to_string(size),
                "give a longer text, or use a smaller --ctx", ExitCode::kUsage);
  }
  keep(most > 0 ? std::min(most, length / size) : length / size);
  const text::SpecialTokens& special = tokenizer.special();
  if (!special.add_bos || special.bos < 0) return;
  for (std::int64_t i = 0; i < count(); ++i) {
    tokens_[static_cast<std::size_t>(i * size_)] = special.bos;
  }
}

TokenChunks::TokenChunks(std::vector<text::TokenId> tokens, std::int64_t size)
    : size_(size), tokens_(std::move(tokens)) {
  keep(count());
}

void TokenChunks::keep(std::int64_t count) {
  tokens_.resize(static_cast<std::size_t>(count * size_));
}

ChunkSetup chunk_setup(spec::Setup setup, const spec::ModelSpec& spec, std::int64_t size,
                       std::int64_t chunks, std::int64_t batch_rows, WantedLogits wanted) {
  require_continuation(spec);
  // Keys and values are coded behind a pass: a pass of many rows would look back on none that is.
  if (setup.kv_type.coded()) batch_rows = std::min(batch_rows, state::kPageCells);
  const std::int64_t rows = evaluated_rows(size, wanted);
  const std::int64_t scored = wanted_rows(size, wanted);
  const std::int64_t logit_limit = std::max<std::int64_t>(
      1, kLogitBytes / (spec.logits * static_cast<std::int64_t>(sizeof(float))));
  std::int64_t sequences = std::min({batch_rows / rows, chunks, kMostSequences});
  if (scored > 0) sequences = std::min(sequences, logit_limit / scored);
  sequences = std::max<std::int64_t>(1, sequences);
  ChunkSetup result;
  result.setup = std::move(setup);
  result.setup.context = size;
  result.setup.sequences = static_cast<int>(sequences);
  result.setup.batch_rows = std::min(batch_rows, sequences * rows);
  result.outputs.logit_rows = std::min({logit_limit, sequences * scored, result.setup.batch_rows});
  return result;
}

ChunkRunner::ChunkRunner(model::LoadedModel& model, WantedLogits wanted,
                         std::shared_ptr<const model::AdapterSet> adapters)
    : model_(model), wanted_(wanted), adapters_(std::move(adapters)) {
  for (int i = 0; i < model.setup().sequences; ++i) sequences_.push_back(model.new_sequence());
}

ChunkRunner::~ChunkRunner() = default;

bool ChunkRunner::wants(std::int64_t position, std::int64_t size) const noexcept {
  if (wanted_ == WantedLogits::kSecondHalf) return position >= first_scored(size);
  return wanted_ == WantedLogits::kAll;
}

void ChunkRunner::add(const TokenChunks& chunks, std::int64_t chunk, std::int64_t begin,
                      std::int64_t end, state::SequenceState& sequence) {
  const std::span<const text::TokenId> tokens = chunks.chunk(chunk);
  for (std::int64_t position = begin; position < end; ++position) {
    rows_.push_back({.sequence = &sequence,
                     .token = tokens[static_cast<std::size_t>(position)],
                     .wants_logits = wants(position, chunks.size())});
    places_.push_back({chunk, position});
  }
}

/// Everything in rows_, in as few passes as the limits allow.
void ChunkRunner::run_rows(const Sink& sink) {
  const model::RunnerLimits& limits = model_.runner().limits();
  for (std::size_t begin = 0; begin < rows_.size();) {
    wanted_places_.clear();
    std::size_t end = begin;
    while (end < rows_.size() && static_cast<std::int64_t>(end - begin) < limits.batch_rows) {
      if (rows_[end].wants_logits) {
        if (static_cast<std::int64_t>(wanted_places_.size()) == limits.logit_rows) break;
        wanted_places_.push_back(places_[end]);
      }
      ++end;
    }
    const std::span<const float> logits =
        model_.run(std::span(rows_).subspan(begin, end - begin), adapters_.get());
    sink(static_cast<std::int64_t>(end - begin), wanted_places_, logits);
    begin = end;
  }
  rows_.clear();
  places_.clear();
}

void ChunkRunner::run(const TokenChunks& chunks, const Sink& sink) {
  const auto together = static_cast<std::int64_t>(sequences_.size());
  const std::int64_t rows = evaluated_rows(chunks.size(), wanted_);
  for (std::int64_t first = 0; first < chunks.count(); first += together) {
    const std::int64_t count = std::min(together, chunks.count() - first);
    const auto add_all = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = 0; i < count; ++i) {
        add(chunks, first + i, begin, end, *sequences_[static_cast<std::size_t>(i)]);
      }
      run_rows(sink);
    };
    for (const auto& sequence : sequences_) sequence->truncate(0);
    if (separate_first_row_) add_all(0, 1);
    add_all(separate_first_row_ ? 1 : 0, rows);
  }
}

}  // namespace hearth::measure
