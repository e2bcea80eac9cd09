#include "compute/cpu/cpu_backend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "compute/cpu/access.h"
#include "compute/cpu/attention.h"
#include "compute/cpu/coded_pages.h"
#include "compute/cpu/elementwise.h"
#include "compute/cpu/experts.h"
#include "compute/cpu/kernel_choice.h"
#include "compute/cpu/kv_layout.h"
#include "compute/cpu/kv_store.h"
#include "compute/cpu/matmul.h"
#include "compute/cpu/memory.h"
#include "compute/cpu/recurrent.h"
#include "compute/cpu/row_loop.h"
#include "compute/cpu/selection.h"
#include "compute/cpu/transposed.h"
#include "machine/cpu.h"
#include "machine/topology.h"
#include "quant/quant.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace hearth::compute {
namespace {

using cpu::AttentionEngine;
using cpu::available_kernels;
using cpu::bytes_of;
using cpu::choose_kernels;
using cpu::CpuBuffer;
using cpu::CpuWeight;
using cpu::floats_of;
using cpu::int_at;
using cpu::KernelTable;
using cpu::Ledger;
using cpu::MatmulEngine;
using cpu::Rows;
using cpu::WeightSlabs;

/// Which axis (t, h, w, e) pair `pair` of a multi-axis RoPE follows (reference: blocks.md
/// section 2.3).
std::int64_t rope_axis(const RopeAngles& angles, std::int64_t pair) noexcept {
  const auto& s = angles.sections;
  const std::int64_t total = std::int64_t{s[0]} + s[1] + s[2] + s[3];
  if (total == 0) return 0;
  const std::int64_t place = pair % total;
  if (angles.interleaved_sections) {
    const std::int64_t axis = place % 3;
    return place < 3 * std::int64_t{s[axis]} ? axis : 3;
  }
  std::int64_t end = 0;
  for (std::int64_t axis = 0; axis < 3; ++axis) {
    end += s[axis];
    if (place < end) return axis;
  }
  return 3;
}

ThreadTeam make_team(int wanted) {
  const int threads = wanted > 0 ? wanted : machine::usable_cores();
  const char* const pin = std::getenv("HEARTH_PIN");
  return ThreadTeam(threads, machine::team_places(threads, pin != nullptr ? pin : ""));
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options)
      : kernels_(options.exact ? cpu::without_pairs(choose_kernels(options.instruction_set))
                               : choose_kernels(options.instruction_set)),
        exact_(options.exact),
        team_(make_team(options.threads)),
        ledger_(std::make_shared<Ledger>()),
        slabs_(ledger_),
        matmul_(team_, kernels_, ledger_),
        attention_(team_, kernels_, ledger_, coders_, exact_),
        encoder_(team_, kernels_, attention_, coders_),
        elementwise_(team_, kernels_),
        experts_(team_, kernels_, ledger_, matmul_),
        selection_(team_, kernels_, attention_),
        transposed_(team_, kernels_, attention_),
        recurrent_(team_, kernels_, ledger_) {}

  [[nodiscard]] std::string_view name() const noexcept override { return kernels_.name; }

  std::unique_ptr<Buffer> allocate(std::size_t bytes, MemoryCategory category) override {
    return std::make_unique<CpuBuffer>(ledger_, category, bytes);
  }
  [[nodiscard]] std::size_t allocated(MemoryCategory category) const noexcept override {
    return ledger_->bytes(category);
  }

  void write(const Tensor& to, const void* host) noexcept override {
    if (to.elements() == 0) return;  // then there may be no host memory either
    std::memcpy(bytes_of(to), host,
                tensor::row_bytes(to.dtype, static_cast<std::size_t>(to.elements())));
  }
  void read(const Tensor& from, void* host) noexcept override {
    auto* out = static_cast<std::byte*>(host);
    for_runs(from, [&](std::int64_t offset, std::size_t bytes) {
      if (bytes > 0) std::memcpy(out, bytes_of(from) + offset, bytes);
      out += bytes;
    });
  }
  void copy(const Tensor& from, const Tensor& to) noexcept override {
    const std::int64_t last = last_size(from);
    for (std::int64_t i = 0; i < outer(from, 0); ++i) {
      for (std::int64_t j = 0; j < outer(from, 1); ++j) {
        for (std::int64_t k = 0; k < outer(from, 2); ++k) {
          std::memmove(bytes_of(to) + cpu::pool_bytes(to, offset_of(to, i, j, k)),
                       bytes_of(from) + cpu::pool_bytes(from, offset_of(from, i, j, k)),
                       static_cast<std::size_t>(cpu::pool_bytes(from, last)));
        }
      }
    }
  }

  std::unique_ptr<Weight> load_weight(const WeightSource& source, unsigned use,
                                      Residency residency) override {
    if (!quant::can_decode(source.dtype)) {
      throw Error("tensor '" + printable(source.name) + "' has type " +
                  std::string(tensor::name(source.dtype)) + ", which cannot be used as a weight");
    }
    auto weight =
        std::make_unique<CpuWeight>(source, cpu::panel_format(source.dtype, exact_, kernels_));
    if ((use & kUseMatmul) == 0) return weight;
    reserve_for(*weight, use, residency);
    if (is_packed(source, use, residency)) {
      weight->pack(slabs_, team_, kernels_);
    }
    return weight;
  }
  void reserve_weight(const WeightSource& source, unsigned use, Residency residency) override {
    if ((use & kUseMatmul) == 0 || !quant::can_decode(source.dtype)) return;
    reserve_for(CpuWeight(source, cpu::panel_format(source.dtype, exact_, kernels_)), use,
                residency);
  }
  [[nodiscard]] std::size_t resident_bytes(const WeightSource& source, unsigned use,
                                           Residency residency) const noexcept override {
    if (!is_packed(source, use, residency)) return 0;
    const CpuWeight weight(source, cpu::panel_format(source.dtype, exact_, kernels_));
    return weight.packed_bytes();
  }
  void reserve(std::int64_t rows, std::int64_t columns) override {
    matmul_.reserve(rows, columns);
    attention_.reserve(rows, columns);
    recurrent_.reserve(rows, columns);
  }

  void get_rows(const Weight& table, const Tensor& ids, float factor,
                const Tensor& out) noexcept override {
    const WeightSource& source = table.source();
    const std::size_t row_bytes =
        tensor::row_bytes(source.dtype, static_cast<std::size_t>(source.columns));
    for_rows(out.shape[0], source.columns, [&](std::int64_t t) {
      float* const row = floats_of(out) + t * out.strides[0];
      quant::decode(
          source.dtype,
          source.bytes.subspan(static_cast<std::size_t>(int_at(ids, t)) * row_bytes, row_bytes),
          {row, static_cast<std::size_t>(source.columns)});
      if (factor != 1.0F) kernels_.scale(row, factor, row, source.columns);
    });
  }

  void matmul(const Tensor& x, std::span<const Projection> projections) noexcept override {
    matmul_.run(x, projections);
  }

  void norm(const NormArguments& a) noexcept override {
    const Rows x(a.x);
    const Rows out(a.out);
    const std::int64_t heads = a.x.rank == 3 ? a.x.shape[1] : 1;
    const auto parameter = [heads](const Tensor& t, std::int64_t row) -> const float* {
      if (!t) return nullptr;
      return floats_of(t) + (t.rank == 2 ? row % heads * t.strides[0] : 0);
    };
    const auto kernel = a.kind == NormKind::kRms     ? kernels_.norm_rms
                        : a.kind == NormKind::kLayer ? kernels_.norm_layer
                                                     : kernels_.norm_l2;
    for_rows(x.count(), x.size(), [&](std::int64_t row) {
      kernel({x[row], parameter(a.weight, row), parameter(a.bias, row), out[row], x.size(),
              a.epsilon});
    });
  }

  void rope_table(const RopeAngles& angles, const Tensor& positions, const Tensor& factors,
                  const Tensor& table) noexcept override {
    // Powers and trigonometry in double precision cost about as much as 64 ordinary values.
    for_rows(table.shape[0], table.shape[1] * 64, [&](std::int64_t t) {
      for (std::int64_t pair = 0; pair < table.shape[1]; ++pair) {
        const std::int64_t axis = positions.rank == 2 ? rope_axis(angles, pair) : 0;
        const std::int32_t position = cpu::ints_of(positions)[t * positions.strides[0] + axis];
        const double exponent = -2.0 * static_cast<double>(pair) / angles.rotated;
        const double theta = position * std::pow(angles.base, exponent) /
                             (factors ? floats_of(factors)[pair] : 1.0F);
        double angle = angles.frequency_scale * theta;
        if (angles.yarn) {
          const double span =
              std::max(0.001, static_cast<double>(angles.yarn_high) - angles.yarn_low);
          const double ramp =
              1.0 - std::clamp((static_cast<double>(pair) - angles.yarn_low) / span, 0.0, 1.0);
          angle = angle * (1.0 - ramp) + theta * ramp;
        }
        float* const out = floats_of(table) + t * table.strides[0] + pair * table.strides[1];
        out[0] = static_cast<float>(angles.magnitude * std::cos(angle));
        out[1] = static_cast<float>(angles.magnitude * std::sin(angle));
      }
    });
  }

  void rope(RopePairing pairing, const Tensor& table, const Tensor& x,
            bool inverse) noexcept override {
    const auto kernel =
        pairing == RopePairing::kHalves ? kernels_.rope_halves : kernels_.rope_adjacent;
    for_rows(x.shape[0], x.shape[1] * x.shape[2], [&](std::int64_t t) {
      for (std::int64_t head = 0; head < x.shape[1]; ++head) {
        kernel(floats_of(x) + t * x.strides[0] + head * x.strides[1],
               floats_of(table) + t * table.strides[0], table.shape[1], inverse ? -1.0F : 1.0F);
      }
    });
  }

  void store_kv(KvPart part, const Tensor& values, const KvRows& rows,
                const Tensor& pool) noexcept override {
    cpu::store_kv(team_, kernels_, part, values, rows, pool);
  }

  void encode_pages(const EncodePagesArguments& arguments) noexcept override {
    encoder_.run(arguments);
  }
  void attend(const AttendArguments& arguments) noexcept override { attention_.run(arguments); }

  void activate(Activation activation, const Tensor& x, const Tensor& out) noexcept override {
    const Rows from(x);
    const Rows to(out);
    for_rows(from.count(), 4 * from.size(), [&](std::int64_t row) {
      kernels_.activate(activation, from[row], to[row], from.size());
    });
  }
  void activate_xielu(const Xielu& xielu, const Tensor& x, const Tensor& out) noexcept override {
    const Rows from(x);
    const Rows to(out);
    for_rows(from.count(), 16 * from.size(), [&](std::int64_t row) {
      for (std::int64_t i = 0; i < from.size(); ++i) {
        const float z = from[row][i];
        const float tail = std::expm1(std::min(z, xielu.epsilon)) - z;
        const float curve = z > 0 ? xielu.positive * z * z : xielu.negative * tail;
        to[row][i] = curve + xielu.beta * z;
      }
    });
  }
  void activate_gated(const Gating& gating, const Tensor& gate, const Tensor& up,
                      const Tensor& out) noexcept override {
    const Rows gates(gate);
    const Rows ups(up);
    const Rows to(out);
    for_rows(gates.count(), 4 * gates.size(), [&](std::int64_t row) {
      kernels_.activate_gated(gating, gates[row], ups[row], to[row], gates.size());
    });
  }
  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& out) noexcept override {
    const Rows first(a);
    const Rows second(b);
    const Rows to(out);
    // One row of b (or one row of heads) is added to all.
    const std::int64_t period = b.shape[0] == 1 ? second.count() : first.count();
    for_rows(first.count(), first.size(), [&](std::int64_t row) {
      kernels_.add(first[row], second[row % period], factor, to[row], first.size());
    });
  }
  void scale(const Tensor& x, float factor, const Tensor& out) noexcept override {
    const Rows from(x);
    const Rows to(out);
    for_rows(from.count(), from.size(),
             [&](std::int64_t row) { kernels_.scale(from[row], factor, to[row], from.size()); });
  }
  void scale_rows(const Tensor& x, const Tensor& factors) noexcept override {
    const Rows rows(x);
    const std::int64_t heads = x.rank == 3 ? x.shape[1] : 1;
    for_rows(rows.count(), rows.size(), [&](std::int64_t row) {
      kernels_.scale(rows[row], floats_of(factors)[row / heads * factors.strides[0]], rows[row],
                     rows.size());
    });
  }
  void clamp(const Tensor& x, float limit) noexcept override {
    const Rows rows(x);
    for_rows(rows.count(), rows.size(),
             [&](std::int64_t row) { kernels_.clamp(rows[row], limit, rows.size()); });
  }
  void softcap(const Tensor& x, float cap) noexcept override {
    const Rows rows(x);
    for_rows(rows.count(), 4 * rows.size(),
             [&](std::int64_t row) { kernels_.softcap(rows[row], cap, rows.size()); });
  }
  void gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept override {
    for_rows(out.shape[0], out.shape[1], [&](std::int64_t i) {
      std::memcpy(floats_of(out) + i * out.strides[0],
                  floats_of(x) + int_at(rows, i) * x.strides[0],
                  static_cast<std::size_t>(out.shape[1]) * sizeof(float));
    });
  }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept override {
    elementwise_.multiply(a, b, out);
  }
  void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
           const Tensor& out) noexcept override {
    elementwise_.mix(coefficients, x, accumulate, out);
  }
  void match_norm(const Tensor& x, const Tensor& like) noexcept override {
    elementwise_.match_norm(x, like);
  }
  void keep_largest(const Tensor& x, float multiplier) noexcept override {
    elementwise_.keep_largest(x, multiplier);
  }
  void hyper_weights(const HyperWeightsArguments& a) noexcept override {
    elementwise_.hyper_weights(a);
  }
  void route(const RouteArguments& a) noexcept override { experts_.route(a); }
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept override {
    experts_.grouped_matmul(x, ids, projections);
  }
  void transposed_matmul(const TransposedArguments& a) noexcept override { transposed_.run(a); }
  void attend_selected(const SelectedAttendArguments& a) noexcept override {
    selection_.attend_selected(a);
  }
  void select_cells(const SelectCellsArguments& a) noexcept override { selection_.select_cells(a); }
  void select_blocks(const SelectBlocksArguments& a) noexcept override {
    selection_.select_blocks(a);
  }
  void compress(const CompressArguments& a) noexcept override { selection_.compress(a); }
  void convolve(const ConvolveArguments& a) noexcept override { recurrent_.convolve(a); }
  void delta_scan(const DeltaScanArguments& a) noexcept override { recurrent_.delta_scan(a); }
  void selective_scan(const SelectiveScanArguments& a) noexcept override {
    recurrent_.selective_scan(a);
  }
  void state_space_scan(const StateSpaceScanArguments& a) noexcept override {
    recurrent_.state_space_scan(a);
  }
  void rwkv_scan(const RwkvScanArguments& a) noexcept override { recurrent_.rwkv_scan(a); }

 private:
  /// Decoded copies of quantized weights would be many times larger than the file, so exact mode
  /// makes panels at each use.
  void reserve_for(const CpuWeight& weight, unsigned use, Residency residency) {
    const WeightSource& source = weight.source();
    matmul_.reserve_weight(weight, is_packed(source, use, residency));
    experts_.reserve_stack(source.matrices);
  }
  [[nodiscard]] bool is_packed(const WeightSource& source, unsigned use,
                               Residency residency) const noexcept {
    const bool widened = exact_ && tensor::info(source.dtype).quantized;
    return (use & kUseMatmul) != 0 && residency == Residency::kPacked && !widened;
  }

  /// body(row) for all rows, by the team when `count` rows of `cost` values are worth it.
  template <class Body>
  void for_rows(std::int64_t count, std::int64_t cost, Body body) noexcept {
    cpu::for_rows(team_, count, cost, body);
  }

  static std::int64_t outer(const Tensor& t, int dimension) noexcept {
    return dimension < t.rank - 1 ? t.shape[static_cast<std::size_t>(dimension)] : 1;
  }
  static std::int64_t last_size(const Tensor& t) noexcept {
    return t.shape[static_cast<std::size_t>(t.rank - 1)];
  }
  /// Elements before the run (i, j, k, 0); indices beyond the rank are 0.
  static std::int64_t offset_of(const Tensor& t, std::int64_t i, std::int64_t j,
                                std::int64_t k) noexcept {
    return i * t.strides[0] + j * t.strides[1] + k * t.strides[2];
  }
  /// body(offset, bytes) for every contiguous run of the last dimension, in order.
  template <class Body>
  static void for_runs(const Tensor& t, Body body) noexcept {
    for (std::int64_t i = 0; i < outer(t, 0); ++i) {
      for (std::int64_t j = 0; j < outer(t, 1); ++j) {
        for (std::int64_t k = 0; k < outer(t, 2); ++k) {
          body(cpu::pool_bytes(t, offset_of(t, i, j, k)),
               static_cast<std::size_t>(cpu::pool_bytes(t, last_size(t))));
        }
      }
    }
  }

  const KernelTable& kernels_;
  bool exact_;
  ThreadTeam team_;
  std::shared_ptr<Ledger> ledger_;
  WeightSlabs slabs_;
  MatmulEngine matmul_;
  cpu::CoderCache coders_;
  AttentionEngine attention_;
  cpu::PageEncoder encoder_;
  cpu::ElementwiseEngine elementwise_;
  cpu::ExpertEngine experts_;
  cpu::SelectionEngine selection_;
  cpu::TransposedEngine transposed_;
  cpu::RecurrentEngine recurrent_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

std::vector<std::string> cpu_instruction_sets() {
  std::vector<std::string> names;
  for (const KernelTable* table : available_kernels()) names.emplace_back(table->name);
  return names;
}

std::string chosen_cpu_instruction_set() { return choose_kernels({}).name; }

}  // namespace hearth::compute
