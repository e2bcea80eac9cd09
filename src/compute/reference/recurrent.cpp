// Recurrent mixers, row after row in double precision: the equations of blocks-recurrent.md as they
// stand.
#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {
namespace {

/// Calls step(row, from, to) for the rows of every segment in order. `from` is the state before the
/// row, as doubles; step() makes it the state after it. Initial states come from their slots, and
/// states that are wanted go to theirs.
template <class Step>
void scan(const RecurrentRows& rows, const Tensor& state, Step step) {
  const std::int64_t heads = state.shape[1];
  const std::int64_t count = heads * state.shape[2] * state.shape[3];
  std::vector<double> values(static_cast<std::size_t>(count));
  const auto for_elements = [&](std::int64_t slot, auto visit) {
    std::size_t index = 0;
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t i = 0; i < state.shape[2]; ++i) {
        for (std::int64_t j = 0; j < state.shape[3]; ++j) {
          visit(*reinterpret_cast<float*>(address(state, slot, h, i, j)), values[index++]);
        }
      }
    }
  };
  for (std::int64_t s = 0; s < rows.segment_slot.shape[0]; ++s) {
    std::fill(values.begin(), values.end(), 0.0);
    const std::int32_t first_slot = int_at(rows.segment_slot, s);
    if (first_slot >= 0) {
      for_elements(first_slot, [](float stored, double& value) { value = stored; });
    }
    for (std::int64_t t = int_at(rows.segment_begin, s); t < int_at(rows.segment_begin, s + 1);
         ++t) {
      step(t, values);
      const std::int32_t slot = int_at(rows.row_slot, t);
      if (slot >= 0) {
        for_elements(slot, [](float& stored, double value) { stored = static_cast<float>(value); });
      }
    }
  }
}

/// The matrix of one head inside the values that scan() hands out.
struct Matrix {
  Matrix(std::vector<double>& values, const Tensor& state, std::int64_t head)
      : data(values.data() + head * state.shape[2] * state.shape[3]), columns(state.shape[3]) {}
  double& operator()(std::int64_t i, std::int64_t j) const { return data[i * columns + j]; }
  double* data;
  std::int64_t columns;
};

}  // namespace

void convolve(const ConvolveArguments& a) noexcept {
  const std::int64_t channels = a.x.shape[1];
  const std::int64_t taps = a.weight.shape[1];
  const std::int64_t ahead = a.centred ? (taps - 1) / 2 : 0;
  for (std::int64_t s = 0; s < a.rows.segment_slot.shape[0]; ++s) {
    const std::int64_t begin = int_at(a.rows.segment_begin, s);
    const std::int64_t end = int_at(a.rows.segment_begin, s + 1);
    const std::int32_t slot = int_at(a.rows.segment_slot, s);
    for (std::int64_t c = 0; c < channels; ++c) {
      std::vector<float> before(static_cast<std::size_t>(taps), 0.0F);  // the last: row begin - 1
      if (!a.centred && slot >= 0) {
        for (std::int64_t j = 0; j + 1 < taps; ++j) {
          before[static_cast<std::size_t>(j + 1)] = at(a.state, slot, c, j);
        }
      }
      const auto input = [&](std::int64_t t) -> float {
        if (t >= begin) return t < end ? at(a.x, t, c) : 0.0F;
        return begin - t < taps ? before[static_cast<std::size_t>(taps - (begin - t))] : 0.0F;
      };
      for (std::int64_t t = begin; t < end; ++t) {
        double sum = a.bias ? at(a.bias, c) : 0.0;
        for (std::int64_t j = 0; j < taps; ++j) {
          sum += static_cast<double>(at(a.weight, c, j)) * input(t - taps + 1 + j + ahead);
        }
        at(a.out, t, c) = static_cast<float>(a.silu ? apply(Activation::kSilu, sum) : sum);
        const std::int32_t to = a.centred ? -1 : int_at(a.rows.row_slot, t);
        if (to < 0) continue;
        for (std::int64_t j = 0; j + 1 < taps; ++j) {
          at(a.state, to, c, j) = input(t - taps + 2 + j);
        }
      }
    }
  }
}

void delta_scan(const DeltaScanArguments& a) noexcept {
  const std::int64_t heads = a.v.shape[1];
  const std::int64_t key_heads = a.q.shape[1];
  const std::int64_t d = a.q.shape[2];
  const std::int64_t dv = a.v.shape[2];
  const bool per_channel = a.decay.rank == 3;
  scan(a.rows, a.state, [&](std::int64_t t, std::vector<double>& values) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t key_head = a.tiled ? h % key_heads : h / (heads / key_heads);
      const Matrix s(values, a.state, h);
      for (std::int64_t i = 0; i < d; ++i) {
        const double factor =
            std::exp(static_cast<double>(per_channel ? at(a.decay, t, h, i) : at(a.decay, t, h)));
        for (std::int64_t j = 0; j < dv; ++j) s(i, j) *= factor;
      }
      for (std::int64_t j = 0; j < dv; ++j) {
        double recalled = 0;
        for (std::int64_t i = 0; i < d; ++i) recalled += s(i, j) * at(a.k, t, key_head, i);
        const double error = at(a.beta, t, h) * (at(a.v, t, h, j) - recalled);
        double out = 0;
        for (std::int64_t i = 0; i < d; ++i) {
          s(i, j) += at(a.k, t, key_head, i) * error;
          out += s(i, j) * at(a.q, t, key_head, i);
        }
        at(a.out, t, h, j) = static_cast<float>(a.scale * out);
      }
    }
  });
}

void selective_scan(const SelectiveScanArguments& a) noexcept {
  scan(a.rows, a.state, [&](std::int64_t t, std::vector<double>& values) {
    const Matrix s(values, a.state, 0);
    for (std::int64_t c = 0; c < a.x.shape[1]; ++c) {
      const double x = at(a.x, t, c);
      const double dt = at(a.dt, t, c);
      double sum = at(a.d, c) * x;
      for (std::int64_t i = 0; i < a.b.shape[1]; ++i) {
        s(c, i) = s(c, i) * std::exp(dt * at(a.a, c, i)) + dt * at(a.b, t, i) * x;
        sum += s(c, i) * at(a.c, t, i);
      }
      at(a.out, t, c) = static_cast<float>(sum);
    }
  });
}

void state_space_scan(const StateSpaceScanArguments& a) noexcept {
  const std::int64_t heads = a.x.shape[1];
  const std::int64_t per_group = heads / a.b.shape[1];
  scan(a.rows, a.state, [&](std::int64_t t, std::vector<double>& values) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t group = h / per_group;
      const Matrix s(values, a.state, h);
      const double dt = at(a.dt, t, h);
      const double factor = std::exp(dt * at(a.a, h));
      for (std::int64_t p = 0; p < a.x.shape[2]; ++p) {
        const double x = at(a.x, t, h, p);
        double sum = at(a.d, h) * x;
        for (std::int64_t i = 0; i < a.b.shape[2]; ++i) {
          s(p, i) = s(p, i) * factor + dt * x * at(a.b, t, group, i);
          sum += s(p, i) * at(a.c, t, group, i);
        }
        at(a.out, t, h, p) = static_cast<float>(sum);
      }
    }
  });
}

void rwkv_scan(const RwkvScanArguments& a) noexcept {
  const std::int64_t d = a.r.shape[2];
  scan(a.rows, a.state, [&](std::int64_t t, std::vector<double>& values) {
    for (std::int64_t h = 0; h < a.r.shape[1]; ++h) {
      const Matrix s(values, a.state, h);
      for (std::int64_t i = 0; i < d; ++i) {
        double removed = 0;
        for (std::int64_t j = 0; j < d; ++j) removed += s(i, j) * at(a.a, t, h, j);
        double out = 0;
        for (std::int64_t j = 0; j < d; ++j) {
          s(i, j) = s(i, j) * at(a.w, t, h, j) +
                    static_cast<double>(at(a.v, t, h, i)) * at(a.k, t, h, j) +
                    removed * at(a.b, t, h, j);
          out += s(i, j) * at(a.r, t, h, j);
        }
        at(a.out, t, h, i) = static_cast<float>(out);
      }
    }
  });
}

}  // namespace hearth::compute::reference
