// DeepSeek V4 attention (reference: deepseek.md): one key per row, which is also its value, in a
// sliding window, and learned poolings of blocks of rows for what is further back.
#include <algorithm>
#include <array>
#include <cmath>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::KvPart;
using compute::KvSource;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

/// The last `rotated` dimensions of every head.
Tensor rotated_part(const Tensor& x, const spec::Rope& rope) {
  return x.slice(2, x.shape[2] - rope.angles.rotated, rope.angles.rotated);
}

/// Entries of the blocks that this pass completes, from the raw rows in the compressor's memory.
void pool_blocks(Pass& pass, const spec::Compressor& c, const CompletedBlocks& blocks,
                 const spec::Rope& rope) {
  const Arena::Scope scope(pass.arena);
  const std::int64_t pairs = rope.angles.rotated / 2;
  {
    // As much work memory as any pass of so many rows can take, whichever blocks it completes.
    const std::int64_t most =
        std::min(pass.rows, pass.rows / blocks.ratio + pass.memory.limits().sequences);
    const Arena::Scope touched(pass.arena);
    (void)pass.arena.allocate(DType::kF32, {most, c.size});
    (void)pass.arena.allocate(DType::kF32, {most, pairs, 2});
  }
  if (blocks.count == 0) return;
  const Tensor entries = pass.arena.allocate(DType::kF32, {blocks.count, c.size});
  const Tensor table = pass.arena.allocate(DType::kF32, {blocks.count, pairs, 2});
  pass.backend.compress({.values = pass.memory.values(c.raw),
                         .gates = pass.memory.keys(c.raw),
                         .bias = pass.weights.vector(c.position_bias),
                         .page_table = pass.cells(c.raw).page_table,
                         .block_sequence = blocks.sequence,
                         .block = blocks.block,
                         .ratio = blocks.ratio,
                         .overlapping = c.values.out == 2 * c.size,
                         .out = entries});
  if (c.norm) apply_norm(pass, *c.norm, entries, entries);
  pass.backend.rope_table(rope.angles, blocks.position, pass.weights.vector(rope.factors), table);
  pass.backend.rope(rope.pairing, table, rotated_part(entries.split_last(1), rope));
  const compute::KvRows cells{pass.cells(c.entries).page_table, blocks.sequence, blocks.block};
  pass.backend.store_kv(KvPart::kKeys, entries.split_last(1), cells, pass.memory.keys(c.entries));
}

void compress_rows(Pass& pass, const spec::Compressor& c, const CompletedBlocks& blocks,
                   const spec::Rope& rope, const Tensor& x) {
  const Arena::Scope scope(pass.arena);
  const Tensor values = pass.scratch(c.values.out);
  const Tensor gates = pass.scratch(c.gates.out);
  multiply(pass, x, {{&c.values, values}, {&c.gates, gates}});
  const compute::KvRows& cells = pass.cells(c.raw);
  pass.backend.store_kv(KvPart::kValues, values.split_last(1), cells, pass.memory.values(c.raw));
  pass.backend.store_kv(KvPart::kKeys, gates.split_last(1), cells, pass.memory.keys(c.raw));
  pool_blocks(pass, c, blocks, rope);
}

/// The entries that each row sees: cells I32 [T, 1, top_k].
Tensor choose_entries(Pass& pass, const spec::CompressedAttention& a, const CompletedBlocks& blocks,
                      const Tensor& rope_table, const Tensor& x, const Tensor& query_low_rank) {
  const spec::CompressedAttention::BlockIndexer& indexer = *a.indexer;
  const Tensor cells = pass.arena.allocate(DType::kI32, {pass.rows, indexer.top_k});
  const Arena::Scope scope(pass.arena);
  compress_rows(pass, indexer.compressor, blocks, *a.rope, x);
  const Tensor q = pass.scratch(indexer.heads * indexer.size).split_last(indexer.heads);
  const Tensor weights = pass.scratch(indexer.heads);
  multiply(pass, query_low_rank, {{&indexer.q, q.join_last()}});
  multiply(pass, x, {{&indexer.weights, weights}});
  pass.backend.rope(a.rope->pairing, rope_table, rotated_part(q, *a.rope));
  const auto products = static_cast<float>(indexer.heads * indexer.size);
  pass.backend.scale(weights, 1.0F / std::sqrt(products), weights);
  pass.backend.select_cells({.q = q,
                             .weights = weights,
                             .keys = pass.memory.keys(indexer.compressor.entries),
                             .rows = pass.cells(indexer.compressor.entries),
                             .row_begin = blocks.visible.begin,
                             .row_end = blocks.visible.end,
                             .cells = cells});
  return cells.split_last(1);
}

}  // namespace

void run_body(Pass& pass, const spec::CompressedAttention& a, const Tensor& x, const Tensor& out) {
  const AttentionPlan& plan = pass.attentions[static_cast<std::size_t>(a.plan)];
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const Tensor& rope_table = pass.rope_tables[static_cast<std::size_t>(plan.rope_table)];

  const Tensor low_rank = pass.scratch(a.q_a.out);
  const Tensor kv = pass.scratch(a.size);
  const Tensor q = pass.scratch(a.heads * a.size).split_last(a.heads);
  multiply(pass, x, {{&a.q_a, low_rank}, {&a.kv, kv}});
  const Tensor query_low_rank = normed(pass, a.q_a_norm, low_rank);
  multiply(pass, query_low_rank, {{&a.q_b, q.join_last()}});
  if (a.q_norm) apply_norm(pass, *a.q_norm, q, q);
  if (a.kv_norm) apply_norm(pass, *a.kv_norm, kv, kv);
  backend.rope(a.rope->pairing, rope_table, rotated_part(q, *a.rope));
  backend.rope(a.rope->pairing, rope_table, rotated_part(kv.split_last(1), *a.rope));
  const compute::KvRows& cells = pass.cells(a.memory);
  backend.store_kv(KvPart::kKeys, kv.split_last(1), cells, pass.memory.keys(a.memory));

  std::array<KvSource, 2> sources;
  const WindowRange& range = pass.windows[static_cast<std::size_t>(plan.window)];
  sources[0] = {pass.memory.keys(a.memory), {}, cells.page_table, range.begin, range.end, {}};
  if (a.compressor) {
    const CompletedBlocks& blocks = pass.completed_blocks(a.ratio);
    compress_rows(pass, *a.compressor, blocks, *a.rope, x);
    sources[1] = {pass.memory.keys(a.compressor->entries),
                  {},
                  pass.cells(a.compressor->entries).page_table,
                  blocks.visible.begin,
                  blocks.visible.end,
                  {}};
    if (a.indexer) {
      sources[1].cells = choose_entries(pass, a, blocks, rope_table, x, query_low_rank);
    }
  }
  const Tensor mixed = pass.scratch(a.heads * a.size);
  backend.attend_selected({.q = q,
                           .sources = {sources.data(), a.compressor ? 2U : 1U},
                           .row_sequence = cells.row_sequence,
                           .scale = a.scale,
                           .sinks = pass.weights.vector(a.sinks),
                           .out = mixed.split_last(a.heads)});
  backend.rope(a.rope->pairing, rope_table, rotated_part(mixed.split_last(a.heads), *a.rope), true);
  const std::int64_t groups = a.output_a.matrices;
  const Tensor grouped = pass.scratch(groups * a.output_a.out);
  multiply_grouped(pass, mixed.split_last(groups), pass.iota(groups),
                   {{&a.output_a, grouped.split_last(groups)}});
  multiply(pass, grouped, {{&a.output_b, out}});
}

}  // namespace hearth::model
