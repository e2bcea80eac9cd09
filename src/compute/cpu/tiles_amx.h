// Integer matrix products on tiles (Intel AMX), for the expanded panels and eight rows of a batch.
// Tiles do the products, AVX-512 the scales; the arithmetic is that of dot_kernels.h, to the bit.
//
// A tile of B is what a panel holds anyway: rows of 64 bytes, each four features of sixteen weight
// rows. A tile of A is eight activation rows of the same features. C = A B is eight rows of sixteen
// int32. One scale is for 32 or 16 features, so a product is 8 or 4 rows of B deep, half or a
// quarter of what a tile could hold.
//
// Included only by kernels_amx.cpp, after simd_avx512.h. With HEARTH_AMX_EMULATED the tiles are
// plain C++, so that everything but the instructions can be tested where the processor has no AMX.
#pragma once

#include <initializer_list>

#include "compute/cpu/dot_kernels.h"

namespace hearth::compute::cpu {
namespace {

constexpr int kTileColumns = 8;  // activation rows of a product

/// Sums of products: [activation row][weight row].
using TileSums = std::int32_t[kTileColumns][kPanelRows];

#if defined(HEARTH_AMX_EMULATED)
template <int kQuads>
class Tiles {
 public:
  void multiply(const std::byte* rows, std::int64_t stride, const std::byte* weights,
                TileSums& sums) {
    for (int c = 0; c < kTileColumns; ++c) {
      for (int lane = 0; lane < kPanelRows; ++lane) {
        std::int32_t sum = 0;
        for (int i = 0; i < 4 * kQuads; ++i) {
          sum += static_cast<std::int8_t>(rows[c * stride + i]) *
                 static_cast<std::uint8_t>(weights[64 * (i / 4) + 4 * lane + i % 4]);
        }
        sums[c][lane] = sum;
      }
    }
  }
  void multiply_two(const std::byte* rows, std::int64_t stride, const std::byte* first,
                    const std::byte* second, TileSums (&sums)[2]) {
    multiply(rows, stride, first, sums[0]);
    multiply(rows + 4 * kQuads, stride, second, sums[1]);
  }
};
#else
/// The tiles of this thread, set up for products that are kQuads rows of B deep, while the object
/// lives. (By the x86-64 calling convention tiles and their configuration are the callee's to
/// change.)
template <int kQuads>
class Tiles {
 public:
  Tiles() {
    Configuration configuration;
    for (const int c : {0, 1, 6, 7}) configuration.set(c, kTileColumns, 64);
    for (const int a : {2, 3}) configuration.set(a, kTileColumns, 4 * kQuads);
    for (const int b : {4, 5}) configuration.set(b, kQuads, 64);
    _tile_loadconfig(&configuration);  // also zeroes the tiles
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  /// sums = features 0 .. 4 kQuads - 1 of eight activation rows, `stride` bytes apart, times those
  /// of sixteen weight rows.
  void multiply(const std::byte* rows, std::int64_t stride, const std::byte* weights,
                TileSums& sums) {
    compiler_barrier();
    _tile_zero(0);
    _tile_loadd(2, rows, stride);
    _tile_loadd(4, weights, 64);
    _tile_dpbsud(0, 2, 4);
    _tile_stored(0, sums, 64);
  }
  /// The same, and the next 4 kQuads features times `second`: independent products overlap.
  void multiply_two(const std::byte* rows, std::int64_t stride, const std::byte* first,
                    const std::byte* second, TileSums (&sums)[2]) {
    compiler_barrier();
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(2, rows, stride);
    _tile_loadd(4, first, 64);
    _tile_loadd(3, rows + 4 * kQuads, stride);
    _tile_loadd(5, second, 64);
    _tile_dpbsud(0, 2, 4);
    _tile_dpbsud(1, 3, 5);
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
  }
  /// Products as fast as they go, for measuring the machine: returns multiply-adds done.
  static std::int64_t measure(std::int64_t rounds) {
    const Tiles tiles;
    for (std::int64_t round = 0; round < rounds; ++round) {
      _tile_dpbsud(0, 2, 4);
      _tile_dpbsud(1, 3, 5);
      _tile_dpbsud(6, 2, 5);
      _tile_dpbsud(7, 3, 4);
    }
    return rounds * 4 * kTileColumns * kPanelRows * 4 * kQuads;
  }

 private:
  /// What LDTILECFG reads (Intel SDM, volume 1, section 18.2).
  struct alignas(64) Configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
    void set(int tile, int row_count, int bytes) {
      rows[tile] = static_cast<std::uint8_t>(row_count);
      row_bytes[tile] = static_cast<std::uint16_t>(bytes);
    }
  };
  static_assert(sizeof(Configuration) == 64);

  /// GCC's tile loads do not say that they read memory.
  static void compiler_barrier() { asm volatile("" ::: "memory"); }
};
#endif

/// Eight activation rows where tiles can load them: as they are, or, when they lie anywhere, a copy
/// of the features at hand.
class TileRows {
 public:
  explicit TileRows(const DotArguments& a)
      : stride_(a.row_stride), scattered_(a.row_table != nullptr) {
    for (int c = 0; c < kTileColumns; ++c) row_[c] = row_of(a, c);
  }
  [[nodiscard]] const std::byte* const* rows() const { return row_; }
  [[nodiscard]] std::int64_t stride() const { return scattered_ ? kMost : stride_; }
  /// Features [k, k + count), count <= kMost.
  [[nodiscard]] const std::byte* features(std::int64_t k, std::int64_t count) {
    if (!scattered_) return row_[0] + k;
    for (int c = 0; c < kTileColumns; ++c) {
      __builtin_memcpy(copy_[c], row_[c] + k, static_cast<std::size_t>(count));
    }
    return copy_[0];
  }

 private:
  static constexpr std::int64_t kMost = 256;
  const std::byte* row_[kTileColumns];
  std::int64_t stride_;
  bool scattered_;
  alignas(64) std::byte copy_[kTileColumns][kMost];
};

/// What block b of 32 adds to a row, from the sums of its products: one, or one for each half.
template <class Block>
inline F scaled32(const std::byte* group, std::int64_t b, const TileSums* products, int c,
                  const std::byte* row, const Row32Layout& layout) {
  if constexpr (Block::kHalves) {
    const std::byte* const minus = row + layout.half_minus128 + 8 * b;
    const I first = add_int(load_int(products[0][c]), offset<Block::kZero>(minus));
    const I second = add_int(load_int(products[1][c]), offset<Block::kZero>(minus + 4));
    const F value = mul(to_float(first), Block::half_scale(group, 0, 0));
    return fma(to_float(second), Block::half_scale(group, 0, 1), value);
  } else {
    const I sum =
        add_int(load_int(products[0][c]), offset<Block::kZero>(row + layout.minus128 + 4 * b));
    return mul(to_float(sum), Block::scale(group, 0));
  }
}

/// An expanded panel of blocks of 32.
template <class Block>
inline void multiply_tiles32(const DotArguments& a) {
  static_assert(Block::kUnits == 1);
  constexpr std::int64_t kGroupBytes = Block::kHeader + Block::kUnitBytes;
  const Row32Layout layout(a.columns);
  TileRows inputs(a);
  Tiles<Block::kHalves ? 4 : 8> tiles;
  alignas(64) TileSums products[2];
  F total[kTileColumns];
  for (F& lanes : total) lanes = zero();
  const auto finish = [&](std::int64_t b, const TileSums* sums) {
    const std::byte* const group = a.panel + b * kGroupBytes;
    for (int c = 0; c < kTileColumns; ++c) {
      const std::byte* const row = inputs.rows()[c];
      total[c] = fma(scaled32<Block>(group, b, sums, c, row, layout),
                     set(float_at(row + layout.scales + 4 * b)), total[c]);
      if constexpr (Block::kMinimum) {
        total[c] =
            fma(Block::minimum(group), set(float_at(row + layout.scaled_sums + 4 * b)), total[c]);
      }
    }
  };
  const std::int64_t blocks = a.columns / 32;
  const auto weights = [&](std::int64_t b) { return a.panel + b * kGroupBytes + Block::kHeader; };
  std::int64_t b = 0;
  if constexpr (Block::kHalves) {
    for (; b < blocks; ++b) {
      tiles.multiply_two(inputs.features(32 * b, 32), inputs.stride(), weights(b), weights(b) + 256,
                         products);
      finish(b, products);
    }
  } else {
    for (; b + 2 <= blocks; b += 2) {
      tiles.multiply_two(inputs.features(32 * b, 64), inputs.stride(), weights(b), weights(b + 1),
                         products);
      finish(b, products);
      finish(b + 1, products + 1);
    }
    if (b < blocks) {
      tiles.multiply(inputs.features(32 * b, 32), inputs.stride(), weights(b), products[0]);
      finish(b, products);
    }
  }
  for (int c = 0; c < kTileColumns; ++c) store(a.out + c * a.out_stride, total[c]);
}

/// An expanded panel of blocks of 256.
template <class Block>
inline void multiply_tiles256(const DotArguments& a) {
  const Row256Layout layout(a.columns);
  TileRows inputs(a);
  Tiles<Block::kSub / 4> tiles;
  alignas(64) TileSums products[2];
  F total[kTileColumns];
  for (F& lanes : total) lanes = zero();
  const std::byte* p = a.panel;
  for (std::int64_t k = 0; k < a.columns; k += 256, p += Block::kBytes) {
    const typename Block::Scales scales(p);
    const Sub256<Block> subs{layout, k};
    const std::byte* const x = inputs.features(k, 256);
    I totals[kTileColumns];
    for (I& lanes : totals) lanes = zero_int();
    for (int q = 0; q < Block::kSubs / 2; ++q) {
      const std::byte* const weights = p + Block::kWeights + 32 * Block::kSub * q;
      tiles.multiply_two(x + 2 * Block::kSub * q, inputs.stride(), weights,
                         weights + 16 * Block::kSub, products);
      I sums[2][kTileColumns];
      for (int i = 0; i < 2; ++i) {
        for (int c = 0; c < kTileColumns; ++c) {
          sums[i][c] = add_int(load_int(products[i][c]), subs.start(inputs.rows()[c], 2 * q + i));
        }
      }
      subs.add_pair(scales, inputs.rows(), q, sums[0], sums[1], totals);
    }
    subs.finish(p, scales, inputs.rows(), totals, total);
  }
  for (int c = 0; c < kTileColumns; ++c) store(a.out + c * a.out_stride, total[c]);
}

/// Tiles for eight rows of the batch, vectors for fewer.
template <DotFunction kTiles, DotFunction kVectors>
inline void tiles_or_vectors(const DotArguments& a) {
  static_assert(kDotColumns == kTileColumns);
  (a.count == kTileColumns ? kTiles : kVectors)(a);
}

}  // namespace
}  // namespace hearth::compute::cpu
