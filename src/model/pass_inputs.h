// What the runner prepares for all layers of a pass: cells, windows, positions, angles, slots of
// recurrent state. Planned once per model, filled in once per pass.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/layers/pass.h"
#include "model/runner.h"
#include "state/sequence.h"

namespace hearth::model {

/// A tensor on the backend with its staging copy on the host; filled anew each pass.
template <class Element>
struct Staged {
  std::vector<Element> host;
  tensor::Tensor device;

  tensor::Tensor upload(compute::Backend& backend, std::int64_t rows) const {
    const tensor::Tensor view = device.rows(0, rows);
    backend.write(view, host.data());
    return view;
  }
};

class PassInputs {
 public:
  /// Resolves every attention of `spec` and allocates all index tensors. Throws Error when memory
  /// is short.
  PassInputs(const spec::ModelSpec& spec, const Weights& weights, compute::Backend& backend,
             const state::MemoryPool& memory, const RunnerLimits& limits);

  /// Gives every row its cell and fills in the staging copies. Strong guarantee.
  void assign(std::span<const BatchRow> rows);
  /// Rows of the encoder: no cells, everything in one segment.
  void assign_encoder(const state::SequenceState& sequence, std::span<const std::int32_t> tokens);
  /// Uploads what assign() filled in and makes the pass.
  [[nodiscard]] Pass begin(tensor::Arena& arena, std::int64_t rows);

  [[nodiscard]] tensor::Tensor constant(tensor::DType dtype,
                                        std::initializer_list<std::int64_t> shape);
  template <class Element>
  void stage(Staged<Element>& staged, tensor::DType dtype, std::int64_t rows,
             std::int64_t columns = 0) {
    staged.device = columns > 0 ? constant(dtype, {rows, columns}) : constant(dtype, {rows});
    staged.host.resize(static_cast<std::size_t>(staged.device.elements()));
  }

 private:
  /// Angles of rotary embedding that at least one layer uses.
  struct RopeKind {
    spec::RopeAngles angles;
    std::string factors;
    bool operator==(const RopeKind&) const = default;
    [[nodiscard]] bool multi_axis() const {
      return angles.sections[0] + angles.sections[1] + angles.sections[2] > 0;
    }
  };
  struct StagedWindow {
    Staged<std::int32_t> begin, end, batch_begin, batch_end;
  };
  struct StagedBlocks {
    std::int64_t ratio = 0, count = 0;
    Staged<std::int32_t> sequence, block, position, visible_begin, visible_end;
  };

  void plan(const spec::Attention& attention);
  void plan(const spec::LatentAttention& attention);
  void plan(const spec::CompressedAttention& attention);
  template <class Body>
  void plan(const Body& /*body*/) {}
  void plan_reading(spec::MemoryIndex memory, std::int64_t rows_at_once);
  [[nodiscard]] int rope_index(const std::optional<spec::Rope>& rope);
  [[nodiscard]] tensor::Tensor distance_bias(const spec::RelativeBias& bias, std::int64_t heads);
  void make_index_tensors();
  void check_positions(const state::SequenceState& sequence, std::int64_t new_cells) const;
  void fill_segment(std::span<const BatchRow> rows, std::size_t begin, std::size_t end,
                    std::int32_t index);
  void fill_row(std::size_t i, const BatchRow& row, std::int32_t index,
                state::SequenceState& sequence, std::int64_t cell, std::size_t segment_begin);
  void fill_pages(std::int32_t index, const state::SequenceState& sequence);
  void locate_pages(std::span<const BatchRow> rows);
  void fill_position(std::size_t i, const BatchRow& row, std::int64_t position);

  const spec::ModelSpec& spec_;
  const Weights& weights_;
  compute::Backend& backend_;
  const state::MemoryPool& memory_;
  const RunnerLimits& limits_;

  std::vector<spec::Window> windows_;
  std::vector<RopeKind> ropes_;
  std::vector<spec::QueryTemperature> temperatures_;
  std::vector<AttentionPlan> plans_;
  /// Attentions whose keys may be on disk, in the order of their execution.
  struct Reading {
    std::size_t memory = 0;         // state::MemoryPool::framed()
    std::int64_t rows_at_once = 0;  // 0: all
  };
  std::vector<Reading> readings_;
  std::int64_t selected_ = 0;  // cells that a lightning indexer chooses per row

  std::vector<std::unique_ptr<tensor::Buffer>> buffers_;
  Staged<std::int32_t> ids_, positions_, axis_positions_, row_sequence_, row_cell_;
  Staged<std::int32_t> encoder_begin_, encoder_end_;
  Staged<std::int32_t> segment_begin_, segment_slot_, row_slot_;
  std::vector<Staged<std::int32_t>> page_tables_;  // by group
  std::vector<std::span<std::int32_t>> tables_;    // of one sequence
  std::vector<StagedWindow> staged_windows_;
  std::vector<StagedBlocks> staged_blocks_;
  std::vector<Staged<float>> staged_temperatures_;
  tensor::Tensor zeros_, iota_, batch_pages_;
  std::int64_t segments_ = 0;
  bool all_new_ = false;

  // What Pass points to.
  std::vector<compute::KvRows> pass_groups_;
  std::vector<WindowRange> pass_windows_, pass_batch_windows_;
  std::vector<CompletedBlocks> pass_blocks_;
  std::vector<tensor::Tensor> pass_ropes_, pass_temperatures_;
};

}  // namespace hearth::model
