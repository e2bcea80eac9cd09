#include <array>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::Projection;
using tensor::Arena;
using tensor::Tensor;

namespace {

/// Queries, keys and values [T, heads * size] as column slices of one matrix, so that fused and
/// separate weights look alike.
struct Projected {
  Tensor q, k, v;
};

Projected project(Pass& pass, const spec::Attention& a, const Tensor& x) {
  const std::int64_t q = a.heads * a.key_size;
  const std::int64_t k = a.kv_heads * a.key_size;
  const std::int64_t v = a.kv_heads * a.value_size;
  const Tensor all = pass.scratch(q + k + v);
  const Projected parts{all.columns(0, q), all.columns(q, k), all.columns(q + k, v)};
  if (a.qkv.present()) {
    const Projection fused = projection(pass, a.qkv, all);
    pass.backend.matmul(x, {&fused, 1});
  } else {
    const std::array separate = {projection(pass, a.q, parts.q), projection(pass, a.k, parts.k),
                                 projection(pass, a.v, parts.v)};
    pass.backend.matmul(x, separate);
  }
  return parts;
}

void normalise(const Pass& pass, const spec::Attention& a, const Projected& parts) {
  const auto apply = [&](const std::optional<spec::Norm>& norm, const Tensor& x,
                         std::int64_t heads) {
    if (!norm) return;
    const Tensor view = a.norm_whole ? x : x.split_last(heads);
    apply_norm(pass, *norm, view, view);
  };
  apply(a.q_norm, parts.q, a.heads);
  apply(a.k_norm, parts.k, a.kv_heads);
}

}  // namespace

void attend(Pass& pass, const spec::Attention& a, const Tensor& x, const Tensor& out) {
  const std::size_t index = pass.next_attention++;
  const AttentionPlan& plan = pass.attentions[index];
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;

  const Projected parts = project(pass, a, x);
  if (a.clamp_qkv > 0) {
    for (const Tensor& part : {parts.q, parts.k, parts.v}) backend.clamp(part, a.clamp_qkv);
  }
  if (!a.norm_after_rope) normalise(pass, a, parts);
  const Tensor q = parts.q.split_last(a.heads);
  const Tensor k = parts.k.split_last(a.kv_heads);
  if (plan.rope_table >= 0) {
    const Tensor& table = pass.rope_tables[static_cast<std::size_t>(plan.rope_table)];
    backend.rope(a.rope->pairing, table, q);
    backend.rope(a.rope->pairing, table, k);
  }
  if (a.norm_after_rope) normalise(pass, a, parts);
  if (plan.temperature >= 0)
    backend.scale_rows(q, pass.temperatures[static_cast<std::size_t>(plan.temperature)]);

  backend.store_kv(compute::KvPart::kKeys, k, pass.kv_rows, pass.pool.keys(index));
  backend.store_kv(compute::KvPart::kValues, parts.v.split_last(a.kv_heads), pass.kv_rows,
                   pass.pool.values(index));

  const Tensor mixed = pass.scratch(a.heads * a.value_size);
  const WindowRange& window = pass.windows[static_cast<std::size_t>(plan.window)];
  backend.attend({.q = q,
                  .keys = pass.pool.keys(index),
                  .values = pass.pool.values(index),
                  .rows = pass.kv_rows,
                  .row_begin = window.begin,
                  .row_end = window.end,
                  .scale = a.scale,
                  .softcap = a.softcap,
                  .slopes = plan.slopes,
                  .sinks = pass.weights.vector(a.sinks),
                  .out = mixed.split_last(a.heads)});
  const Projection output = projection(pass, a.output, out);
  backend.matmul(mixed, {&output, 1});
}

}  // namespace hearth::model
