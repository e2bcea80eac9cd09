#include "generate/evaluator.h"

#include <algorithm>
#include <utility>

namespace hearth::generate {

ModelEvaluator::ModelEvaluator(model::LoadedModel& model)
    : model_(model), sequence_(model.new_sequence()) {
  rows_.reserve(static_cast<std::size_t>(model.setup().batch_rows));
}

std::int64_t ModelEvaluator::vocabulary() const { return model_.spec().vocabulary; }
std::int64_t ModelEvaluator::context() const { return sequence_->max_cells(); }
std::int64_t ModelEvaluator::batch_rows() const { return model_.setup().batch_rows; }
std::int64_t ModelEvaluator::length() const { return sequence_->length(); }
void ModelEvaluator::truncate(std::int64_t length) { sequence_->truncate(length); }

void ModelEvaluator::set_adapters(std::shared_ptr<const model::AdapterSet> adapters) {
  if (adapters == adapters_) return;
  adapters_ = std::move(adapters);
  sequence_->truncate(0);
}

std::span<const float> ModelEvaluator::evaluate(std::span<const text::TokenId> tokens,
                                                bool wants_logits) {
  rows_.clear();
  for (const text::TokenId token : tokens)
    rows_.push_back({.sequence = sequence_.get(), .token = token});
  rows_.back().wants_logits = wants_logits;
  return model_.run(rows_, adapters_.get());
}

}  // namespace hearth::generate
