// Block-sparse attention (minimax-m3; reference: moe.md): an indexer chooses blocks of cells for
// every group of query heads.
#include "model/layers/pass.h"

namespace hearth::model {

using compute::KvPart;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

void attend_blocks(Pass& pass, const spec::Attention& a, const Tensor& x, const Tensor& q,
                   const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const AttentionPlan& plan = pass.attentions[static_cast<std::size_t>(a.plan)];
  const spec::Attention::BlockSelection& s = *a.selection;
  const compute::KvRows& cells = pass.cells(a.memory);
  const WindowRange& range = pass.windows[static_cast<std::size_t>(plan.window)];
  const Tensor& keys = pass.memory.keys(a.memory);
  const Tensor& values = pass.memory.values(a.memory);
  if (pass.memory.limits().context <= s.top_k * s.block) {
    // There is nothing to choose: all blocks are.
    compute::AttendArguments all;
    all.q = q;
    all.keys = keys;
    all.values = values;
    all.rows = cells;
    all.row_begin = range.begin;
    all.row_end = range.end;
    all.scale = a.scale;
    all.out = out;
    return pass.backend.attend(all);
  }
  const Tensor chosen =
      pass.arena.allocate(DType::kI32, {pass.rows, a.kv_heads, s.top_k * s.block});
  const Tensor block_q = pass.scratch(a.kv_heads, s.size);
  const Tensor block_k = pass.scratch(1, s.size);
  multiply(pass, x, {{&s.q, block_q.join_last()}, {&s.k, block_k.join_last()}});
  if (s.q_norm) apply_norm(pass, *s.q_norm, block_q, block_q);
  if (s.k_norm) apply_norm(pass, *s.k_norm, block_k, block_k);
  if (plan.rope_table >= 0) {
    const Tensor& table = pass.rope_tables[static_cast<std::size_t>(plan.rope_table)];
    pass.backend.rope(a.rope->pairing, table, block_q);
    pass.backend.rope(a.rope->pairing, table, block_k);
  }
  const Tensor& block_keys = pass.memory.keys(s.memory);
  const compute::KvRows& block_cells = pass.cells(s.memory);
  pass.backend.store_kv(KvPart::kKeys, block_k, block_cells, block_keys);
  pass.backend.select_blocks({.q = block_q,
                              .keys = block_keys,
                              .rows = block_cells,
                              .row_end = range.end,
                              .block = s.block,
                              .top_k = s.top_k,
                              .local = s.local,
                              .cells = chosen});
  const compute::KvSource source{keys, values, cells.page_table, {}, {}, chosen};
  pass.backend.attend_selected({.q = q,
                                .sources = {&source, 1},
                                .row_sequence = cells.row_sequence,
                                .scale = a.scale,
                                .sinks = {},
                                .out = out});
}

}  // namespace hearth::model
