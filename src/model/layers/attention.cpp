#include <array>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::KvPart;
using spec::KeySource;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

/// Queries [T, heads, key size], the gates that may come with them, keys and values [T, heads *
/// size].
struct Projected {
  Tensor q, gate, k, v;
};

bool has_own_keys(const spec::Attention& a) {
  return a.key_source == KeySource::kSelf || a.key_source == KeySource::kBatch;
}

/// Column slices of one matrix, so that fused and separate weights look alike.
Projected project(Pass& pass, const spec::Attention& a, const Tensor& x) {
  const std::int64_t q = a.heads * a.key_size * (a.gate_in_q ? 2 : 1);
  const std::int64_t k = has_own_keys(a) ? a.kv_heads * a.key_size : 0;
  const std::int64_t v = has_own_keys(a) ? a.kv_heads * a.value_size : 0;
  const Tensor all = pass.scratch(q + k + v);
  const Tensor queries = all.columns(0, q);
  Projected parts{queries.split_last(a.heads), {}, all.columns(q, k), all.columns(q + k, v)};
  if (a.gate_in_q) {
    parts.gate = parts.q.slice(2, a.key_size, a.key_size);
    parts.q = parts.q.slice(2, 0, a.key_size);
  }
  if (a.qkv.present()) {
    multiply(pass, x, {{&a.qkv, all}});
  } else if (k == 0) {
    multiply(pass, x, {{&a.q, queries}});
  } else if (a.v.present()) {
    multiply(pass, x, {{&a.q, queries}, {&a.k, parts.k}, {&a.v, parts.v}});
  } else {
    multiply(pass, x, {{&a.q, queries}, {&a.k, parts.k}});
    pass.backend.copy(parts.k, parts.v);
  }
  return parts;
}

/// Where the keys and values that a row sees are.
struct Keys {
  Tensor keys, values;
  state::CodedPages coded;
  compute::KvRows cells;
  WindowRange range;
};

Keys keys_of(Pass& pass, const spec::Attention& a) {
  const auto window =
      static_cast<std::size_t>(pass.attentions[static_cast<std::size_t>(a.plan)].window);
  if (a.key_source == KeySource::kBatch) {
    const auto pool = [&](std::int64_t size) {
      return pass.arena.allocate(DType::kF32,
                                 {pass.batch_pages, a.kv_heads, state::kPageCells, size});
    };
    return {pool(a.key_size), pool(a.value_size), {}, pass.batch_cells, pass.batch_windows[window]};
  }
  Keys keys{pass.memory.keys(a.memory),
            pass.memory.values(a.memory),
            pass.memory.coded_pages(a.memory),
            {},
            {}};
  if (a.key_source == KeySource::kEncoder) {
    keys.cells = pass.encoder_cells;
    keys.range = pass.encoder_range;
  } else {
    keys.cells = pass.cells(a.memory);
    keys.range = pass.windows[window];
  }
  return keys;
}

void normalise(const Pass& pass, const std::optional<spec::Norm>& norm, bool whole, const Tensor& x,
               std::int64_t heads) {
  if (!norm) return;
  const Tensor view =
      whole ? (x.rank == 3 ? x.join_last() : x) : (x.rank == 3 ? x : x.split_last(heads));
  apply_norm(pass, *norm, view, view);
}

void normalise(const Pass& pass, const spec::Attention& a, const Projected& parts) {
  normalise(pass, a.q_norm, a.norm_whole, parts.q, a.heads);
  if (has_own_keys(a)) normalise(pass, a.k_norm, a.norm_whole, parts.k, a.kv_heads);
}

void gate_output(Pass& pass, const spec::Attention& a, const Tensor& x, const Tensor& gate_in_q,
                 const Tensor& mixed) {
  const spec::OutputGate& gate = *a.gate;
  if (a.gate_in_q) {
    pass.backend.activate_gated({.activation = gate.activation}, gate_in_q,
                                mixed.split_last(a.heads), mixed.split_last(a.heads));
    return;
  }
  const Tensor gates = pass.scratch(gate.linear.out);
  multiply(pass, x, {{&gate.linear, gates}});
  if (gate.per_head) {
    pass.backend.activate(gate.activation, gates, gates);
    pass.backend.multiply(mixed.split_last(a.heads), gates, mixed.split_last(a.heads));
  } else {
    pass.backend.activate_gated({.activation = gate.activation}, gates, mixed, mixed);
  }
}

}  // namespace

void run_body(Pass& pass, const spec::Attention& a, const Tensor& x, const Tensor& out) {
  const AttentionPlan& plan = pass.attentions[static_cast<std::size_t>(a.plan)];
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;

  const Projected parts = project(pass, a, x);
  if (a.clamp_qkv > 0) {
    for (const Tensor& part : {parts.q, parts.k, parts.v}) backend.clamp(part, a.clamp_qkv);
  }
  if (!a.norm_after_rope) normalise(pass, a, parts);
  if (has_own_keys(a)) normalise(pass, a.v_norm, false, parts.v, a.kv_heads);
  if (plan.rope_table >= 0) {
    const Tensor& table = pass.rope_tables[static_cast<std::size_t>(plan.rope_table)];
    backend.rope(a.rope->pairing, table, parts.q);
    if (has_own_keys(a)) backend.rope(a.rope->pairing, table, parts.k.split_last(a.kv_heads));
  }
  if (a.norm_after_rope) normalise(pass, a, parts);
  if (plan.temperature >= 0)
    backend.scale_rows(parts.q, pass.temperatures[static_cast<std::size_t>(plan.temperature)]);

  const Keys keys = keys_of(pass, a);
  if (has_own_keys(a)) {
    backend.store_kv(KvPart::kKeys, parts.k.split_last(a.kv_heads), keys.cells, keys.keys);
    backend.store_kv(KvPart::kValues, parts.v.split_last(a.kv_heads), keys.cells, keys.values);
  }
  const Tensor mixed = pass.scratch(a.heads * a.value_size);
  if (a.selection) {
    attend_blocks(pass, a, x, parts.q, mixed.split_last(a.heads));
  } else {
    const compute::AttendArguments arguments{.q = parts.q,
                                             .keys = keys.keys,
                                             .values = keys.values,
                                             .coded_keys = keys.coded.keys,
                                             .coded_values = keys.coded.values,
                                             .key_code = keys.coded.key_code,
                                             .value_code = keys.coded.value_code,
                                             .rows = keys.cells,
                                             .row_begin = keys.range.begin,
                                             .row_end = keys.range.end,
                                             .scale = a.scale,
                                             .softcap = a.softcap,
                                             .slopes = plan.slopes,
                                             .distance_bias = plan.distance_bias,
                                             .sinks = pass.weights.vector(a.sinks),
                                             .out = mixed.split_last(a.heads)};
    attend_memory(pass, a.memory, 0, arguments);
  }
  if (a.gate) gate_output(pass, a, x, parts.gate, mixed);
  if (a.output_norm) apply_norm(pass, *a.output_norm, mixed, mixed);
  multiply(pass, mixed, {{&a.output, out}});
  if (a.output_scale != 1.0F) backend.scale(out, a.output_scale, out);
}

void store_encoder_keys(Pass& pass, const spec::Attention& a, const Tensor& output) {
  const Arena::Scope scope(pass.arena);
  const Tensor k = pass.scratch(a.kv_heads * a.key_size);
  const Tensor v = pass.scratch(a.kv_heads * a.value_size);
  multiply(pass, output, {{&a.k, k}, {&a.v, v}});
  pass.backend.store_kv(KvPart::kKeys, k.split_last(a.kv_heads), pass.encoder_cells,
                        pass.memory.keys(a.memory));
  pass.backend.store_kv(KvPart::kValues, v.split_last(a.kv_heads), pass.encoder_cells,
                        pass.memory.values(a.memory));
}

}  // namespace hearth::model
