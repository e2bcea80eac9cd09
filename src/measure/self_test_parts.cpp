#include "measure/self_test_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "measure/random_blocks.h"
#include "quant/quant.h"
#include "tensor/dtype.h"

namespace hearth::measure {

using namespace compute;

std::vector<float> Workbench::normal(std::int64_t count, float deviation) {
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(random_);
  return values;
}

Tensor Workbench::made(DType dtype, std::initializer_list<std::int64_t> shape, const void* host) {
  Tensor t = Tensor::contiguous(nullptr, 0, dtype, shape);
  const std::size_t bytes = tensor::row_bytes(dtype, static_cast<std::size_t>(t.elements()));
  buffers_.push_back(backend_.allocate(bytes, MemoryCategory::kOther));
  t.buffer = buffers_.back().get();
  backend_.write(t, host);
  return t;
}

namespace {

std::int64_t elements(std::initializer_list<std::int64_t> shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

Tensor Workbench::floats(std::initializer_list<std::int64_t> shape, float deviation) {
  const std::vector<float> numbers = normal(elements(shape), deviation);
  return made(DType::kF32, shape, numbers.data());
}

Tensor Workbench::zeros(std::initializer_list<std::int64_t> shape) {
  return filled(DType::kF32, shape, std::byte{0});
}

Tensor Workbench::near(std::initializer_list<std::int64_t> shape, float low, float high) {
  std::vector<float> numbers = normal(elements(shape));
  for (float& value : numbers) value = high - (high - low) * std::min(1.0F, 0.1F * value * value);
  return made(DType::kF32, shape, numbers.data());
}

Tensor Workbench::ints(std::initializer_list<std::int64_t> shape,
                       std::span<const std::int32_t> values) {
  return made(DType::kI32, shape, values.data());
}

Tensor Workbench::filled(DType dtype, std::initializer_list<std::int64_t> shape, std::byte fill) {
  const std::vector<std::byte> bytes(
      tensor::row_bytes(dtype, static_cast<std::size_t>(elements(shape))), fill);
  return made(dtype, shape, bytes.data());
}

const Weight& Workbench::weight(DType dtype, std::int64_t rows, std::int64_t columns, unsigned use,
                                Residency residency, std::int64_t matrices) {
  const auto count = static_cast<std::size_t>(rows * columns * matrices);
  blocks_.push_back(std::make_unique<std::vector<std::byte>>(tensor::row_bytes(dtype, count)));
  fill_random_blocks(dtype, random_(), *blocks_.back());
  const WeightSource source{"self-test", dtype, rows, columns, *blocks_.back(), matrices};
  weights_.push_back(backend_.load_weight(source, use, residency));
  return *weights_.back();
}

std::vector<float> Workbench::values(const Tensor& tensor) const {
  std::vector<float> result(static_cast<std::size_t>(tensor.elements()));
  backend_.read(tensor, result.data());
  return result;
}

namespace {

constexpr double kExact = 1e-9;  // the same float operations in another order

/// Products with quantized weights round activations to 8 bits, those with halves may round both
/// sides to bfloat16.
double product_tolerance(DType dtype) {
  if (tensor::info(dtype).quantized) return 1e-3;
  return dtype == DType::kF16 || dtype == DType::kBF16 ? 3e-5 : kExact;
}

std::vector<DType> weight_formats() {
  std::vector<DType> formats;
  for (const tensor::DTypeInfo& type : tensor::all_dtypes()) {
    if (quant::can_decode(type.dtype) && has_random_blocks(type.dtype) &&
        type.dtype != DType::kF64) {
      formats.push_back(type.dtype);
    }
  }
  return formats;
}

std::int64_t random_columns(Workbench& bench, DType dtype) {
  const std::int64_t block = tensor::info(dtype).block_elements;
  if (block == 1) return bench.between(30, 400);
  return block * bench.between(1, block == 256 ? 3 : 12);
}

std::vector<Outcome> products(Workbench& bench) {
  std::vector<Outcome> outcomes;
  for (const DType dtype : weight_formats()) {
    // One row, some rows, and enough for the kernels of prompts; packed and as they are in a file.
    for (const std::int64_t batch : {1, 6, 40}) {
      const std::int64_t rows = bench.between(17, 100);
      const std::int64_t columns = random_columns(bench, dtype);
      const Residency residency = batch == 6 ? Residency::kMapped : Residency::kPacked;
      const Weight& weight = bench.weight(dtype, rows, columns, kUseMatmul, residency);
      const Tensor x = bench.floats({batch, columns});
      const Projection projection{&weight, bench.zeros({batch, rows}), bench.floats({rows}, 0.1F),
                                  0.5F};
      bench.backend().matmul(x, {&projection, 1});
      outcomes.push_back(
          {fmt::format("{}, {} x {} times {} rows", tensor::name(dtype), rows, columns, batch),
           bench.values(projection.out), product_tolerance(dtype)});
    }
  }
  return outcomes;
}

std::vector<Outcome> rows_of_tables(Workbench& bench) {
  std::vector<Outcome> outcomes;
  for (const DType dtype : weight_formats()) {
    const std::int64_t columns = random_columns(bench, dtype);
    const Weight& table = bench.weight(dtype, 20, columns, kUseRows, Residency::kPacked);
    const std::vector<std::int32_t> ids = {19, 0, 7, 7};
    const Tensor out = bench.zeros({4, columns});
    bench.backend().get_rows(table, bench.ints({4}, ids), 1.5F, out);
    outcomes.push_back({std::string(tensor::name(dtype)), bench.values(out), kExact});
  }
  return outcomes;
}

std::vector<Outcome> experts(Workbench& bench) {
  std::vector<Outcome> outcomes;
  constexpr std::int64_t kExperts = 8, kUsed = 3;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K,
                            DType::kQ6_K, DType::kMXFP4, DType::kIQ3_S}) {
    for (const std::int64_t batch : {1, 30}) {
      const std::int64_t rows = bench.between(17, 60);
      const std::int64_t columns = random_columns(bench, dtype);
      const Weight& weight =
          bench.weight(dtype, rows, columns, kUseMatmul, Residency::kPacked, kExperts);
      RouteArguments route;
      route.routing.gate = spec::RouterGate::kSoftmax;
      route.routing.normalise = true;
      route.logits = bench.floats({batch, kExperts}, 2);
      route.ids = bench.ints({batch, kUsed},
                             std::vector<std::int32_t>(static_cast<std::size_t>(batch * kUsed), 0));
      route.weights = bench.zeros({batch, kUsed});
      bench.backend().route(route);
      const GroupedProjection projection{&weight, bench.zeros({batch, kUsed, rows}), {}, {}};
      bench.backend().grouped_matmul(bench.floats({batch, 1, columns}), route.ids,
                                     {&projection, 1});
      const std::string name = fmt::format("{}, {} rows", tensor::name(dtype), batch);
      outcomes.push_back({"choice, " + name, bench.values(route.weights), kExact});
      outcomes.push_back({name, bench.values(projection.out), product_tolerance(dtype)});
    }
  }
  return outcomes;
}

struct AttentionShape {
  std::int64_t heads, kv_heads, size, page;
  std::int32_t window;
};

Outcome attention_of(Workbench& bench, DType type, const AttentionShape& s) {
  const std::vector<std::int32_t> lengths = {97, 20};
  const std::int64_t pages_each = (97 + s.page - 1) / s.page;
  const std::int64_t pages = 2 * pages_each;
  std::vector<std::int32_t> table(static_cast<std::size_t>(pages));
  std::iota(table.rbegin(), table.rend(), 0);
  const Tensor page_table = bench.ints({2, pages_each}, table);
  // Nothing may leak from cells that were not written: all bits set is NaN in every format.
  const Tensor keys = bench.filled(type, {pages, s.kv_heads, s.page, s.size}, std::byte{0xFF});
  const Tensor values = bench.filled(type, {pages, s.kv_heads, s.page, s.size}, std::byte{0xFF});
  std::vector<std::int32_t> sequence, cell, begin;
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::int32_t length = lengths[static_cast<std::size_t>(i)];
    const std::vector<std::int32_t> owner(static_cast<std::size_t>(length), i);
    std::vector<std::int32_t> cells(owner.size());
    std::iota(cells.begin(), cells.end(), 0);
    const KvRows all{page_table, bench.ints({length}, owner), bench.ints({length}, cells)};
    for (const KvPart part : {KvPart::kKeys, KvPart::kValues}) {
      bench.backend().store_kv(part, bench.floats({length, s.kv_heads, s.size}), all,
                               part == KvPart::kKeys ? keys : values);
    }
    for (std::int32_t c = length - (i == 0 ? 18 : 1); c < length; ++c) {
      sequence.push_back(i);
      cell.push_back(c);
      begin.push_back(s.window > 0 ? std::max(0, c + 1 - s.window) : 0);
    }
  }
  std::vector<std::int32_t> end = cell;
  for (std::int32_t& value : end) ++value;
  const auto rows = static_cast<std::int64_t>(cell.size());
  AttendArguments a;
  a.q = bench.floats({rows, s.heads, s.size});
  a.keys = keys;
  a.values = values;
  a.rows = {page_table, bench.ints({rows}, sequence), bench.ints({rows}, cell)};
  a.row_begin = bench.ints({rows}, begin);
  a.row_end = bench.ints({rows}, end);
  a.scale = 1.0F / std::sqrt(static_cast<float>(s.size));
  a.out = bench.zeros({rows, s.heads, s.size});
  bench.backend().attend(a);
  // 16-bit keys, values and weights may be rounded to bfloat16.
  return {fmt::format("{}, {} heads of {}{}", tensor::name(type), s.heads, s.size,
                      s.window > 0 ? ", window" : ""),
          bench.values(a.out), type == DType::kF32 ? kExact : 2e-4};
}

std::vector<Outcome> attention(Workbench& bench) {
  std::vector<Outcome> outcomes;
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    outcomes.push_back(attention_of(bench, type, {8, 2, 64, 64, 0}));
    outcomes.push_back(attention_of(bench, type, {4, 4, 128, 64, 33}));
    outcomes.push_back(attention_of(bench, type, {6, 1, 96, 32, 0}));
  }
  return outcomes;
}

std::vector<Outcome> elementwise(Workbench& bench) {
  Backend& backend = bench.backend();
  std::vector<Outcome> outcomes;
  const auto add = [&](const char* name, const Tensor& out) {
    outcomes.push_back({name, bench.values(out), kExact});
  };
  const std::int64_t rows = bench.between(3, 9), heads = 3, size = 2 * bench.between(20, 70);
  const std::int64_t width = heads * size;
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer, NormKind::kL2}) {
    const Tensor out = bench.zeros({rows, width});
    const bool weighted = kind != NormKind::kL2;
    backend.norm({kind, 1e-5F, bench.floats({rows, width}),
                  weighted ? bench.floats({width}) : Tensor{},
                  kind == NormKind::kLayer ? bench.floats({width}) : Tensor{}, out});
    add("norm", out);
  }
  for (const Activation activation : {Activation::kSilu, Activation::kGelu, Activation::kSigmoid,
                                      Activation::kTanh, Activation::kSoftplus}) {
    const Tensor out = bench.zeros({rows, width});
    backend.activate(activation, bench.floats({rows, width}, 2), out);
    add("activation", out);
  }
  const Tensor gated = bench.zeros({rows, width});
  spec::Gating gating;
  backend.activate_gated(gating, bench.floats({rows, width}), bench.floats({rows, width}), gated);
  add("gated activation", gated);
  const Tensor turned = bench.floats({rows, heads, size});
  const Tensor angles = bench.floats({rows, size / 2, 2});
  for (const RopePairing pairing : {RopePairing::kHalves, RopePairing::kAdjacent}) {
    backend.rope(pairing, angles, turned);
    add("rotary positions", turned);
  }
  const Tensor sum = bench.zeros({rows, width});
  backend.add(bench.floats({rows, width}), bench.floats({rows, width}), 0.7F, sum);
  add("sum", sum);
  const Tensor product = bench.zeros({rows, width});
  backend.multiply(sum, bench.floats({1, width}), product);
  add("product", product);
  const Tensor mixed = bench.floats({rows, 2, size});
  backend.mix(bench.floats({rows, 2, heads}), turned, true, mixed);
  add("mix", mixed);
  backend.softcap(product, 0.8F);
  add("soft cap", product);
  backend.clamp(sum, 0.9F);
  add("clamp", sum);
  return outcomes;
}

/// Two segments; the first begins with zeroes, the second with slot 1; ends are kept.
RecurrentRows two_segments(Workbench& bench, std::int32_t first, std::int32_t second) {
  const std::vector<std::int32_t> begin = {0, first, first + second}, before = {-1, 1};
  std::vector<std::int32_t> after(static_cast<std::size_t>(first + second), -1);
  after[static_cast<std::size_t>(first - 1)] = 0;
  after.back() = 2;
  return {bench.ints({3}, begin), bench.ints({2}, before), bench.ints({first + second}, after)};
}

/// exp(-x) style rates: negative numbers.
Tensor negative_rates(Workbench& bench, std::initializer_list<std::int64_t> shape) {
  return bench.near(shape, -3, -0.1F);
}

std::vector<Outcome> recurrent(Workbench& bench) {
  Backend& backend = bench.backend();
  std::vector<Outcome> outcomes;
  // A recurrence adds up what its operations round.
  constexpr double kTolerance = 1e-8;
  for (const auto& [first, second] : {std::pair{1, 1}, std::pair{70, 13}}) {
    const std::int64_t rows = first + second, heads = 4, size = 32;
    const auto add = [&](const char* name, const Tensor& out, const Tensor& state) {
      const std::string shape = fmt::format("{}, {} rows", name, rows);
      outcomes.push_back({shape, bench.values(out), kTolerance});
      outcomes.push_back({shape + ", state", bench.values(state), kTolerance});
    };
    ConvolveArguments c{.x = bench.floats({rows, 100}),
                        .weight = bench.floats({100, 4}),
                        .bias = bench.floats({100}),
                        .silu = true,
                        .state = bench.floats({3, 100, 3}),
                        .rows = two_segments(bench, first, second),
                        .out = bench.zeros({rows, 100})};
    backend.convolve(c);
    add("convolution", c.out, c.state);

    DeltaScanArguments d{.q = bench.floats({rows, heads, size}, 0.2F),
                         .k = bench.floats({rows, heads, size}, 0.2F),
                         .v = bench.floats({rows, heads, size}),
                         .decay = bench.near({rows, heads}, -2, 0),
                         .beta = bench.near({rows, heads}, 0, 1),
                         .scale = 0.2F,
                         .state = bench.floats({3, heads, size, size}, 0.3F),
                         .rows = two_segments(bench, first, second),
                         .out = bench.zeros({rows, heads, size})};
    backend.norm({NormKind::kL2, 1e-6F, d.k, {}, {}, d.k});
    backend.delta_scan(d);
    add("delta rule", d.out, d.state);

    SelectiveScanArguments s{.x = bench.floats({rows, 60}),
                             .dt = bench.near({rows, 60}, 2, 0.01F),
                             .b = bench.floats({rows, 16}),
                             .c = bench.floats({rows, 16}),
                             .a = negative_rates(bench, {60, 16}),
                             .d = bench.floats({60}),
                             .state = bench.floats({3, 1, 60, 16}, 0.3F),
                             .rows = two_segments(bench, first, second),
                             .out = bench.zeros({rows, 60})};
    backend.selective_scan(s);
    add("selective scan", s.out, s.state);

    StateSpaceScanArguments m{.x = bench.floats({rows, heads, size}),
                              .dt = bench.near({rows, heads}, 2, 0.001F),
                              .b = bench.floats({rows, 2, 32}, 0.3F),
                              .c = bench.floats({rows, 2, 32}, 0.3F),
                              .a = negative_rates(bench, {heads}),
                              .d = bench.floats({heads}),
                              .state = bench.floats({3, heads, size, 32}, 0.3F),
                              .rows = two_segments(bench, first, second),
                              .out = bench.zeros({rows, heads, size})};
    backend.state_space_scan(m);
    add("state space scan", m.out, m.state);

    RwkvScanArguments r{.r = bench.floats({rows, heads, size}),
                        .w = bench.near({rows, heads, size}, 0.55F, 1),
                        .k = bench.floats({rows, heads, size}, 0.3F),
                        .v = bench.floats({rows, heads, size}),
                        .a = bench.floats({rows, heads, size}),
                        .b = bench.zeros({rows, heads, size}),
                        .state = bench.floats({3, heads, size, size}, 0.3F),
                        .rows = two_segments(bench, first, second),
                        .out = bench.zeros({rows, heads, size})};
    backend.norm({NormKind::kL2, 1e-6F, r.a, {}, {}, r.a});
    backend.scale(r.a, -0.7F, r.b);
    backend.rwkv_scan(r);
    add("RWKV scan", r.out, r.state);
  }
  return outcomes;
}

constexpr SelfTestPart kParts[] = {{"products", products},       {"rows", rows_of_tables},
                                   {"experts", experts},         {"attention", attention},
                                   {"elementwise", elementwise}, {"recurrent", recurrent}};

}  // namespace

std::span<const SelfTestPart> all_self_test_parts() noexcept { return kParts; }

}  // namespace hearth::measure
