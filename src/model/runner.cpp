#include "model/runner.h"

#include <algorithm>
#include <memory>
#include <string>

#include "model/layers/pass.h"
#include "model/pass_inputs.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {

using compute::MemoryCategory;
using spec::HiddenKind;
using spec::PoolingKind;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

std::unique_ptr<float[]> host_rows(std::int64_t rows, std::int64_t width) {
  // Not touched before the first result: a plan costs no memory.
  return std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(rows * width));
}

}  // namespace

std::int64_t hidden_width(const spec::ModelSpec& spec, const Outputs& outputs) noexcept {
  if (outputs.hidden == HiddenRequest::kTaps) {
    return static_cast<std::int64_t>(outputs.taps.size()) * spec.width;
  }
  return spec.head.hidden == HiddenKind::kStreams ? spec.streams * spec.width : spec.width;
}

void forget(std::span<const BatchRow> rows) noexcept {
  for (std::size_t begin = 0; begin < rows.size();) {
    state::SequenceState& sequence = *rows[begin].sequence;
    std::size_t end = begin;
    while (end < rows.size() && rows[end].sequence == &sequence) ++end;
    sequence.truncate(sequence.length() - static_cast<std::int64_t>(end - begin));
    begin = end;
  }
}

struct Runner::Impl {
  const spec::ModelSpec& spec;
  const Weights& weights;
  compute::Backend& backend;
  RunnerLimits limits;
  PassInputs inputs;
  std::unique_ptr<tensor::Buffer> arena_buffer;
  Arena arena;
  Staged<std::int32_t> logit_rows, hidden_rows;
  Tensor first_row;  // I32 [1] = 0
  const AdapterSet* adapters = nullptr;
  std::unique_ptr<float[]> logits, hidden;
  std::int64_t hidden_count = 0;
  std::vector<float> other;  // of encode(), fuse_features() and pool()

  Impl(const spec::ModelSpec& spec_, const Weights& weights_, compute::Backend& backend_,
       const state::MemoryPool& memory, const RunnerLimits& limits_, std::size_t arena_bytes)
      : spec(spec_),
        weights(weights_),
        backend(backend_),
        limits(limits_),
        inputs(spec_, weights_, backend_, memory, limits),
        arena_buffer(backend.allocate(arena_bytes, MemoryCategory::kBuffers)),
        arena(*arena_buffer) {
    inputs.stage(logit_rows, DType::kI32, limits.logit_rows);
    if (limits.hidden_rows > 0) inputs.stage(hidden_rows, DType::kI32, limits.hidden_rows);
    first_row = inputs.constant(DType::kI32, {1});
    const std::int32_t zero = 0;
    backend.write(first_row, &zero);
    logits = host_rows(limits.logit_rows, spec.logits);
    if (limits.hidden_rows > 0) hidden = host_rows(limits.hidden_rows, hidden_width());
  }

  void grow_arena(std::size_t bytes) {
    if (bytes <= arena_buffer->size()) return;
    auto larger = backend.allocate(bytes, MemoryCategory::kBuffers);
    arena = Arena(*larger);
    arena_buffer = std::move(larger);
  }

  [[nodiscard]] std::int64_t stream_width() const { return spec.streams * spec.width; }
  [[nodiscard]] std::int64_t hidden_width() const { return model::hidden_width(spec, limits); }

  /// Throws before anything has changed.
  void check(std::span<const BatchRow> rows) const {
    std::int64_t wanted = 0;
    std::int64_t wanted_hidden = 0;
    int sequences = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      check_token(rows[i].token);
      wanted += rows[i].wants_logits ? 1 : 0;
      wanted_hidden += rows[i].wants_hidden ? 1 : 0;
      sequences += i == 0 || rows[i].sequence != rows[i - 1].sequence ? 1 : 0;
    }
    check_size(static_cast<std::int64_t>(rows.size()));
    if (wanted > limits.logit_rows || wanted_hidden > limits.hidden_rows ||
        sequences > limits.sequences) {
      throw Error("a batch asks for more than what was set up",
                  "this is a bug in Hearth: please report it");
    }
    if (wanted > 0 && !has_logits()) {
      throw Error("this model makes embeddings, not text", "use `hearth embed`");
    }
  }
  void check_size(std::int64_t rows) const {
    if (rows <= limits.batch_rows) return;
    throw Error("a batch of " + std::to_string(rows) + " rows is larger than the " +
                    std::to_string(limits.batch_rows) + " that were set up",
                "shorten the text, or use a larger --ctx");
  }
  void check_token(std::int32_t token) const {
    if (token >= 0 && token < spec.vocabulary) return;
    throw Error("token id " + std::to_string(token) + " is outside the vocabulary of " +
                    std::to_string(spec.vocabulary),
                "use ids that `hearth tokenize` gives for this model");
  }
  [[nodiscard]] bool has_logits() const { return spec.head.linear.present(); }

  // ---- The stream at the input of the first layer -----------------------------------------------

  /// Embeddings of the pass's tokens, [T, width].
  void embed_tokens(Pass& pass, const Tensor& out) {
    const spec::Embedding& embedding = spec.embedding;
    // A draft model without a table of its own reads its target's (Weights has made sure of it).
    const std::string_view tokens = embedding.tokens.empty() ? kTargetEmbedding : embedding.tokens;
    backend.get_rows(weights.matrix(tokens), pass.tokens, embedding.scale, out);
    if (pass.adapters != nullptr) adapt_embeddings(pass, out);
    if (!embedding.positions.empty()) {
      const Arena::Scope scope(arena);
      const Tensor learned = pass.scratch(spec.width);
      backend.get_rows(weights.matrix(embedding.positions), pass.positions, 1.0F, learned);
      backend.add(out, learned, 1.0F, out);
    }
    if (!embedding.types.empty()) {
      const Arena::Scope scope(arena);
      const Tensor type = arena.allocate(DType::kF32, {1, spec.width});
      backend.get_rows(weights.matrix(embedding.types), first_row, 1.0F, type);
      backend.add(out, type, 1.0F, out);
    }
    if (embedding.norm) apply_norm(pass, *embedding.norm, out, out);
  }

  /// out += scale * B A[token] for every adapter of the embeddings.
  void adapt_embeddings(Pass& pass, const Tensor& out) {
    for (const LowRank& term : pass.adapters->embedding()) {
      const Arena::Scope scope(arena);
      const Tensor inner = pass.scratch(term.a->columns());
      const Tensor delta = pass.scratch(term.b->rows());
      backend.get_rows(*term.a, pass.tokens, 1.0F, inner);
      const compute::Projection up{term.b, delta, {}, 1.0F};
      backend.matmul(inner, {&up, 1});
      backend.add(out, delta, term.scale * spec.embedding.scale, out);
    }
  }

  /// Rows given instead of tokens: their first slice is the embedding; all wait for their layers.
  void place_inputs(Pass& pass, std::span<const BatchRow> rows, const Tensor& stream) {
    const std::int64_t slices = spec.embedding.input_slices;
    const bool any = std::any_of(rows.begin(), rows.end(),
                                 [](const BatchRow& row) { return row.input != nullptr; });
    if (!any) return;
    const std::int64_t slice_width = slices * spec.width;
    const std::vector<float> zeros(static_cast<std::size_t>(slice_width));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto t = static_cast<std::int64_t>(i);
      const float* const input = rows[i].input;
      if (input != nullptr) backend.write(stream.rows(t, 1).columns(0, spec.width), input);
      if (slices > 1) backend.write(pass.input_slices.rows(t, 1), input ? input : zeros.data());
    }
  }

  /// The stream of a draft head, from tokens and hidden states.
  void fuse_hidden(Pass& pass, std::span<const BatchRow> rows, const Tensor& tokens,
                   const Tensor& stream) {
    const spec::HiddenInput& input = *spec.embedding.hidden;
    const Arena::Scope scope(arena);
    const Tensor states = pass.scratch(stream_width());
    const std::vector<float> zeros(static_cast<std::size_t>(stream_width()));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      backend.write(states.rows(static_cast<std::int64_t>(i), 1),
                    rows[i].input != nullptr ? rows[i].input : zeros.data());
    }
    if (!input.projection.present()) {
      if (input.hidden_norm) apply_norm(pass, *input.hidden_norm, states, states);
      backend.copy(states, stream);
      return;
    }
    const Tensor both = pass.scratch(2 * spec.width);
    const Tensor token_half = both.columns(0, spec.width);
    const Tensor hidden_half = both.columns(spec.width, spec.width);
    if (input.token_norm) {
      apply_norm(pass, *input.token_norm, tokens, token_half);
    } else {
      backend.copy(tokens, token_half);
    }
    for (std::int64_t s = 0; s < spec.streams; ++s) {
      const Tensor state = states.columns(s * spec.width, spec.width);
      if (input.hidden_norm) {
        apply_norm(pass, *input.hidden_norm, state, hidden_half);
      } else {
        backend.copy(state, hidden_half);
      }
      multiply(pass, both, {{&input.projection, stream.columns(s * spec.width, spec.width)}});
    }
  }

  Tensor embed(Pass& pass, std::span<const BatchRow> rows) {
    const Tensor stream = pass.scratch(stream_width());
    if (spec.embedding.hidden) {
      pass.token_embedding = pass.scratch(spec.width);
      embed_tokens(pass, pass.token_embedding);
      fuse_hidden(pass, rows, pass.token_embedding, stream);
      return stream;
    }
    if (spec.embedding.input_slices > 1) {
      pass.input_slices = pass.scratch(spec.embedding.input_slices * spec.width);
    }
    const Tensor first = stream.columns(0, spec.width);
    embed_tokens(pass, first);
    const bool given = std::any_of(rows.begin(), rows.end(),
                                   [](const BatchRow& row) { return row.input != nullptr; });
    if (given) {
      place_inputs(pass, rows, stream);
    } else {
      pass.input_slices = {};
    }
    if (spec.embedding.per_layer) {
      const spec::PerLayerEmbedding& per_layer = *spec.embedding.per_layer;
      pass.per_layer = pass.scratch(per_layer.layers * per_layer.width);
      make_per_layer_embeddings(pass, per_layer, first);
    }
    if (spec.altup_streams) {
      open_altup_streams(pass, *spec.altup_streams, stream);
    } else {
      for (std::int64_t s = 1; s < spec.streams; ++s) {
        backend.copy(first, stream.columns(s * spec.width, spec.width));
      }
    }
    return stream;
  }

  // ---- Layers and head --------------------------------------------------------------------------

  [[nodiscard]] bool is_recurrent_value_model() const {
    bool found = false;
    spec::for_each_body(spec, [&](const spec::Stack&, std::size_t, const spec::Body& body) {
      found = found || std::holds_alternative<spec::RwkvTimeMix>(body);
    });
    return found;
  }
  bool keeps_first_value = is_recurrent_value_model();

  std::function<void()> between_layers;

  void run_stack(Pass& pass, const spec::Stack& stack, const Tensor& stream, const Tensor& taps) {
    for (std::size_t l = 0; l < stack.layers.size(); ++l) {
      if (between_layers) between_layers();
      tap(l, stream, taps);
      pass.layer_index = l;
      run_layer(pass, stack.layers[l], stream);
    }
    tap(stack.layers.size(), stream, taps);
  }

  /// The stream at the input of layer `layer`, where it is wanted. After the last layer: what the
  /// model hands to its own draft heads.
  void tap(std::size_t layer, const Tensor& stream, const Tensor& taps) {
    if (!taps) return;
    for (std::size_t i = 0; i < limits.taps.size(); ++i) {
      if (static_cast<std::size_t>(limits.taps[i]) != layer) continue;
      const auto column = static_cast<std::int64_t>(i) * spec.width;
      backend.gather(stream.columns(0, spec.width), hidden_rows.device.rows(0, taps.shape[0]),
                     taps.columns(column, spec.width));
    }
  }

  /// Rows of the stream as one width: streams collapsed, normalised. `pass.rows` must be theirs.
  Tensor finished(Pass& pass, const Tensor& rows) {
    Tensor hidden_state = rows;
    if (spec.streams > 1) {
      hidden_state = pass.scratch(spec.width);
      if (spec.stream_head) {
        collapse_streams(pass, *spec.stream_head, rows, hidden_state);
      } else {
        close_altup_streams(pass, *spec.altup_streams, rows, hidden_state);
      }
    }
    if (spec.head.norm) apply_norm(pass, *spec.head.norm, hidden_state, hidden_state);
    return hidden_state;
  }

  Tensor gathered(const Tensor& stream, const Staged<std::int32_t>& rows, std::int64_t count) {
    const Tensor out = arena.allocate(DType::kF32, {count, stream.shape[1]});
    backend.gather(stream, rows.upload(backend, count), out);
    return out;
  }

  void run_head(const Pass& whole, const Tensor& stream, std::int64_t wanted) {
    const Arena::Scope scope(arena);
    Pass pass = whole;
    pass.rows = wanted;
    const Tensor state = finished(pass, gathered(stream, logit_rows, wanted));
    const Tensor out = pass.scratch(spec.logits);
    multiply(pass, state, {{&spec.head.linear, out}});
    if (spec.head.scale != 1.0F) backend.scale(out, spec.head.scale, out);
    if (spec.head.softcap > 0) backend.softcap(out, spec.head.softcap);
    backend.submit();
    backend.read(out, logits.get());
  }

  void read_hidden(const Pass& whole, const Tensor& stream, const Tensor& taps) {
    const Arena::Scope scope(arena);
    Pass pass = whole;
    pass.rows = hidden_count;
    Tensor out = taps;
    if (!taps) {
      out = gathered(stream, hidden_rows, hidden_count);
      if (spec.head.hidden == HiddenKind::kNormed) out = finished(pass, out);
    }
    backend.submit();
    backend.read(out, hidden.get());
  }

  std::span<const float> run(std::span<const BatchRow> rows) {
    check(rows);
    hidden_count = 0;
    if (rows.empty()) return {};
    inputs.assign(rows);
    try {
      const std::span<const float> result = evaluate(rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (i == 0 || rows[i].sequence != rows[i - 1].sequence) rows[i].sequence->commit();
      }
      return result;
    } catch (...) {
      forget(rows);
      throw;
    }
  }

  std::span<const float> evaluate(std::span<const BatchRow> rows) {
    const Arena::Scope scope(arena);
    std::int64_t wanted = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::int32_t>(i);
      if (rows[i].wants_logits) logit_rows.host[static_cast<std::size_t>(wanted++)] = row;
      if (rows[i].wants_hidden) {
        hidden_rows.host[static_cast<std::size_t>(hidden_count++)] = row;
      }
    }
    Pass pass = inputs.begin(arena, static_cast<std::int64_t>(rows.size()));
    pass.adapters = adapters;
    if (keeps_first_value) pass.first_value = pass.scratch(spec.width);
    Tensor taps;
    if (limits.hidden == HiddenRequest::kTaps && hidden_count > 0) {
      taps = arena.allocate(DType::kF32, {hidden_count, hidden_width()});
      hidden_rows.upload(backend, hidden_count);
    }
    const Tensor stream = embed(pass, rows);
    for (const spec::Stack& stack : spec.stacks) run_stack(pass, stack, stream, taps);
    if (hidden_count > 0) read_hidden(pass, stream, taps);
    if (wanted > 0) run_head(pass, stream, wanted);
    finish();
    return {logits.get(), static_cast<std::size_t>(wanted * spec.logits)};
  }

  void finish() {
    if (const std::optional<std::string> problem = backend.finish()) throw Error(*problem);
  }

  // ---- Encoders, features, pooling --------------------------------------------------------------

  std::span<const float> encode(state::SequenceState& sequence,
                                std::span<const std::int32_t> tokens) {
    if (!spec.encoder) throw Error("this model has no encoder", "use a T5 model");
    const auto count = static_cast<std::int64_t>(tokens.size());
    if (count == 0) throw Error("an encoder needs at least one token");
    check_size(count);
    for (const std::int32_t token : tokens) check_token(token);
    sequence.set_encoder_length(count);
    try {
      return run_encoder(sequence, tokens);
    } catch (...) {
      sequence.forget_encoder();
      throw;
    }
  }

  std::span<const float> run_encoder(const state::SequenceState& sequence,
                                     std::span<const std::int32_t> tokens) {
    const auto count = static_cast<std::int64_t>(tokens.size());
    inputs.assign_encoder(sequence, tokens);
    const Arena::Scope scope(arena);
    Pass pass = inputs.begin(arena, count);
    pass.adapters = adapters;
    const Tensor stream = pass.scratch(spec.width);
    embed_tokens(pass, stream);
    run_stack(pass, spec.encoder->stack, stream, {});
    if (spec.encoder->norm) apply_norm(pass, *spec.encoder->norm, stream, stream);
    spec::for_each_body(spec, [&](const spec::Stack&, std::size_t, const spec::Body& body) {
      const auto* attention = std::get_if<spec::Attention>(&body);
      if (attention != nullptr && attention->key_source == spec::KeySource::kEncoder) {
        store_encoder_keys(pass, *attention, stream);
      }
    });
    other.resize(static_cast<std::size_t>(count * spec.width));
    backend.submit();
    backend.read(stream, other.data());
    finish();
    return other;
  }

  /// A pass of `rows` rows without sequences, for what only multiplies.
  Pass loose_pass(std::int64_t rows) {
    Pass pass = inputs.begin(arena, rows);
    pass.adapters = adapters;
    return pass;
  }

  std::span<const float> fuse_features(std::span<const float> features) {
    const spec::HiddenInput& input = *spec.embedding.hidden;
    const std::int64_t rows = static_cast<std::int64_t>(features.size()) / input.features.in;
    check_size(rows);
    const Arena::Scope scope(arena);
    Pass pass = loose_pass(rows);
    const Tensor x = pass.scratch(input.features.in);
    backend.write(x, features.data());
    if (input.features_norm) apply_norm(pass, *input.features_norm, x, x);
    const Tensor out = pass.scratch(spec.width);
    multiply(pass, x, {{&input.features, out}});
    other.resize(static_cast<std::size_t>(rows * spec.width));
    backend.submit();
    backend.read(out, other.data());
    finish();
    return other;
  }

  [[nodiscard]] std::int64_t pooled_width() const {
    const spec::Pooling& p = spec.pooling;
    if (p.classifier_output.present()) return p.classifier_output.out;
    if (p.classifier.present()) return p.classifier.out;
    return p.dense.empty() ? spec.width : p.dense.back().out;
  }

  /// The mean, first or last of the rows of one text.
  void pool_text(std::span<const float> states, PoolingKind kind, std::span<float> out) const {
    const auto width = static_cast<std::size_t>(spec.width);
    const std::size_t rows = states.size() / width;
    for (std::size_t i = 0; i < width; ++i) {
      if (kind == PoolingKind::kMean) {
        double sum = 0;
        for (std::size_t row = 0; row < rows; ++row) sum += states[row * width + i];
        out[i] = static_cast<float>(sum / static_cast<double>(rows));
      } else {
        out[i] = states[kind == PoolingKind::kLast ? (rows - 1) * width + i : i];
      }
    }
  }

  std::span<const float> pool(std::span<const float> states,
                              std::span<const std::int64_t> lengths) {
    const spec::Pooling& p = spec.pooling;
    const auto texts = static_cast<std::int64_t>(lengths.size());
    check_size(texts);
    std::vector<float> vectors(static_cast<std::size_t>(texts * spec.width));
    const auto width = static_cast<std::size_t>(spec.width);
    const PoolingKind kind = p.kind == PoolingKind::kRank ? p.rank_from : p.kind;
    std::size_t row = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      const auto rows = static_cast<std::size_t>(lengths[i]);
      pool_text(states.subspan(row * width, rows * width), kind,
                std::span<float>(vectors).subspan(i * width, width));
      row += rows;
    }
    const Arena::Scope scope(arena);
    Pass pass = loose_pass(texts);
    Tensor x = pass.scratch(spec.width);
    backend.write(x, vectors.data());
    const auto through = [&](const spec::Linear& linear) {
      const Tensor out = pass.scratch(linear.out);
      multiply(pass, x, {{&linear, out}});
      x = out;
    };
    for (const spec::Linear& dense : p.dense) through(dense);
    if (p.classifier.present()) {
      through(p.classifier);
      backend.activate(p.classifier_activation, x, x);
      if (p.classifier_norm) apply_norm(pass, *p.classifier_norm, x, x);
    }
    if (p.classifier_output.present()) through(p.classifier_output);
    other.resize(static_cast<std::size_t>(texts * x.shape[1]));
    backend.submit();
    backend.read(x, other.data());
    finish();
    return other;
  }
};

Runner::Runner(const spec::ModelSpec& spec, const Weights& weights, compute::Backend& backend,
               const state::MemoryPool& memory, const RunnerLimits& limits, std::size_t arena_bytes)
    : impl_(std::make_unique<Impl>(spec, weights, backend, memory, limits, arena_bytes)) {}

Runner::~Runner() = default;

std::span<const float> Runner::run(std::span<const BatchRow> rows) { return impl_->run(rows); }

std::span<const float> Runner::hidden() const noexcept {
  return {impl_->hidden.get(),
          static_cast<std::size_t>(impl_->hidden_count * impl_->hidden_width())};
}

std::int64_t Runner::hidden_width() const noexcept { return impl_->hidden_width(); }

std::span<const float> Runner::encode(state::SequenceState& sequence,
                                      std::span<const std::int32_t> tokens) {
  return impl_->encode(sequence, tokens);
}

std::span<const float> Runner::fuse_features(std::span<const float> features) {
  return impl_->fuse_features(features);
}

std::span<const float> Runner::pool(std::span<const float> states,
                                    std::span<const std::int64_t> lengths) {
  return impl_->pool(states, lengths);
}

std::int64_t Runner::pooled_width() const noexcept { return impl_->pooled_width(); }

void Runner::set_adapters(const AdapterSet* adapters) noexcept { impl_->adapters = adapters; }

void Runner::check_between_layers(std::function<void()> check) {
  impl_->between_layers = std::move(check);
}

void Runner::grow_arena(std::size_t bytes) { impl_->grow_arena(bytes); }

std::size_t Runner::arena_bytes() const noexcept { return impl_->arena_buffer->size(); }

const RunnerLimits& Runner::limits() const noexcept { return impl_->limits; }

std::size_t Runner::arena_high_water() const noexcept { return impl_->arena.high_water(); }

}  // namespace hearth::model
