#include "model/runner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "model/layers/pass.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {

using compute::MemoryCategory;
using spec::Window;
using spec::WindowKind;
using tensor::Arena;
using tensor::Buffer;
using tensor::DType;
using tensor::Tensor;

namespace {

/// Angles of rotary embedding that at least one layer uses.
struct RopeKind {
  spec::RopeAngles angles;
  std::string factors;
  bool operator==(const RopeKind&) const = default;
  [[nodiscard]] bool multi_axis() const {
    return angles.sections[0] + angles.sections[1] + angles.sections[2] > 0;
  }
};

template <class Value>
int index_of(std::vector<Value>& values, const Value& value) {
  const auto found = std::find(values.begin(), values.end(), value);
  if (found != values.end()) return static_cast<int>(found - values.begin());
  values.push_back(value);
  return static_cast<int>(values.size()) - 1;
}

/// ALiBi slopes (Press et al. 2022, arXiv:2108.12409), extended to head counts that are no power of
/// two: blocks.md section 3.
std::vector<float> alibi_slopes(std::int64_t heads, double max_bias) {
  const double power = std::exp2(std::floor(std::log2(static_cast<double>(heads))));
  std::vector<float> slopes;
  for (std::int64_t h = 0; h < heads; ++h) {
    const auto head = static_cast<double>(h);
    const double exponent = head < power ? -max_bias / power * (head + 1)
                                         : -max_bias / (2 * power) * (2 * (head - power) + 1);
    slopes.push_back(static_cast<float>(std::exp2(exponent)));
  }
  return slopes;
}

struct CellRange {
  std::int64_t begin, end;
};

/// Cells that the row in `cell` of a sequence sees (blocks.md section 3.1).
CellRange visible_cells(const Window& window, const state::SequenceState& sequence,
                        std::int64_t cell) {
  const auto from = [](std::int64_t first) { return std::max<std::int64_t>(0, first); };
  switch (window.kind) {
    case WindowKind::kFull:
      return {0, cell + 1};
    case WindowKind::kSliding:
      return {from(cell - window.size + 1), cell + 1};
    case WindowKind::kChunked: {
      const std::int64_t position = sequence.first_position() + cell;
      return {from(position / window.size * window.size - sequence.first_position()), cell + 1};
    }
    case WindowKind::kSymmetric:
      return {from(cell - window.size / 2),
              std::min(sequence.length(), cell + window.size / 2 + 1)};
    case WindowKind::kEverything:
      return {0, sequence.length()};
  }
  return {0, cell + 1};
}

/// A tensor on the backend with its staging copy on the host; filled anew each pass.
template <class Element>
struct Staged {
  std::vector<Element> host;
  Tensor device;

  Tensor upload(compute::Backend& backend, std::int64_t rows) {
    const Tensor view = device.rows(0, rows);
    backend.write(view, host.data());
    return view;
  }
};

}  // namespace

void forget(std::span<const BatchRow> rows) noexcept {
  for (const BatchRow& row : rows) row.sequence->truncate(row.sequence->length() - 1);
}

struct Runner::Impl {
  const spec::ModelSpec& spec;
  const Weights& weights;
  compute::Backend& backend;
  const state::KvPool& pool;
  RunnerLimits limits;

  std::vector<Window> windows;
  std::vector<RopeKind> ropes;
  std::vector<spec::QueryTemperature> temperatures;
  std::vector<AttentionPlan> plans;

  std::vector<std::unique_ptr<Buffer>>
      buffers;  // the arena's first, then small constant and index tensors
  std::unique_ptr<Arena> arena;
  Staged<std::int32_t> ids, positions, axis_positions, row_sequence, row_cell, page_table,
      logit_rows;
  struct StagedWindow {
    Staged<std::int32_t> begin, end;
  };
  std::vector<StagedWindow> staged_windows;
  std::vector<Staged<float>> staged_temperatures;
  std::vector<WindowRange> pass_windows;
  std::vector<Tensor> pass_ropes, pass_temperatures;
  std::unique_ptr<float[]> logits;  // not touched before the first result: a plan costs no memory

  Impl(const spec::ModelSpec& spec_, const Weights& weights_, compute::Backend& backend_,
       const state::KvPool& pool_, const RunnerLimits& limits_, std::size_t arena_bytes)
      : spec(spec_), weights(weights_), backend(backend_), pool(pool_), limits(limits_) {
    buffers.push_back(backend.allocate(arena_bytes, MemoryCategory::kBuffers));
    arena = std::make_unique<Arena>(*buffers[0]);
    for (const spec::Attention* attention : spec::attentions_of(spec)) plan(*attention);
    make_index_tensors();
    logits = std::make_unique_for_overwrite<float[]>(
        static_cast<std::size_t>(limits.logit_rows * spec.vocabulary));
  }

  void plan(const spec::Attention& attention) {
    AttentionPlan result;
    result.window = index_of(windows, attention.window);
    if (attention.rope) {
      result.rope_table =
          index_of(ropes, RopeKind{attention.rope->angles, attention.rope->factors});
    }
    if (attention.temperature) result.temperature = index_of(temperatures, *attention.temperature);
    if (attention.max_alibi_bias > 0) {
      const std::vector<float> slopes = alibi_slopes(attention.heads, attention.max_alibi_bias);
      result.slopes = constant(DType::kF32, {attention.heads});
      backend.write(result.slopes, slopes.data());
    }
    plans.push_back(result);
  }

  Tensor constant(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor tensor = Tensor::contiguous(nullptr, 0, dtype, shape);
    const std::size_t bytes = tensor::row_bytes(dtype, static_cast<std::size_t>(tensor.elements()));
    buffers.push_back(backend.allocate(bytes, MemoryCategory::kBuffers));
    tensor.buffer = buffers.back().get();
    return tensor;
  }

  template <class Element>
  void stage(Staged<Element>& staged, DType dtype, std::int64_t rows, std::int64_t columns = 0) {
    staged.device = columns > 0 ? constant(dtype, {rows, columns}) : constant(dtype, {rows});
    staged.host.resize(static_cast<std::size_t>(staged.device.elements()));
  }

  void make_index_tensors() {
    const std::int64_t rows = limits.batch_rows;
    for (Staged<std::int32_t>* staged : {&ids, &positions, &row_sequence, &row_cell})
      stage(*staged, DType::kI32, rows);
    stage(logit_rows, DType::kI32, limits.logit_rows);
    const bool multi_axis =
        std::any_of(ropes.begin(), ropes.end(), [](const RopeKind& r) { return r.multi_axis(); });
    if (multi_axis) stage(axis_positions, DType::kI32, rows, 4);
    const std::int64_t pages = (limits.context + state::kPageCells - 1) / state::kPageCells;
    stage(page_table, DType::kI32, limits.sequences, pages);
    staged_windows.resize(windows.size());
    for (StagedWindow& window : staged_windows) {
      stage(window.begin, DType::kI32, rows);
      stage(window.end, DType::kI32, rows);
    }
    staged_temperatures.resize(temperatures.size());
    for (Staged<float>& staged : staged_temperatures) stage(staged, DType::kF32, rows);
    pass_windows.resize(windows.size());
    pass_ropes.resize(ropes.size());
    pass_temperatures.resize(temperatures.size());
  }

  /// Throws before anything has changed.
  void check(std::span<const BatchRow> rows) const {
    std::int64_t wanted = 0;
    int sequences = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].token < 0 || rows[i].token >= spec.vocabulary) {
        throw Error("token id " + std::to_string(rows[i].token) + " is outside the vocabulary of " +
                        std::to_string(spec.vocabulary),
                    "use ids that `hearth tokenize` gives for this model");
      }
      wanted += rows[i].wants_logits ? 1 : 0;
      sequences += i == 0 || rows[i].sequence != rows[i - 1].sequence ? 1 : 0;
    }
    if (static_cast<std::int64_t>(rows.size()) > limits.batch_rows || wanted > limits.logit_rows ||
        sequences > limits.sequences) {
      throw Error(
          "a batch of " + std::to_string(rows.size()) + " rows is larger than what was set up",
          "this is a bug in Hearth: please report it");
    }
  }

  void check_positions(const state::SequenceState& sequence, std::int64_t new_cells) const {
    const std::int64_t end = sequence.next_position() + new_cells;
    if (sequence.first_position() < 0 || end > std::numeric_limits<std::int32_t>::max()) {
      throw Error("positions from " + std::to_string(sequence.first_position()) + " to " +
                      std::to_string(end) + " cannot be represented",
                  "begin at a smaller position");
    }
    if (spec.position_limit > 0 && end > spec.position_limit) {
      throw Error("the model knows only " + std::to_string(spec.position_limit) + " positions",
                  "shorten the text");
    }
  }

  /// Gives every row its cell and fills the staging copies of all index tensors. Strong guarantee.
  void assign_cells(std::span<const BatchRow> rows) {
    std::size_t done = 0;
    std::int32_t sequence_index = 0;
    try {
      while (done < rows.size()) {
        state::SequenceState& sequence = *rows[done].sequence;
        std::size_t end = done;
        while (end < rows.size() && rows[end].sequence == &sequence) ++end;
        const std::int64_t first_cell = sequence.length();
        check_positions(sequence, static_cast<std::int64_t>(end - done));
        sequence.grow(static_cast<std::int64_t>(end - done));
        const auto table = static_cast<std::size_t>(sequence_index * page_table.device.shape[1]);
        std::copy(sequence.pages().begin(), sequence.pages().end(),
                  page_table.host.begin() + static_cast<std::ptrdiff_t>(table));
        for (std::size_t i = done; i < end; ++i) {
          fill_row(i, rows[i].token, sequence_index, sequence,
                   first_cell + static_cast<std::int64_t>(i - done));
        }
        done = end;
        ++sequence_index;
      }
    } catch (...) {
      forget(rows.first(done));
      throw;
    }
  }

  void fill_row(std::size_t i, std::int32_t token, std::int32_t sequence_index,
                const state::SequenceState& sequence, std::int64_t cell) {
    const auto position = static_cast<std::int32_t>(sequence.first_position() + cell);
    ids.host[i] = token;
    positions.host[i] = position;
    row_sequence.host[i] = sequence_index;
    row_cell.host[i] = static_cast<std::int32_t>(cell);
    if (axis_positions.device) {
      for (std::size_t axis = 0; axis < 4; ++axis)
        axis_positions.host[4 * i + axis] = axis < 3 ? position : 0;
    }
    for (std::size_t w = 0; w < windows.size(); ++w) {
      const CellRange range = visible_cells(windows[w], sequence, cell);
      staged_windows[w].begin.host[i] = static_cast<std::int32_t>(range.begin);
      staged_windows[w].end.host[i] = static_cast<std::int32_t>(range.end);
    }
    for (std::size_t t = 0; t < temperatures.size(); ++t) {
      const spec::QueryTemperature& temperature = temperatures[t];
      const std::int64_t steps = (position + temperature.offset) / temperature.interval;
      staged_temperatures[t].host[i] =
          1.0F + temperature.beta * std::log1p(static_cast<float>(steps));
    }
  }

  /// Everything that all layers share, made once per pass.
  Pass begin_pass(std::int64_t rows) {
    const compute::KvRows kv_rows{page_table.upload(backend, limits.sequences),
                                  row_sequence.upload(backend, rows),
                                  row_cell.upload(backend, rows)};
    for (std::size_t w = 0; w < windows.size(); ++w) {
      pass_windows[w] = {staged_windows[w].begin.upload(backend, rows),
                         staged_windows[w].end.upload(backend, rows)};
    }
    for (std::size_t t = 0; t < temperatures.size(); ++t) {
      pass_temperatures[t] = staged_temperatures[t].upload(backend, rows);
    }
    const Tensor row_positions = positions.upload(backend, rows);
    for (std::size_t r = 0; r < ropes.size(); ++r) {
      const RopeKind& kind = ropes[r];
      pass_ropes[r] = arena->allocate(DType::kF32, {rows, kind.angles.rotated / 2, 2});
      backend.rope_table(kind.angles,
                         kind.multi_axis() ? axis_positions.upload(backend, rows) : row_positions,
                         weights.vector(kind.factors), pass_ropes[r]);
    }
    return Pass{backend,    weights,           *arena, pool, rows, kv_rows, pass_windows,
                pass_ropes, pass_temperatures, plans,  0};
  }

  Tensor embed(Pass& pass, const Tensor& row_positions) {
    const Tensor stream = pass.scratch(spec.width);
    backend.get_rows(weights.matrix(spec.embedding.tokens), ids.upload(backend, pass.rows),
                     spec.embedding.scale, stream);
    if (!spec.embedding.positions.empty()) {
      const Arena::Scope scope(*arena);
      const Tensor learned = pass.scratch(spec.width);
      backend.get_rows(weights.matrix(spec.embedding.positions), row_positions, 1.0F, learned);
      backend.add(stream, learned, 1.0F, stream);
    }
    if (spec.embedding.norm) apply_norm(pass, *spec.embedding.norm, stream, stream);
    return stream;
  }

  /// Logits of the `wanted` rows listed in logit_rows.
  void run_head(const Pass& pass, const Tensor& stream, std::int64_t wanted) {
    const Arena::Scope scope(*arena);
    Tensor hidden = arena->allocate(DType::kF32, {wanted, spec.width});
    backend.gather(stream, logit_rows.upload(backend, wanted), hidden);
    if (spec.head.norm) apply_norm(pass, *spec.head.norm, hidden, hidden);
    const Tensor out = arena->allocate(DType::kF32, {wanted, spec.vocabulary});
    const compute::Projection linear = projection(pass, spec.head.linear, out);
    backend.matmul(hidden, {&linear, 1});
    if (spec.head.scale != 1.0F) backend.scale(out, spec.head.scale, out);
    if (spec.head.softcap > 0) backend.softcap(out, spec.head.softcap);
    backend.submit();
    backend.read(out, logits.get());
  }

  std::span<const float> run(std::span<const BatchRow> rows) {
    check(rows);
    if (rows.empty()) return {};
    assign_cells(rows);
    try {
      return evaluate(rows);
    } catch (...) {
      forget(rows);
      throw;
    }
  }

  std::span<const float> evaluate(std::span<const BatchRow> rows) {
    const Arena::Scope scope(*arena);
    Pass pass = begin_pass(static_cast<std::int64_t>(rows.size()));
    const Tensor stream = embed(pass, positions.device.rows(0, pass.rows));
    for (const spec::Stack& stack : spec.stacks) {
      for (const spec::Layer& layer : stack.layers) {
        for (const spec::Sublayer& sublayer : layer.sublayers) run_sublayer(pass, sublayer, stream);
      }
    }
    std::int64_t wanted = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].wants_logits)
        logit_rows.host[static_cast<std::size_t>(wanted++)] = static_cast<std::int32_t>(i);
    }
    if (wanted > 0) run_head(pass, stream, wanted);
    if (const std::optional<std::string> problem = backend.finish()) throw Error(*problem);
    return {logits.get(), static_cast<std::size_t>(wanted * spec.vocabulary)};
  }
};

Runner::Runner(const spec::ModelSpec& spec, const Weights& weights, compute::Backend& backend,
               const state::KvPool& pool, const RunnerLimits& limits, std::size_t arena_bytes)
    : impl_(std::make_unique<Impl>(spec, weights, backend, pool, limits, arena_bytes)) {}

Runner::~Runner() = default;

std::span<const float> Runner::run(std::span<const BatchRow> rows) { return impl_->run(rows); }

const RunnerLimits& Runner::limits() const noexcept { return impl_->limits; }

std::size_t Runner::arena_high_water() const noexcept { return impl_->arena->high_water(); }

}  // namespace hearth::model
