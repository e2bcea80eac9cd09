#include "measure/made_past.h"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace hearth::measure {

using compute::KvPart;
using compute::MemoryCategory;
using tensor::DType;
using tensor::Tensor;

namespace {

/// A tensor of its own.
class Made {
 public:
  Made(compute::Backend& backend, DType dtype, std::initializer_list<std::int64_t> shape)
      : tensor_(Tensor::contiguous(nullptr, 0, dtype, shape)) {
    const auto elements = static_cast<std::size_t>(tensor_.elements());
    buffer_ = backend.allocate(tensor::row_bytes(dtype, elements), MemoryCategory::kBuffers);
    tensor_.buffer = buffer_.get();
  }
  [[nodiscard]] const Tensor& operator*() const noexcept { return tensor_; }

 private:
  std::unique_ptr<tensor::Buffer> buffer_;
  Tensor tensor_;
};

/// Fills the cells of one pass.
class PastMaker {
 public:
  PastMaker(compute::Backend& backend, const spec::ModelSpec& spec, const state::MemoryPool& pool)
      : backend_(backend),
        spec_(spec),
        pool_(pool),
        rows_(pool.limits().batch_rows),
        sequence_(backend, DType::kI32, {rows_}),
        cell_(backend, DType::kI32, {rows_}) {
    const std::vector<std::int32_t> zeros(static_cast<std::size_t>(rows_));
    backend_.write(*sequence_, zeros.data());
    std::int64_t widest = 1;
    for (const spec::KvMemory& memory : spec.kv_memories) {
      widest = std::max(widest, memory.kv_heads * std::max(memory.key_size, memory.value_size));
    }
    noise_ = std::make_unique<Made>(backend, DType::kF32,
                                    std::initializer_list<std::int64_t>{rows_, widest});
    std::vector<float> noise(static_cast<std::size_t>(rows_ * widest));
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal;
    for (float& x : noise) x = normal(engine);
    backend_.write(**noise_, noise.data());
  }

  void add(state::SequenceState& sequence, std::int64_t count) {
    const std::int64_t before = sequence.length();
    sequence.grow(count);
    for (std::size_t group = 0; group < pool_.groups().size(); ++group) {
      if (!pool_.groups()[group].encoder) fill(group, sequence, before);
    }
    clear_state(sequence.next_slot());
    sequence.commit();
  }

 private:
  void fill(std::size_t group, const state::SequenceState& sequence, std::int64_t before) {
    const std::span<const std::int32_t> pages = sequence.pages(group);
    if (pages.empty()) return;
    const Made table(backend_, DType::kI32, {1, static_cast<std::int64_t>(pages.size())});
    backend_.write(*table, pages.data());
    std::vector<std::int32_t> cells;
    for (std::int64_t cell = pool_.cells(group, before);
         cell < pool_.cells(group, sequence.length()); ++cell) {
      cells.push_back(static_cast<std::int32_t>(cell));
    }
    if (cells.empty()) return;
    const auto count = static_cast<std::int64_t>(cells.size());
    const Tensor cell = (*cell_).rows(0, count);
    backend_.write(cell, cells.data());
    const compute::KvRows rows{*table, (*sequence_).rows(0, count), cell};
    for (std::size_t i = 0; i < spec_.kv_memories.size(); ++i) {
      const auto index = static_cast<spec::MemoryIndex>(i);
      if (pool_.group_of(index) != group) continue;
      const spec::KvMemory& memory = spec_.kv_memories[i];
      store(KvPart::kKeys, memory.kv_heads, memory.key_size, rows, pool_.keys(index));
      store(KvPart::kValues, memory.kv_heads, memory.value_size, rows, pool_.values(index));
    }
  }
  void store(KvPart part, std::int64_t heads, std::int64_t size, const compute::KvRows& rows,
             const Tensor& pool) {
    if (!pool) return;
    const Tensor values = (**noise_).rows(0, rows.row_cell.shape[0]).columns(0, heads * size);
    backend_.store_kv(part, values.split_last(heads), rows, pool);
  }
  void clear_state(std::int32_t slot) {
    if (slot < 0) return;
    for (std::size_t i = 0; i < spec_.recurrent_memories.size(); ++i) {
      const auto index = static_cast<spec::MemoryIndex>(i);
      for (const Tensor& state : {pool_.conv(index), pool_.scan(index)}) {
        const Tensor row = state.rows(slot, 1);
        const std::vector<float> zeros(static_cast<std::size_t>(row.elements()));
        if (!zeros.empty()) backend_.write(row, zeros.data());
      }
    }
  }

  compute::Backend& backend_;
  const spec::ModelSpec& spec_;
  const state::MemoryPool& pool_;
  std::int64_t rows_;
  Made sequence_, cell_;
  std::unique_ptr<Made> noise_;
};

}  // namespace

void make_past(compute::Backend& backend, const spec::ModelSpec& spec,
               const state::MemoryPool& pool, state::SequenceState& sequence, std::int64_t length) {
  if (sequence.length() >= length) return;
  PastMaker maker(backend, spec, pool);
  while (sequence.length() < length) {
    maker.add(sequence, std::min(pool.limits().batch_rows, length - sequence.length()));
  }
}

}  // namespace hearth::measure
