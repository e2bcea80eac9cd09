// What a layer sees of the pass it is part of: the backend, the weights, work memory, and what the
// runner prepared once for all layers (KV cells, window ranges, rotary angles).
#pragma once

#include <cstdint>
#include <span>

#include "compute/backend.h"
#include "model/weights.h"
#include "spec/model_spec.h"
#include "state/sequence.h"
#include "tensor/arena.h"

namespace hearth::model {

/// What the runner resolved for one attention when the model was loaded.
struct AttentionPlan {
  int window = 0;         // index into Pass::windows
  int rope_table = -1;    // index into Pass::rope_tables, -1: no RoPE
  int temperature = -1;   // index into Pass::temperatures, -1: none
  tensor::Tensor slopes;  // ALiBi
};

/// The cells that each row sees.
struct WindowRange {
  tensor::Tensor begin, end;  // I32 [T]
};

struct Pass {
  compute::Backend& backend;
  const Weights& weights;
  tensor::Arena& arena;
  const state::KvPool& pool;
  std::int64_t rows = 0;  // T
  compute::KvRows kv_rows;
  std::span<const WindowRange> windows;
  std::span<const tensor::Tensor> rope_tables;   // F32 [T, rotated/2, 2]
  std::span<const tensor::Tensor> temperatures;  // F32 [T]
  std::span<const AttentionPlan> attentions;
  std::size_t next_attention = 0;  // attentions are executed in the order of spec::attentions_of

  [[nodiscard]] tensor::Tensor scratch(std::int64_t width) {
    return arena.allocate(tensor::DType::kF32, {rows, width});
  }
};

/// Projection of a Linear into `out`.
[[nodiscard]] compute::Projection projection(const Pass& pass, const spec::Linear& linear,
                                             const tensor::Tensor& out);

void apply_norm(const Pass& pass, const spec::Norm& norm, const tensor::Tensor& x,
                const tensor::Tensor& out);

/// out [T, width] = the attention of x [T, width]; stores the rows' keys and values. (blocks.md
/// section 3)
void attend(Pass& pass, const spec::Attention& attention, const tensor::Tensor& x,
            const tensor::Tensor& out);

/// out [T, width] = the feed-forward of x [T, width]. (blocks.md section 4)
void feed_forward(Pass& pass, const spec::FeedForward& feed_forward, const tensor::Tensor& x,
                  const tensor::Tensor& out);

/// stream += residual_scale * post_norm(sum of the branches): see spec::Sublayer.
void run_sublayer(Pass& pass, const spec::Sublayer& sublayer, const tensor::Tensor& stream);

}  // namespace hearth::model
