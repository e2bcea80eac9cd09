#include "model/pass_inputs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {

using compute::MemoryCategory;
using spec::Window;
using spec::WindowKind;
using tensor::DType;
using tensor::Tensor;

namespace {

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

/// Bucket of a distance key - query (T5, Raffel et al. 2020, arXiv:1910.10683; classic.md).
std::int64_t relative_bucket(const spec::RelativeBias& bias, std::int64_t distance) {
  std::int64_t buckets = bias.buckets;
  std::int64_t first = 0;
  if (bias.bidirectional) {
    buckets /= 2;
    first = distance > 0 ? buckets : 0;
    distance = std::abs(distance);
  } else {
    distance = std::max<std::int64_t>(0, -distance);
  }
  const std::int64_t exact = buckets / 2;
  if (distance < exact) return first + distance;
  // Single precision, as the weights were trained with.
  const float ratio = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                      std::log(static_cast<float>(bias.max_distance) / static_cast<float>(exact));
  const auto beyond = static_cast<std::int64_t>(static_cast<float>(exact) +
                                                ratio * static_cast<float>(buckets - exact));
  return first + std::min(buckets - 1, beyond);
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

std::int32_t narrow(std::int64_t value) { return static_cast<std::int32_t>(value); }

}  // namespace

PassInputs::PassInputs(const spec::ModelSpec& spec, const Weights& weights,
                       compute::Backend& backend, const state::MemoryPool& memory,
                       const RunnerLimits& limits)
    : spec_(spec), weights_(weights), backend_(backend), memory_(memory), limits_(limits) {
  spec::for_each_body(spec, [this](const spec::Stack&, std::size_t, const spec::Body& body) {
    std::visit([this](const auto& concrete) { plan(concrete); }, body);
  });
  make_index_tensors();
}

int PassInputs::rope_index(const std::optional<spec::Rope>& rope) {
  return rope ? index_of(ropes_, RopeKind{rope->angles, rope->factors}) : -1;
}

void PassInputs::plan(const spec::Attention& attention) {
  AttentionPlan result;
  result.window = index_of(windows_, attention.window);
  result.rope_table = rope_index(attention.rope);
  if (attention.temperature) result.temperature = index_of(temperatures_, *attention.temperature);
  if (attention.max_alibi_bias > 0) {
    const std::vector<float> slopes = alibi_slopes(attention.heads, attention.max_alibi_bias);
    result.slopes = constant(DType::kF32, {attention.heads});
    backend_.write(result.slopes, slopes.data());
  }
  if (attention.relative_bias) {
    result.distance_bias = distance_bias(*attention.relative_bias, attention.heads);
  }
  plans_.push_back(result);
  plan_reading(attention.memory, 0);
}

void PassInputs::plan(const spec::LatentAttention& attention) {
  AttentionPlan result;
  result.window = index_of(windows_, Window{});
  result.rope_table = rope_index(attention.rope);
  if (attention.indexer) {
    result.indexer_rope_table = rope_index(attention.indexer->rope);
    selected_ = attention.indexer->top_k;
  }
  if (attention.temperature) result.temperature = index_of(temperatures_, *attention.temperature);
  plans_.push_back(result);
  plan_reading(attention.memory, kAbsorbedRows);
}

void PassInputs::plan_reading(spec::MemoryIndex memory, std::int64_t rows_at_once) {
  if (memory < 0) return;
  if (const auto framed = memory_.framed(memory)) readings_.push_back({*framed, rows_at_once});
}

void PassInputs::plan(const spec::CompressedAttention& attention) {
  AttentionPlan result;
  result.window = index_of(windows_, Window{WindowKind::kSliding, attention.window});
  result.rope_table = rope_index(attention.rope);
  plans_.push_back(result);
  if (attention.ratio == 0) return;
  const bool known = std::any_of(staged_blocks_.begin(), staged_blocks_.end(),
                                 [&](const auto& b) { return b.ratio == attention.ratio; });
  if (!known) staged_blocks_.emplace_back().ratio = attention.ratio;
}

Tensor PassInputs::distance_bias(const spec::RelativeBias& bias, std::int64_t heads) {
  std::vector<float> table(static_cast<std::size_t>(bias.buckets * heads));  // [buckets, heads]
  backend_.read(weights_.vector(bias.table), table.data());
  const std::int64_t reach = bias.max_distance;
  std::vector<float> values;
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t distance = -reach; distance <= reach; ++distance) {
      const std::int64_t bucket = relative_bucket(bias, distance);
      values.push_back(table[static_cast<std::size_t>(bucket * heads + head)]);
    }
  }
  const Tensor result = constant(DType::kF32, {heads, 2 * reach + 1});
  backend_.write(result, values.data());
  return result;
}

Tensor PassInputs::constant(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor tensor = Tensor::contiguous(nullptr, 0, dtype, shape);
  const std::size_t bytes = tensor::row_bytes(dtype, static_cast<std::size_t>(tensor.elements()));
  buffers_.push_back(backend_.allocate(bytes, MemoryCategory::kBuffers));
  tensor.buffer = buffers_.back().get();
  return tensor;
}

void PassInputs::make_index_tensors() {
  const std::int64_t rows = limits_.batch_rows;
  for (Staged<std::int32_t>* staged : {&ids_, &positions_, &row_sequence_, &row_cell_, &row_slot_})
    stage(*staged, DType::kI32, rows);
  const bool multi_axis =
      std::any_of(ropes_.begin(), ropes_.end(), [](const RopeKind& r) { return r.multi_axis(); });
  if (multi_axis) stage(axis_positions_, DType::kI32, rows, 4);
  stage(segment_begin_, DType::kI32, limits_.sequences + 1);
  stage(segment_slot_, DType::kI32, limits_.sequences);
  if (spec_.encoder) {
    stage(encoder_begin_, DType::kI32, rows);
    stage(encoder_end_, DType::kI32, rows);
  }
  for (std::size_t g = 0; g < memory_.groups().size(); ++g) {
    const std::int64_t pages =
        (memory_.cells(g, memory_.limits().context) + state::kPageCells - 1) / state::kPageCells;
    stage(page_tables_.emplace_back(), DType::kI32, limits_.sequences,
          std::max<std::int64_t>(1, pages));
  }
  tables_.resize(page_tables_.size());
  staged_windows_.resize(windows_.size());
  for (StagedWindow& window : staged_windows_) {
    for (Staged<std::int32_t>* staged :
         {&window.begin, &window.end, &window.batch_begin, &window.batch_end})
      stage(*staged, DType::kI32, rows);
  }
  for (StagedBlocks& blocks : staged_blocks_) {
    for (Staged<std::int32_t>* staged : {&blocks.sequence, &blocks.block, &blocks.position,
                                         &blocks.visible_begin, &blocks.visible_end})
      stage(*staged, DType::kI32, rows);
  }
  staged_temperatures_.resize(temperatures_.size());
  for (Staged<float>& staged : staged_temperatures_) stage(staged, DType::kF32, rows);

  const std::int64_t pages = (rows + state::kPageCells - 1) / state::kPageCells;
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(std::max<std::int64_t>(rows, 1024)));
  zeros_ = constant(DType::kI32, {rows});
  backend_.write(zeros_, numbers.data());
  std::iota(numbers.begin(), numbers.end(), 0);
  iota_ = constant(DType::kI32, {static_cast<std::int64_t>(numbers.size())});
  backend_.write(iota_, numbers.data());
  batch_pages_ = constant(DType::kI32, {1, pages});
  backend_.write(batch_pages_, numbers.data());

  pass_groups_.resize(page_tables_.size());
  pass_windows_.resize(windows_.size());
  pass_batch_windows_.resize(windows_.size());
  pass_blocks_.resize(staged_blocks_.size());
  pass_ropes_.resize(ropes_.size());
  pass_temperatures_.resize(temperatures_.size());
}

void PassInputs::check_positions(const state::SequenceState& sequence,
                                 std::int64_t new_cells) const {
  const std::int64_t end = sequence.next_position() + new_cells;
  if (sequence.first_position() < 0 || end > std::numeric_limits<std::int32_t>::max()) {
    throw Error("positions from " + std::to_string(sequence.first_position()) + " to " +
                    std::to_string(end) + " cannot be represented",
                "begin at a smaller position");
  }
  if (spec_.position_limit > 0 && end > spec_.position_limit) {
    throw Error("the model knows only " + std::to_string(spec_.position_limit) + " positions",
                "shorten the text");
  }
  if (!spec_.causal && sequence.length() > 0) {
    throw Error("this model reads whole texts: it cannot go on with one",
                "give it the whole text at once");
  }
}

void PassInputs::assign(std::span<const BatchRow> rows) {
  std::size_t done = 0;
  segments_ = 0;
  all_new_ = true;
  for (StagedBlocks& blocks : staged_blocks_) blocks.count = 0;
  try {
    while (done < rows.size()) {
      state::SequenceState& sequence = *rows[done].sequence;
      std::size_t end = done;
      while (end < rows.size() && rows[end].sequence == &sequence) ++end;
      all_new_ = all_new_ && sequence.length() == 0;
      check_positions(sequence, static_cast<std::int64_t>(end - done));
      const std::int64_t before = sequence.length();
      sequence.grow(static_cast<std::int64_t>(end - done));
      const std::size_t begin = done;
      done = end;
      segment_begin_.host[static_cast<std::size_t>(segments_)] =
          narrow(static_cast<std::int64_t>(begin));
      segment_slot_.host[static_cast<std::size_t>(segments_)] = sequence.state_slot();
      for (std::size_t i = begin; i < end; ++i) {
        fill_row(i, rows[i], narrow(segments_), sequence,
                 before + static_cast<std::int64_t>(i - begin), begin);
      }
      row_slot_.host[end - 1] = sequence.next_slot();
      ++segments_;
      segment_begin_.host[static_cast<std::size_t>(segments_)] =
          narrow(static_cast<std::int64_t>(end));
    }
    locate_pages(rows);
  } catch (...) {
    forget(rows.first(done));
    throw;
  }
}

/// Where the pages of all sequences are: only known when all have grown, since room for the pages
/// of one is made by moving those of others to the disk. What is there begins to be read.
void PassInputs::locate_pages(std::span<const BatchRow> rows) {
  state::PageStream* const stream = memory_.stream();
  if (stream != nullptr) stream->begin();
  const auto begin_of = [this](std::int64_t segment) {
    return segment_begin_.host[static_cast<std::size_t>(segment)];
  };
  for (std::int64_t segment = 0; segment < segments_; ++segment) {
    if (stream != nullptr) stream->add_segment(begin_of(segment), begin_of(segment + 1));
    fill_pages(narrow(segment), *rows[static_cast<std::size_t>(begin_of(segment))].sequence);
  }
  if (stream == nullptr) return;
  const auto count = static_cast<std::int64_t>(rows.size());
  for (const Reading& reading : readings_) {
    const std::int64_t at_once = reading.rows_at_once > 0 ? reading.rows_at_once : count;
    for (std::int64_t first = 0; first < count; first += at_once)
      stream->read(reading.memory, first, std::min(count, first + at_once));
  }
  stream->start();
}

void PassInputs::fill_pages(std::int32_t index, const state::SequenceState& sequence) {
  for (std::size_t g = 0; g < page_tables_.size(); ++g) {
    Staged<std::int32_t>& table = page_tables_[g];
    const auto pages = static_cast<std::size_t>(table.device.shape[1]);
    tables_[g] = std::span(table.host).subspan(static_cast<std::size_t>(index) * pages, pages);
  }
  memory_.plan_segment(sequence, tables_);
}

void PassInputs::fill_position(std::size_t i, const BatchRow& row, std::int64_t position) {
  positions_.host[i] = narrow(position);
  if (!axis_positions_.device) return;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    const std::int32_t given = row.axes != nullptr && axis < 3 ? row.axes[axis] : narrow(position);
    axis_positions_.host[4 * i + axis] = axis < 3 ? given : 0;
  }
}

void PassInputs::fill_row(std::size_t i, const BatchRow& row, std::int32_t index,
                          state::SequenceState& sequence, std::int64_t cell,
                          std::size_t segment_begin) {
  // The sequence has already grown: rows still to come are behind the next position.
  const std::int64_t ahead = sequence.length() - cell;
  std::int64_t position = sequence.next_position() - ahead;
  if (row.axes != nullptr) {
    position = row.axes[0];
    sequence.set_position(cell + 1, 1 + std::max({row.axes[0], row.axes[1], row.axes[2]}));
  }
  fill_position(i, row, position);
  ids_.host[i] = row.token;
  row_sequence_.host[i] = index;
  row_cell_.host[i] = narrow(cell);
  row_slot_.host[i] = -1;
  const std::int64_t batch_offset = static_cast<std::int64_t>(segment_begin) -
                                    (cell - static_cast<std::int64_t>(i - segment_begin));
  for (std::size_t w = 0; w < windows_.size(); ++w) {
    const CellRange range = visible_cells(windows_[w], sequence, cell);
    StagedWindow& staged = staged_windows_[w];
    staged.begin.host[i] = narrow(range.begin);
    staged.end.host[i] = narrow(range.end);
    staged.batch_begin.host[i] =
        narrow(std::max(range.begin + batch_offset, static_cast<std::int64_t>(segment_begin)));
    staged.batch_end.host[i] = narrow(range.end + batch_offset);
  }
  for (StagedBlocks& blocks : staged_blocks_) {
    blocks.visible_begin.host[i] = 0;
    blocks.visible_end.host[i] = narrow((cell + 1) / blocks.ratio);
    if ((cell + 1) % blocks.ratio != 0) continue;
    const auto n = static_cast<std::size_t>(blocks.count++);
    const std::int64_t block = cell / blocks.ratio;
    blocks.sequence.host[n] = index;
    blocks.block.host[n] = narrow(block);
    blocks.position.host[n] = narrow(sequence.first_position() + block * blocks.ratio);
  }
  for (std::size_t t = 0; t < temperatures_.size(); ++t) {
    const spec::QueryTemperature& temperature = temperatures_[t];
    const std::int64_t steps = (position + temperature.offset) / temperature.interval;
    staged_temperatures_[t].host[i] =
        1.0F + temperature.beta * std::log1p(static_cast<float>(steps));
  }
  if (spec_.encoder) {
    encoder_begin_.host[i] = 0;
    encoder_end_.host[i] = narrow(std::max<std::int64_t>(1, sequence.encoder_length()));
  }
}

void PassInputs::assign_encoder(const state::SequenceState& sequence,
                                std::span<const std::int32_t> tokens) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  segments_ = 1;
  all_new_ = true;
  for (StagedBlocks& blocks : staged_blocks_) blocks.count = 0;
  fill_pages(0, sequence);
  segment_begin_.host[0] = 0;
  segment_begin_.host[1] = narrow(count);
  segment_slot_.host[0] = -1;
  for (std::int64_t t = 0; t < count; ++t) {
    const auto i = static_cast<std::size_t>(t);
    fill_position(i, {}, t);
    ids_.host[i] = tokens[i];
    row_sequence_.host[i] = 0;
    row_cell_.host[i] = narrow(t);
    row_slot_.host[i] = -1;
    encoder_begin_.host[i] = 0;
    encoder_end_.host[i] = narrow(count);
    for (std::size_t w = 0; w < windows_.size(); ++w) {
      const bool symmetric = windows_[w].kind == WindowKind::kSymmetric;
      const std::int64_t reach = symmetric ? windows_[w].size / 2 : count;
      StagedWindow& staged = staged_windows_[w];
      staged.batch_begin.host[i] = narrow(std::max<std::int64_t>(0, t - reach));
      staged.batch_end.host[i] = narrow(std::min(count, t + reach + 1));
      staged.begin.host[i] = staged.batch_begin.host[i];
      staged.end.host[i] = staged.batch_end.host[i];
    }
  }
}

Pass PassInputs::begin(tensor::Arena& arena, std::int64_t rows) {
  const Tensor sequence = row_sequence_.upload(backend_, rows);
  const Tensor cell = row_cell_.upload(backend_, rows);
  Pass pass{.backend = backend_,
            .weights = weights_,
            .arena = arena,
            .memory = memory_,
            .spec = spec_,
            .rows = rows,
            .tokens = ids_.upload(backend_, rows),
            .positions = positions_.upload(backend_, rows)};
  for (std::size_t g = 0; g < pass_groups_.size(); ++g) {
    pass_groups_[g] = {page_tables_[g].upload(backend_, limits_.sequences), sequence, cell};
    if (memory_.groups()[g].encoder) {
      pass.encoder_cells = pass_groups_[g];
      pass.encoder_range = {encoder_begin_.upload(backend_, rows),
                            encoder_end_.upload(backend_, rows)};
    }
  }
  for (std::size_t w = 0; w < pass_windows_.size(); ++w) {
    const StagedWindow& staged = staged_windows_[w];
    pass_windows_[w] = {staged.begin.upload(backend_, rows), staged.end.upload(backend_, rows)};
    pass_batch_windows_[w] = {staged.batch_begin.upload(backend_, rows),
                              staged.batch_end.upload(backend_, rows)};
  }
  for (std::size_t b = 0; b < pass_blocks_.size(); ++b) {
    const StagedBlocks& staged = staged_blocks_[b];
    pass_blocks_[b] = {
        staged.ratio,
        staged.count,
        staged.sequence.upload(backend_, staged.count),
        staged.block.upload(backend_, staged.count),
        staged.position.upload(backend_, staged.count),
        {staged.visible_begin.upload(backend_, rows), staged.visible_end.upload(backend_, rows)}};
  }
  for (std::size_t t = 0; t < pass_temperatures_.size(); ++t) {
    pass_temperatures_[t] = staged_temperatures_[t].upload(backend_, rows);
  }
  for (std::size_t r = 0; r < ropes_.size(); ++r) {
    const RopeKind& kind = ropes_[r];
    pass_ropes_[r] = arena.allocate(DType::kF32, {rows, kind.angles.rotated / 2, 2});
    backend_.rope_table(kind.angles,
                        kind.multi_axis() ? axis_positions_.upload(backend_, rows) : pass.positions,
                        weights_.vector(kind.factors), pass_ropes_[r]);
  }
  pass.groups = pass_groups_;
  pass.batch_cells = {batch_pages_, zeros_.rows(0, rows), iota_.rows(0, rows)};
  pass.batch_pages = (rows + state::kPageCells - 1) / state::kPageCells;
  pass.windows = pass_windows_;
  pass.batch_windows = pass_batch_windows_;
  pass.all_new = all_new_;
  pass.rope_tables = pass_ropes_;
  pass.temperatures = pass_temperatures_;
  pass.attentions = plans_;
  pass.completed = pass_blocks_;
  pass.recurrent = {segment_begin_.upload(backend_, segments_ + 1),
                    segment_slot_.upload(backend_, segments_), row_slot_.upload(backend_, rows)};
  pass.iota_row = iota_;
  // Layers may reuse the choice of the layer before. Without more cells there is nothing to choose.
  if (selected_ > 0 && selected_ < memory_.limits().context) {
    pass.selected_cells = arena.allocate(DType::kI32, {rows, selected_});
  }
  return pass;
}

}  // namespace hearth::model
