#include "compute/cpu/recurrent.h"

#include <algorithm>

#include "compute/cpu/recurrent_parts.h"

namespace hearth::compute::cpu {

RecurrentEngine::RecurrentEngine(ThreadTeam& team, const KernelTable& kernels,
                                 std::shared_ptr<Ledger> ledger)
    : team_(team),
      kernels_(kernels),
      workspaces_(std::move(ledger), MemoryCategory::kBuffers,
                  static_cast<std::size_t>(team.size()) * sizeof(RecurrentWorkspace)) {}

template <class Body>
void RecurrentEngine::for_parts(const RecurrentRows& rows, std::int64_t parts, std::int64_t cost,
                                Body body) noexcept {
  // Less than this is done by the caller: waking the team takes about as long.
  constexpr std::int64_t kInlineCost = 1 << 14;
  const std::int64_t segments = rows.segment_slot.shape[0];
  const std::int64_t count = segments * parts;
  auto* const workspaces = reinterpret_cast<RecurrentWorkspace*>(workspaces_.data());
  const auto run = [&](std::int64_t begin, std::int64_t end, int thread) noexcept {
    for (std::int64_t i = begin; i < end; ++i) body(i / parts, i % parts, workspaces[thread]);
  };
  const std::int64_t mean_rows = rows.row_slot.shape[0] / std::max<std::int64_t>(segments, 1);
  const std::int64_t part_cost = std::max<std::int64_t>(1, mean_rows * cost);
  if (count * part_cost <= kInlineCost) {
    run(0, count, 0);
  } else {
    team_.for_chunks(count, std::clamp<std::int64_t>(kInlineCost / 2 / part_cost, 1, count), run);
  }
}

void RecurrentEngine::convolve(const ConvolveArguments& a) noexcept {
  const std::int64_t channels = a.x.shape[1];
  const std::int64_t taps = a.weight.shape[1];
  const std::int64_t strips = (channels + kConvolutionStrip - 1) / kConvolutionStrip;
  // Turning weights and states costs about as much as a few rows.
  for_parts(a.rows, strips, kConvolutionStrip * 2 * taps,
            [&](std::int64_t index, std::int64_t part, RecurrentWorkspace&) noexcept {
              const Segment segment(a.rows, index);
              const std::int64_t first = part * kConvolutionStrip;
              ConvolveStrip strip;
              strip.x = &element(a.x, segment.begin, first);
              strip.x_stride = a.x.strides[0];
              strip.rows = segment.end - segment.begin;
              strip.channels = std::min(kConvolutionStrip, channels - first);
              strip.weight = floats_of(a.weight) + first * a.weight.strides[0];
              strip.weight_stride = a.weight.strides[0];
              strip.taps = taps;
              strip.ahead = a.centred ? (taps - 1) / 2 : 0;
              if (a.bias) strip.bias = floats_of(a.bias) + first;
              if (!a.centred) {
                strip.state = floats_of(a.state) + first * a.state.strides[1];
                strip.state_slot_stride = a.state.strides[0];
                strip.state_channel_stride = a.state.strides[1];
                strip.row_slot =
                    ints_of(a.rows.row_slot) + segment.begin * a.rows.row_slot.strides[0];
                strip.row_slot_stride = a.rows.row_slot.strides[0];
                if (segment.initial_slot >= 0) {
                  strip.initial = strip.state + segment.initial_slot * a.state.strides[0];
                }
              }
              strip.silu = a.silu;
              strip.out = &element(a.out, segment.begin, first);
              strip.out_stride = a.out.strides[0];
              kernels_.convolve(strip);
            });
}

void RecurrentEngine::delta_scan(const DeltaScanArguments& a) noexcept {
  for_parts(a.rows, a.v.shape[1], 4 * a.q.shape[2] * a.v.shape[2],
            [&](std::int64_t segment, std::int64_t head, RecurrentWorkspace& work) noexcept {
              run_delta_head(kernels_, a, segment, head, work);
            });
}

void RecurrentEngine::state_space_scan(const StateSpaceScanArguments& a) noexcept {
  for_parts(a.rows, a.x.shape[1], 3 * a.x.shape[2] * a.b.shape[2],
            [&](std::int64_t segment, std::int64_t head, RecurrentWorkspace& work) noexcept {
              run_state_space_head(kernels_, a, segment, head, work);
            });
}

void RecurrentEngine::selective_scan(const SelectiveScanArguments& a) noexcept {
  constexpr std::int64_t kPartWidth = 16;
  const std::int64_t channels = a.x.shape[1];
  const std::int64_t size = a.b.shape[1];
  for_parts(a.rows, (channels + kPartWidth - 1) / kPartWidth, kPartWidth * 20 * size,
            [&](std::int64_t index, std::int64_t part, RecurrentWorkspace& work) noexcept {
              const Segment segment(a.rows, index);
              const std::int64_t first = part * kPartWidth;
              const std::int64_t width = std::min(kPartWidth, channels - first);
              float* const slots = floats_of(a.state) + first * a.state.strides[2];
              float* const turned_a = work.turned_keys;
              SelectiveRows run;
              run.d = floats_of(a.d) + first;
              run.a = turned_a;
              run.state = work.turned_state;
              run.channels = width;
              run.size = size;
              run.x_stride = a.x.strides[0];
              run.dt_stride = a.dt.strides[0];
              run.b_stride = a.b.strides[0];
              run.c_stride = a.c.strides[0];
              run.out_stride = a.out.strides[0];
              if (width < kPartWidth) std::fill_n(turned_a, size * kPartWidth, 0.0F);
              kernels_.transpose(floats_of(a.a) + first * a.a.strides[0], a.a.strides[0], width,
                                 size, turned_a, kPartWidth);
              if (segment.initial_slot < 0 || width < kPartWidth) {
                std::fill_n(run.state, size * kPartWidth, 0.0F);
              }
              if (segment.initial_slot >= 0) {
                kernels_.transpose(slots + segment.initial_slot * a.state.strides[0],
                                   a.state.strides[2], width, size, run.state, kPartWidth);
              }
              for (std::int64_t t = segment.begin; t < segment.end;) {
                const std::int64_t end = segment.run_end(t, segment.end - t);
                run.x = &element(a.x, t, first);
                run.dt = &element(a.dt, t, first);
                run.b = &element(a.b, t, 0);
                run.c = &element(a.c, t, 0);
                run.out = &element(a.out, t, first);
                run.rows = end - t;
                kernels_.selective_rows(run);
                const std::int32_t slot = segment.slot_after(end - 1);
                if (slot >= 0) {
                  kernels_.transpose(run.state, kPartWidth, size, width,
                                     slots + slot * a.state.strides[0], a.state.strides[2]);
                }
                t = end;
              }
            });
}

void RecurrentEngine::rwkv_scan(const RwkvScanArguments& a) noexcept {
  const std::int64_t size = a.r.shape[2];
  for_parts(a.rows, a.r.shape[1], 5 * size * size,
            [&](std::int64_t index, std::int64_t head, RecurrentWorkspace& work) noexcept {
              const Segment segment(a.rows, index);
              HeadState state(a.state, head, work.state);
              state.begin(segment);
              for (std::int64_t t = segment.begin; t < segment.end; ++t) {
                const StateView from = state.current();
                const StateView to = state.next(segment.slot_after(t));
                kernels_.rwkv_step({.from = from.data,
                                    .from_stride = from.stride,
                                    .to = to.data,
                                    .to_stride = to.stride,
                                    .size = size,
                                    .r = head_row(a.r, t, head),
                                    .w = head_row(a.w, t, head),
                                    .k = head_row(a.k, t, head),
                                    .v = head_row(a.v, t, head),
                                    .a = head_row(a.a, t, head),
                                    .b = head_row(a.b, t, head),
                                    .out = head_row(a.out, t, head)});
              }
            });
}

}  // namespace hearth::compute::cpu
