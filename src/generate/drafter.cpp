#include "generate/drafter.h"

#include <algorithm>
#include <cstring>

#include "generate/token_probabilities.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

bool reads_features(const spec::ModelSpec& draft) {
  return draft.embedding.hidden->features.present();
}

/// The table of target tokens of a reduced draft vocabulary; empty when there is none.
std::vector<std::int64_t> read_target_tokens(const model::LoadedModel& draft) {
  const std::string& name = draft.spec().head.target_tokens;
  if (name.empty()) return {};
  const gguf::TensorInfo* tensor = draft.file().find_tensor(name);
  if (tensor == nullptr || tensor->dtype != tensor::DType::kI64 ||
      tensor->elements() != draft.spec().logits) {
    throw Error("the draft model's table of tokens '" + printable(name) + "' is damaged",
                "fetch the file again");
  }
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(tensor->elements()));
  std::memcpy(tokens.data(), draft.file().data(*tensor).data(),
              tokens.size() * sizeof(std::int64_t));
  for (const std::int64_t token : tokens) {
    if (token < 0 || token >= draft.spec().vocabulary) {
      throw Error("the draft model names token " + std::to_string(token) +
                      ", which its target does not have",
                  "use the target it was made for");
    }
  }
  return tokens;
}

}  // namespace

model::Outputs target_outputs(const spec::ModelSpec& target, const spec::ModelSpec& draft,
                              std::int64_t rows) {
  model::Outputs outputs{
      .logit_rows = rows, .hidden = model::HiddenRequest::kHidden, .hidden_rows = rows};
  if (!draft.embedding.hidden) {
    throw Error("this model does not draft", "use a model with draft heads, or an EAGLE-3 model");
  }
  const bool features = reads_features(draft);
  if (features) {
    outputs.hidden = model::HiddenRequest::kTaps;
    outputs.taps = draft.target_layers;
    for (const std::int32_t layer : outputs.taps) {
      if (layer < 0 || static_cast<std::size_t>(layer) > target.stacks.at(0).layers.size()) {
        throw Error("the draft model reads layer " + std::to_string(layer) +
                        ", which its target does not have",
                    "use the target it was made for");
      }
    }
  }
  const std::int64_t given = model::hidden_width(target, outputs);
  const std::int64_t wanted =
      features ? draft.embedding.hidden->features.in : draft.streams * draft.width;
  if (given != wanted) {
    throw Error("the draft model reads " + std::to_string(wanted) +
                    " values per token and its "
                    "target gives " +
                    std::to_string(given),
                "use the target it was made for");
  }
  return outputs;
}

Drafter::Drafter(model::LoadedModel& draft)
    : draft_(draft),
      sequence_(draft.new_sequence()),
      features_(reads_features(draft.spec())),
      state_width_(draft.spec().streams * draft.spec().width),
      last_state_(static_cast<std::size_t>(state_width_)),
      own_state_(static_cast<std::size_t>(state_width_)),
      target_tokens_(read_target_tokens(draft)) {}

std::span<const float> Drafter::follow(std::span<const std::int32_t> tokens,
                                       std::span<const float> hidden, bool wants_logits) {
  retract();
  const std::span<const float> states = features_ ? draft_.runner().fuse_features(hidden) : hidden;
  const auto width = static_cast<std::size_t>(state_width_);
  // Row i reads token i and the state after token i - 1.
  std::vector<std::int32_t> ids;
  std::vector<const float*> inputs;
  std::vector<float> kept(states.begin(), states.end());  // run() overwrites what states views
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool first = i == 0 && !started_;
    if (first && features_) continue;  // nothing is known before the first token
    ids.push_back(tokens[i]);
    inputs.push_back(first ? nullptr : i == 0 ? last_state_.data() : kept.data() + (i - 1) * width);
  }
  started_ = started_ || !tokens.empty();
  std::span<const float> logits;
  if (!ids.empty()) logits = run(ids, inputs, wants_logits);
  followed_ = sequence_->length();
  if (!tokens.empty())
    std::copy_n(kept.end() - static_cast<std::ptrdiff_t>(width), width, last_state_.begin());
  return logits;
}

std::span<const float> Drafter::first(std::int32_t token) {
  retract();
  const float* const state = last_state_.data();
  return run({&token, 1}, {&state, 1}, true);
}

std::span<const float> Drafter::next(std::int32_t token) {
  const std::vector<float> state = own_state_;
  const float* const pointer = state.data();
  return run({&token, 1}, {&pointer, 1}, true);
}

void Drafter::retract() {
  if (sequence_->length() > followed_) sequence_->truncate(followed_);
}

std::span<const float> Drafter::run(std::span<const std::int32_t> tokens,
                                    std::span<const float* const> states, bool wants_logits) {
  rows_.clear();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    rows_.push_back({.sequence = sequence_.get(),
                     .token = tokens[i],
                     .wants_logits = wants_logits,
                     .wants_hidden = i + 1 == tokens.size(),
                     .input = states[i]});
  }
  const std::span<const float> logits = draft_.run(rows_);
  const std::span<const float> hidden = draft_.runner().hidden();
  std::copy(hidden.begin(), hidden.end(), own_state_.begin());
  return mapped(logits);
}

/// Logits over the target's vocabulary.
std::span<const float> Drafter::mapped(std::span<const float> logits) {
  if (target_tokens_.empty()) return logits;
  const auto vocabulary = static_cast<std::size_t>(draft_.spec().vocabulary);
  const std::size_t rows = logits.size() / target_tokens_.size();
  logits_.assign(rows * vocabulary, kExcluded);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < target_tokens_.size(); ++i) {
      logits_[row * vocabulary + static_cast<std::size_t>(target_tokens_[i])] =
          logits[row * target_tokens_.size() + i];
    }
  }
  return logits_;
}

}  // namespace hearth::generate
