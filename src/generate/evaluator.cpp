#include "generate/evaluator.h"

#include <algorithm>
#include <utility>

namespace hearth::generate {

Evaluator::Resumed Evaluator::resume(std::span<const text::TokenId> held,
                                     std::span<const text::TokenId> prompt) {
  const auto differ = std::mismatch(prompt.begin(), prompt.end(), held.begin(), held.end());
  const std::int64_t common = differ.first - prompt.begin();
  // The last token is evaluated in any case: its logits are needed.
  truncate(std::min(common, static_cast<std::int64_t>(prompt.size()) - 1));
  // Windows and recurrent state may only be restored further back.
  return {.length = length()};
}

ModelEvaluator::ModelEvaluator(model::LoadedModel& model)
    : model_(model), sequence_(model.new_sequence()) {
  rows_.reserve(static_cast<std::size_t>(model.setup().batch_rows));
}

std::int64_t ModelEvaluator::vocabulary() const { return model_.spec().vocabulary; }
std::int64_t ModelEvaluator::context() const { return sequence_->max_cells(); }
std::string ModelEvaluator::context_advice(std::int64_t tokens) const {
  return model_.context_advice(tokens);
}

std::int64_t ModelEvaluator::batch_rows() const { return model_.setup().batch_rows; }
std::int64_t ModelEvaluator::length() const { return sequence_->length(); }
void ModelEvaluator::truncate(std::int64_t length) { sequence_->truncate(length); }

void ModelEvaluator::set_adapters(std::shared_ptr<const model::AdapterSet> adapters) {
  if (adapters == adapters_) return;
  adapters_ = std::move(adapters);
  key_.adapters = adapters_ ? adapters_->fingerprint() : 0;
  sequence_->truncate(0);
}

void ModelEvaluator::use_cache(state::PrefixCache& cache, std::string owner) {
  cache_ = &cache;
  key_.owner = std::move(owner);
}

void ModelEvaluator::remember(std::span<const text::TokenId> held) {
  if (cache_ == nullptr) return;
  const auto known = static_cast<std::int64_t>(held.size());
  if (length() > known) sequence_->truncate(known);  // rows that nobody can name the tokens of
  if (length() != known) return;
  cache_->keep(key_, held, *sequence_, {}, /*boundary=*/true);
}

Evaluator::Resumed ModelEvaluator::resume(std::span<const text::TokenId> held,
                                          std::span<const text::TokenId> prompt) {
  if (cache_ == nullptr) return Evaluator::resume(held, prompt);
  const auto differ = std::mismatch(prompt.begin(), prompt.end(), held.begin(), held.end());
  const std::int64_t common =
      std::min(differ.first - prompt.begin(), static_cast<std::ptrdiff_t>(prompt.size()) - 1);
  if (common < length()) remember(held);
  const std::int64_t own = sequence_->fork()->truncate(common);
  auto found = cache_->find(key_, prompt, &known_logits_);
  if (found && found->length() > own) {
    sequence_ = std::move(found);
  } else {
    known_logits_.clear();
    sequence_->truncate(common);
  }
  return {.length = length(), .logits = known_logits_};
}

std::int64_t ModelEvaluator::next_stop(std::int64_t begin, std::int64_t total,
                                       std::span<const std::int64_t> boundaries) const {
  return cache_ == nullptr ? total : cache_->next_stop(begin, total, boundaries);
}

bool ModelEvaluator::snapshot_due() const {
  return cache_ != nullptr && cache_->snapshot_due(length());
}

/// Where sequences can be cut anywhere, it is enough to remember them at their end.
void ModelEvaluator::snapshot(std::span<const text::TokenId> held, std::span<const float> logits,
                              bool boundary) {
  if (cache_ == nullptr || !model_.pool().needs_snapshots()) return;
  cache_->keep(key_, held, *sequence_, logits, boundary);
}

std::span<const float> ModelEvaluator::evaluate(std::span<const text::TokenId> tokens,
                                                bool wants_logits) {
  if (cache_ != nullptr)
    (void)cache_->make_room_for(*sequence_, static_cast<std::int64_t>(tokens.size()));
  rows_.clear();
  for (const text::TokenId token : tokens)
    rows_.push_back({.sequence = sequence_.get(), .token = token});
  rows_.back().wants_logits = wants_logits;
  return model_.run(rows_, adapters_.get());
}

}  // namespace hearth::generate
