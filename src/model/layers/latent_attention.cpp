// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434; reference: blocks.md section 3.3), of
// which only the latent and the rotated part of the key are remembered, and the sparse attention
// that a lightning indexer leads (DeepSeek-V3.2; deepseek.md).
//
// Two forms of the same sums. Absorbed: queries are brought into the space of the latent, which is
// then key and value of all heads. Expanded: keys and values of every head are made of the latents;
// this costs less per pair of rows, but only while the batch is all there is to look back on.
#include <algorithm>
#include <cmath>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::KvPart;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

/// Fewer rows than this are not worth expanding.
constexpr std::int64_t kLeastExpanded = 32;

/// What the forms have in common.
struct Parts {
  Tensor q;               // [T, heads, nope + rope], rotated
  Tensor query_low_rank;  // [T, query_rank]; absent without low-rank queries
  Tensor latent;          // [T, latent + rope], normed and rotated
  bool selected = false;  // only pass.selected_cells are attended to
};

/// Makes sure that a plan made with one form holds for the other, too.
void touch_work_memory(Pass& pass, const spec::LatentAttention& a) {
  constexpr std::int64_t kPadding = 1024;  // alignment of some tensors
  const std::int64_t head = a.nope_size + a.value_size + a.rope_size;
  const std::int64_t fused = a.kv_b.present() ? a.nope_size + a.value_size : 0;
  const std::int64_t pool_rows = pass.batch_pages * state::kPageCells;
  const std::int64_t expanded = a.heads * (pass.rows * (head + fused) + pool_rows * head);
  const std::int64_t absorbed =
      a.heads * std::min(pass.rows, kAbsorbedRows) * (2 * a.latent_size + a.rope_size + fused);
  const Arena::Scope scope(pass.arena);
  (void)pass.arena.allocate(DType::kF32, {std::max(expanded, absorbed) + kPadding});
}

void rotate(Pass& pass, const spec::Rope& rope, int table, const Tensor& x) {
  pass.backend.rope(rope.pairing, pass.rope_tables[static_cast<std::size_t>(table)], x);
}

Parts project(Pass& pass, const spec::LatentAttention& a, const AttentionPlan& plan,
              const Tensor& x) {
  Parts parts;
  const Tensor q = pass.scratch(a.heads * (a.nope_size + a.rope_size));
  parts.latent = pass.scratch(a.latent_size + a.rope_size);
  if (a.q_a.present()) {
    const Tensor low_rank = pass.scratch(a.query_rank);
    multiply(pass, x, {{&a.q_a, low_rank}, {&a.kv_a, parts.latent}});
    parts.query_low_rank = normed(pass, a.q_a_norm, low_rank);
    multiply(pass, parts.query_low_rank, {{&a.q_b, q}});
  } else {
    multiply(pass, x, {{&a.q, q}, {&a.kv_a, parts.latent}});
  }
  parts.q = q.split_last(a.heads);
  const Tensor content = parts.latent.columns(0, a.latent_size);
  if (a.kv_a_norm) apply_norm(pass, *a.kv_a_norm, content, content);
  if (plan.rope_table >= 0) {
    rotate(pass, *a.rope, plan.rope_table, parts.q.slice(2, a.nope_size, a.rope_size));
    rotate(pass, *a.rope, plan.rope_table,
           parts.latent.columns(a.latent_size, a.rope_size).split_last(1));
  }
  if (plan.temperature >= 0) {
    pass.backend.scale_rows(parts.q, pass.temperatures[static_cast<std::size_t>(plan.temperature)]);
  }
  return parts;
}

/// Stores the indexer's keys and chooses the cells that each row attends to.
void choose_cells(Pass& pass, const spec::Indexer& indexer, const AttentionPlan& plan,
                  const Tensor& x, const Tensor& query_low_rank) {
  const Arena::Scope scope(pass.arena);
  const Tensor key = pass.scratch(indexer.size);
  const Tensor weights = pass.scratch(indexer.heads);
  const Tensor q = pass.scratch(indexer.heads * indexer.size);
  multiply(pass, x, {{&indexer.k, key}, {&indexer.weights, weights}});
  multiply(pass, query_low_rank, {{&indexer.q, q}});
  if (indexer.k_norm) apply_norm(pass, *indexer.k_norm, key, key);
  if (plan.indexer_rope_table >= 0) {
    rotate(pass, *indexer.rope, plan.indexer_rope_table, q.split_last(indexer.heads));
    rotate(pass, *indexer.rope, plan.indexer_rope_table, key.split_last(1));
  }
  const auto products = static_cast<float>(indexer.heads * indexer.size);
  pass.backend.scale(weights, 1.0F / std::sqrt(products), weights);
  const compute::KvRows& cells = pass.cells(indexer.memory);
  const Tensor& keys = pass.memory.keys(indexer.memory);
  pass.backend.store_kv(KvPart::kKeys, key.split_last(1), cells, keys);
  const WindowRange& range = pass.windows[static_cast<std::size_t>(plan.window)];
  pass.backend.select_cells({.q = q.split_last(indexer.heads),
                             .weights = weights,
                             .keys = keys,
                             .rows = cells,
                             .row_begin = range.begin,
                             .row_end = range.end,
                             .cells = pass.selected_cells});
}

/// Rows [first, first + rows) of the pass, absorbed: out [rows, heads, value].
void attend_absorbed(Pass& pass, const spec::LatentAttention& a, const Parts& parts,
                     std::int64_t first, const Tensor& out) {
  const AttentionPlan& plan = pass.attentions[static_cast<std::size_t>(a.plan)];
  const std::int64_t rows = out.shape[0];
  const Arena::Scope scope(pass.arena);
  const auto scratch = [&](std::int64_t size) {
    return pass.arena.allocate(DType::kF32, {rows, a.heads, size});
  };
  const Tensor heads = pass.iota(a.heads).rows(0, rows);
  const Tensor q = scratch(a.latent_size + a.rope_size);
  const Tensor from = parts.q.rows(first, rows);
  const Tensor content = from.slice(2, 0, a.nope_size);
  const Tensor absorbed = q.slice(2, 0, a.latent_size);
  if (a.k_b.present()) {
    multiply_grouped(pass, content, heads, {{&a.k_b, absorbed}});
  } else {
    multiply_transposed(pass, content, heads, a.kv_b, absorbed);
  }
  pass.backend.copy(from.slice(2, a.nope_size, a.rope_size),
                    q.slice(2, a.latent_size, a.rope_size));

  const Tensor mixed = scratch(a.latent_size);
  const compute::KvRows& cells = pass.cells(a.memory);
  const Tensor sequence = cells.row_sequence.rows(first, rows);
  const Tensor& keys = pass.memory.keys(a.memory);
  if (parts.selected) {
    Tensor chosen = pass.selected_cells.rows(first, rows).split_last(1);
    const compute::KvSource source{.keys = keys,
                                   .values = {},
                                   .page_table = cells.page_table,
                                   .row_begin = {},
                                   .row_end = {},
                                   .cells = chosen};
    pass.backend.attend_selected({.q = q,
                                  .sources = {&source, 1},
                                  .row_sequence = sequence,
                                  .scale = a.scale,
                                  .sinks = {},
                                  .out = mixed});
  } else {
    const WindowRange& range = pass.windows[static_cast<std::size_t>(plan.window)];
    compute::AttendArguments arguments;
    arguments.q = q;
    arguments.keys = keys;
    arguments.coded_keys = pass.memory.coded_pages(a.memory).keys;
    arguments.key_code = pass.memory.coded_pages(a.memory).key_code;
    arguments.rows = {cells.page_table, sequence, cells.row_cell.rows(first, rows)};
    arguments.row_begin = range.begin.rows(first, rows);
    arguments.row_end = range.end.rows(first, rows);
    arguments.scale = a.scale;
    arguments.out = mixed;
    attend_memory(pass, a.memory, first, arguments);
  }
  if (a.v_b.present()) {
    multiply_grouped(pass, mixed, heads, {{&a.v_b, out}});
  } else {
    const Tensor both = scratch(a.nope_size + a.value_size);
    multiply_grouped(pass, mixed, heads, {{&a.kv_b, both}});
    pass.backend.copy(both.slice(2, a.nope_size, a.value_size), out);
  }
}

/// All rows of the pass among themselves, expanded: out [T, heads, value].
void attend_expanded(Pass& pass, const spec::LatentAttention& a, const Parts& parts,
                     const Tensor& out) {
  const AttentionPlan& plan = pass.attentions[static_cast<std::size_t>(a.plan)];
  const Arena::Scope scope(pass.arena);
  const Tensor heads = pass.iota(a.heads);
  const std::int64_t key_size = a.nope_size + a.rope_size;
  const Tensor k = pass.scratch(a.heads, key_size);
  Tensor v = pass.scratch(a.heads, a.value_size);
  const Tensor latent = parts.latent.columns(0, a.latent_size).split_last(1);
  if (a.k_b.present()) {
    multiply_transposed(pass, latent, heads, a.k_b, k.slice(2, 0, a.nope_size));
    multiply_grouped(pass, latent, heads, {{&a.v_b, v}});
  } else {
    const Tensor both = pass.scratch(a.heads, a.nope_size + a.value_size);
    multiply_grouped(pass, latent, heads, {{&a.kv_b, both}});
    pass.backend.copy(both.slice(2, 0, a.nope_size), k.slice(2, 0, a.nope_size));
    v = both.slice(2, a.nope_size, a.value_size);
  }
  // The rotated part is the same for all heads.
  Tensor rotated = parts.latent.columns(a.latent_size, a.rope_size).split_last(1);
  rotated.shape[1] = a.heads;
  rotated.strides[1] = 0;
  pass.backend.copy(rotated, k.slice(2, a.nope_size, a.rope_size));

  const auto pool = [&](std::int64_t size) {
    return pass.arena.allocate(DType::kF32, {pass.batch_pages, a.heads, state::kPageCells, size});
  };
  const WindowRange& range = pass.batch_windows[static_cast<std::size_t>(plan.window)];
  compute::AttendArguments arguments;
  arguments.q = parts.q;
  arguments.keys = pool(key_size);
  arguments.values = pool(a.value_size);
  arguments.rows = pass.batch_cells;
  arguments.row_begin = range.begin;
  arguments.row_end = range.end;
  arguments.scale = a.scale;
  arguments.out = out;
  pass.backend.store_kv(KvPart::kKeys, k, pass.batch_cells, arguments.keys);
  pass.backend.store_kv(KvPart::kValues, v, pass.batch_cells, arguments.values);
  pass.backend.attend(arguments);
}

}  // namespace

void run_body(Pass& pass, const spec::LatentAttention& a, const Tensor& x, const Tensor& out) {
  const AttentionPlan& plan = pass.attentions[static_cast<std::size_t>(a.plan)];
  const Arena::Scope scope(pass.arena);
  Parts parts = project(pass, a, plan, x);
  pass.backend.store_kv(KvPart::kKeys, parts.latent.split_last(1), pass.cells(a.memory),
                        pass.memory.keys(a.memory));
  if (a.indexer && pass.selected_cells) {
    parts.selected = true;
    if (!a.indexer->shared) choose_cells(pass, *a.indexer, plan, x, parts.query_low_rank);
  }
  const Tensor heads = pass.scratch(a.heads * a.value_size);
  touch_work_memory(pass, a);
  if (pass.all_new && pass.rows >= kLeastExpanded && !parts.selected) {
    attend_expanded(pass, a, parts, heads.split_last(a.heads));
  } else {
    for (std::int64_t first = 0; first < pass.rows; first += kAbsorbedRows) {
      const std::int64_t rows = std::min(kAbsorbedRows, pass.rows - first);
      attend_absorbed(pass, a, parts, first, heads.rows(first, rows).split_last(a.heads));
    }
  }
  multiply(pass, heads, {{&a.output, out}});
}

}  // namespace hearth::model
