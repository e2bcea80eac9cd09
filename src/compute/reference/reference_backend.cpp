#include "compute/reference/reference_backend.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "compute/reference/access.h"
#include "compute/reference/coded_pages.h"
#include "compute/reference/operations.h"
#include "support/error.h"
#include "tensor/dtype.h"

namespace hearth::compute {
namespace {

using namespace reference;

/// Which axis (t, h, w, e) pair i of a multi-axis RoPE follows (reference: blocks.md section 2.3).
int reference_rope_axis(const RopeAngles& angles, std::int64_t pair) noexcept {
  const auto& s = angles.sections;
  const std::int64_t total = s[0] + s[1] + s[2] + s[3];
  if (total == 0) return 0;
  const std::int64_t z = pair % total;
  if (angles.interleaved_sections) {
    if (z % 3 == 1 && z < 3 * s[1]) return 1;
    if (z % 3 == 2 && z < 3 * s[2]) return 2;
    if (z % 3 == 0 && z < 3 * s[0]) return 0;
    return 3;
  }
  if (z < s[0]) return 0;
  if (z < s[0] + s[1]) return 1;
  return z < s[0] + s[1] + s[2] ? 2 : 3;
}

class ReferenceBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "reference"; }

  std::unique_ptr<Buffer> allocate(std::size_t bytes, MemoryCategory category) override {
    return std::make_unique<ReferenceBuffer>(bytes, allocated_[static_cast<std::size_t>(category)]);
  }
  [[nodiscard]] std::size_t allocated(MemoryCategory category) const noexcept override {
    return allocated_[static_cast<std::size_t>(category)];
  }
  void write(const Tensor& to, const void* host) noexcept override {
    std::memcpy(address(to, 0, 0, 0, 0), host,
                tensor::row_bytes(to.dtype, static_cast<std::size_t>(to.elements())));
  }
  void read(const Tensor& from, void* host) noexcept override {
    auto* out = static_cast<std::byte*>(host);
    for_blocks(from, [&](auto i, auto j, auto k, auto l, std::size_t size) {
      std::memcpy(out, pool_block(from, i, j, k, l), size);
      out += size;
    });
  }
  void copy(const Tensor& from, const Tensor& to) noexcept override {
    for_blocks(from, [&](auto i, auto j, auto k, auto l, std::size_t size) {
      std::memcpy(pool_block(to, i, j, k, l), pool_block(from, i, j, k, l), size);
    });
  }

  std::unique_ptr<Weight> load_weight(const WeightSource& source, unsigned /*use*/,
                                      Residency /*residency*/) override {
    if (!quant::can_decode(source.dtype)) {
      throw Error("tensor '" + printable(source.name) + "' has type " +
                  std::string(tensor::name(source.dtype)) + ", which cannot be used as a weight");
    }
    return std::make_unique<ReferenceWeight>(source);
  }
  [[nodiscard]] std::size_t resident_bytes(const WeightSource& /*source*/, unsigned /*use*/,
                                           Residency /*residency*/) const noexcept override {
    return 0;
  }
  void reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) override {}

  void get_rows(const Weight& table, const Tensor& ids, float scale,
                const Tensor& out) noexcept override {
    std::vector<float> row(static_cast<std::size_t>(table.columns()));
    for (std::int64_t t = 0; t < out.shape[0]; ++t) {
      static_cast<const ReferenceWeight&>(table).decode_row(int_at(ids, t), row);
      for (std::int64_t i = 0; i < out.shape[1]; ++i)
        at(out, t, i) = scale * row[static_cast<std::size_t>(i)];
    }
  }

  void matmul(const Tensor& x, std::span<const Projection> projections) noexcept override {
    for (const Projection& p : projections) {
      std::vector<float> row(static_cast<std::size_t>(p.weight->columns()));
      for (std::int64_t r = 0; r < p.weight->rows(); ++r) {
        static_cast<const ReferenceWeight*>(p.weight)->decode_row(r, row);
        for (std::int64_t t = 0; t < x.shape[0]; ++t) {
          double sum = 0;
          for (std::int64_t i = 0; i < p.weight->columns(); ++i) {
            sum += static_cast<double>(row[static_cast<std::size_t>(i)]) * at(x, t, i);
          }
          at(p.out, t, r) = static_cast<float>(p.scale * sum + (p.bias ? at(p.bias, r) : 0.0F));
        }
      }
    }
  }

  void norm(const NormArguments& a) noexcept override {
    const bool heads = a.x.rank == 3;
    const std::int64_t size = heads ? a.x.shape[2] : a.x.shape[1];
    for (std::int64_t t = 0; t < a.x.shape[0]; ++t) {
      for (std::int64_t h = 0; h < (heads ? a.x.shape[1] : 1); ++h) {
        const Run x{&a.x, t, h};
        const Run out{&a.out, t, h};
        double mean = 0;
        double square = 0;
        if (a.kind == NormKind::kLayer) {
          for (std::int64_t i = 0; i < size; ++i) mean += x[i];
          mean /= static_cast<double>(size);
        }
        for (std::int64_t i = 0; i < size; ++i) square += (x[i] - mean) * (x[i] - mean);
        const double factor =
            a.kind == NormKind::kL2
                ? 1.0 / std::max(std::sqrt(square), static_cast<double>(a.epsilon))
                : 1.0 / std::sqrt(square / static_cast<double>(size) + a.epsilon);
        for (std::int64_t i = 0; i < size; ++i) {
          double y = (x[i] - mean) * factor;
          if (a.weight) y *= a.weight.rank == 2 ? at(a.weight, h, i) : at(a.weight, i);
          if (a.bias) y += a.bias.rank == 2 ? at(a.bias, h, i) : at(a.bias, i);
          out[i] = static_cast<float>(y);
        }
      }
    }
  }

  void rope_table(const RopeAngles& angles, const Tensor& positions, const Tensor& factors,
                  const Tensor& table) noexcept override {
    for (std::int64_t t = 0; t < table.shape[0]; ++t) {
      for (std::int64_t i = 0; i < table.shape[1]; ++i) {
        const std::int32_t position = positions.rank == 2
                                          ? int_at(positions, t, reference_rope_axis(angles, i))
                                          : int_at(positions, t);
        const double exponent = -2.0 * static_cast<double>(i) / angles.rotated;
        const double theta =
            position * std::pow(angles.base, exponent) / (factors ? at(factors, i) : 1.0F);
        double angle = angles.frequency_scale * theta;
        if (angles.yarn) {
          const double span =
              std::max(0.001, static_cast<double>(angles.yarn_high) - angles.yarn_low);
          const double ramp =
              1.0 - std::clamp((static_cast<double>(i) - angles.yarn_low) / span, 0.0, 1.0);
          angle = angle * (1.0 - ramp) + theta * ramp;
        }
        at(table, t, i, 0) = static_cast<float>(angles.magnitude * std::cos(angle));
        at(table, t, i, 1) = static_cast<float>(angles.magnitude * std::sin(angle));
      }
    }
  }

  void rope(RopePairing pairing, const Tensor& table, const Tensor& x,
            bool inverse) noexcept override {
    const std::int64_t pairs = table.shape[1];
    for (std::int64_t t = 0; t < x.shape[0]; ++t) {
      for (std::int64_t h = 0; h < x.shape[1]; ++h) {
        for (std::int64_t i = 0; i < pairs; ++i) {
          float& a = at(x, t, h, pairing == RopePairing::kAdjacent ? 2 * i : i);
          float& b = at(x, t, h, pairing == RopePairing::kAdjacent ? 2 * i + 1 : i + pairs);
          const double c = at(table, t, i, 0);
          const double s = inverse ? -at(table, t, i, 1) : at(table, t, i, 1);
          const double old_a = a;
          a = static_cast<float>(old_a * c - b * s);
          b = static_cast<float>(old_a * s + b * c);
        }
      }
    }
  }

  void store_kv(KvPart /*part*/, const Tensor& values, const KvRows& rows,
                const Tensor& pool) noexcept override {
    const tensor::DTypeInfo& type = tensor::info(pool.dtype);
    std::vector<float> block(type.block_elements);
    for_each(values, [&](auto t, auto head, auto i) {
      if (i % type.block_elements != 0) return;
      const Cell cell = locate(rows, pool.shape[2], t, int_at(rows.row_cell, t));
      for (std::size_t j = 0; j < block.size(); ++j) {
        block[j] = at(values, t, head, i + static_cast<std::int64_t>(j));
      }
      quant::encode_kv(pool.dtype, block,
                       {pool_block(pool, cell.page, head, cell.slot, i), type.block_bytes});
    });
  }

  void attend(const AttendArguments& a) noexcept override {
    for (std::int64_t t = 0; t < a.q.shape[0]; ++t) {
      for (std::int64_t h = 0; h < a.q.shape[1]; ++h) attend_head(a, t, h);
    }
  }

  void activate(Activation activation, const Tensor& x, const Tensor& out) noexcept override {
    for_each(x, [&](auto i, auto j, auto k) {
      at(out, i, j, k) = static_cast<float>(apply(activation, at(x, i, j, k)));
    });
  }
  void activate_xielu(const Xielu& xielu, const Tensor& x, const Tensor& out) noexcept override {
    for_each(x, [&](auto i, auto j, auto k) {
      const double z = at(x, i, j, k);
      const double tail = std::expm1(std::min(z, static_cast<double>(xielu.epsilon))) - z;
      const double curve = z > 0 ? xielu.positive * z * z : xielu.negative * tail;
      at(out, i, j, k) = static_cast<float>(curve + xielu.beta * z);
    });
  }
  void activate_gated(const Gating& gating, const Tensor& gate, const Tensor& up,
                      const Tensor& out) noexcept override {
    for_each(gate, [&](auto i, auto j, auto k) {
      at(out, i, j, k) = static_cast<float>(apply(gating, at(gate, i, j, k), at(up, i, j, k)));
    });
  }
  void add(const Tensor& a, const Tensor& b, float factor, const Tensor& out) noexcept override {
    const bool one_row = b.shape[0] == 1;
    for_each(a, [&](auto i, auto j, auto k) {
      at(out, i, j, k) = at(a, i, j, k) + factor * at(b, one_row ? 0 : i, j, k);
    });
  }
  void scale(const Tensor& x, float factor, const Tensor& out) noexcept override {
    for_each(x, [&](auto i, auto j, auto k) { at(out, i, j, k) = factor * at(x, i, j, k); });
  }
  void scale_rows(const Tensor& x, const Tensor& factors) noexcept override {
    for_each(x, [&](auto i, auto j, auto k) { at(x, i, j, k) *= at(factors, i); });
  }
  void clamp(const Tensor& x, float limit) noexcept override {
    for_each(x, [&](auto i, auto j, auto k) {
      at(x, i, j, k) = std::clamp(at(x, i, j, k), -limit, limit);
    });
  }
  void softcap(const Tensor& x, float cap) noexcept override {
    for_each(x, [&](auto i, auto j, auto k) {
      at(x, i, j, k) =
          static_cast<float>(cap * std::tanh(at(x, i, j, k) / static_cast<double>(cap)));
    });
  }
  void gather(const Tensor& x, const Tensor& rows, const Tensor& out) noexcept override {
    for_each(out, [&](auto i, auto j, auto k) {
      std::memcpy(address(out, i, j, k, 0), address(x, int_at(rows, i), j, k, 0), sizeof(float));
    });
  }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& out) noexcept override {
    reference::multiply(a, b, out);
  }
  void mix(const Tensor& coefficients, const Tensor& x, bool accumulate,
           const Tensor& out) noexcept override {
    reference::mix(coefficients, x, accumulate, out);
  }
  void match_norm(const Tensor& x, const Tensor& like) noexcept override {
    reference::match_norm(x, like);
  }
  void keep_largest(const Tensor& x, float multiplier) noexcept override {
    reference::keep_largest(x, multiplier);
  }
  void route(const RouteArguments& a) noexcept override { reference::route(a); }
  void grouped_matmul(const Tensor& x, const Tensor& ids,
                      std::span<const GroupedProjection> projections) noexcept override {
    reference::grouped_matmul(x, ids, projections);
  }
  void transposed_matmul(const TransposedArguments& a) noexcept override {
    reference::transposed_matmul(a);
  }
  void encode_pages(const EncodePagesArguments& a) noexcept override { reference::encode_pages(a); }
  void attend_selected(const SelectedAttendArguments& a) noexcept override {
    reference::attend_selected(a);
  }
  void select_cells(const SelectCellsArguments& a) noexcept override { reference::select_cells(a); }
  void select_blocks(const SelectBlocksArguments& a) noexcept override {
    reference::select_blocks(a);
  }
  void compress(const CompressArguments& a) noexcept override { reference::compress(a); }
  void convolve(const ConvolveArguments& a) noexcept override { reference::convolve(a); }
  void delta_scan(const DeltaScanArguments& a) noexcept override { reference::delta_scan(a); }
  void selective_scan(const SelectiveScanArguments& a) noexcept override {
    reference::selective_scan(a);
  }
  void state_space_scan(const StateSpaceScanArguments& a) noexcept override {
    reference::state_space_scan(a);
  }
  void rwkv_scan(const RwkvScanArguments& a) noexcept override { reference::rwkv_scan(a); }
  void hyper_weights(const HyperWeightsArguments& a) noexcept override {
    reference::hyper_weights(a);
  }

 private:
  static void attend_head(const AttendArguments& a, std::int64_t t, std::int64_t h) noexcept {
    const std::int64_t kv_head = h / (a.q.shape[1] / a.keys.shape[1]);
    const AttendPart& part = a.part;
    std::int64_t begin = int_at(a.row_begin, t);
    std::int64_t end = int_at(a.row_end, t);
    if (part.running) {
      begin = std::max(begin, part.begin);
      end = std::max(begin, std::min(end, part.end));
    }
    const auto running = [&](std::int64_t i) -> float& { return at(part.running, t, h, i); };
    const bool goes_on = part.running && !part.first;
    const bool ends = !part.running || part.last;
    std::vector<double> scores(static_cast<std::size_t>(end - begin));
    CellReader keys(KvPart::kKeys, a.keys, a.coded_keys, a.key_code, kv_head);
    const double before = goes_on ? running(0) : -std::numeric_limits<double>::infinity();
    double maximum = a.sinks && ends ? std::max<double>(before, at(a.sinks, h)) : before;
    for (std::int64_t c = begin; c < end; ++c) {
      const Cell cell = locate(a.rows, a.keys.shape[2], t, c);
      double score = 0;
      for (std::int64_t i = 0; i < a.q.shape[2]; ++i) {
        score += at(a.q, t, h, i) * keys.at(cell.page, cell.slot, i);
      }
      score *= a.scale;
      if (a.softcap > 0) score = a.softcap * std::tanh(score / a.softcap);
      if (a.slopes)
        score -= at(a.slopes, h) * static_cast<double>(std::abs(int_at(a.rows.row_cell, t) - c));
      if (a.distance_bias) {
        const std::int64_t reach = a.distance_bias.shape[1] / 2;
        const std::int64_t distance = c - int_at(a.rows.row_cell, t);
        score += at(a.distance_bias, h, std::clamp(distance, -reach, reach) + reach);
      }
      scores[static_cast<std::size_t>(c - begin)] = score;
      maximum = std::max(maximum, score);
    }
    const double kept = goes_on && std::isfinite(before) ? std::exp(before - maximum) : 0.0;
    double sum = a.sinks && ends ? std::exp(at(a.sinks, h) - maximum) : 0.0;
    if (goes_on) sum += kept * running(1);
    for (double& score : scores) sum += score = std::exp(score - maximum);
    CellReader values =
        a.values ? CellReader(KvPart::kValues, a.values, a.coded_values, a.value_code, kv_head)
                 : keys;
    std::vector<double> mixed(static_cast<std::size_t>(a.out.shape[2]));
    for (std::size_t i = 0; goes_on && i < mixed.size(); ++i) {
      mixed[i] = kept * running(2 + static_cast<std::int64_t>(i));
    }
    for (std::int64_t c = begin; c < end; ++c) {
      const Cell cell = locate(a.rows, a.keys.shape[2], t, c);
      for (std::size_t i = 0; i < mixed.size(); ++i) {
        mixed[i] += scores[static_cast<std::size_t>(c - begin)] *
                    values.at(cell.page, cell.slot, static_cast<std::int64_t>(i));
      }
    }
    if (!ends) {
      running(0) = static_cast<float>(maximum);
      running(1) = static_cast<float>(sum);
    }
    for (std::size_t i = 0; i < mixed.size(); ++i) {
      const auto element = static_cast<std::int64_t>(i);
      if (ends) {
        at(a.out, t, h, element) = static_cast<float>(mixed[i] / sum);
      } else {
        running(2 + element) = static_cast<float>(mixed[i]);
      }
    }
  }

  std::array<std::size_t, kMemoryCategories> allocated_{};
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace hearth::compute
