// Products with blocks of 256 squeeze sums into 16 bits (src/compute/cpu/kernels.h, pair_shift):
// the largest there can be must fit. Weights of every pattern of bits meet activations of their
// signs, all of the largest magnitude.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>

#include "backends.h"
#include "quant/quant.h"

namespace hearth::compute {
namespace {

constexpr std::int64_t kRows = 256;  // as many as there are bytes
constexpr std::int64_t kColumns = 256;

/// Where a block has its scales, if apart from its weights, and its half-precision units.
struct Format {
  DType dtype;
  std::size_t scales = 0, scale_bytes = 0;
  std::size_t unit = 0;
  std::optional<std::size_t> minimum_unit;
};

const std::array kFormats = {
    Format{DType::kQ2_K, 0, 16, 80, 82},    Format{DType::kQ3_K, 96, 12, 108, {}},
    Format{DType::kQ4_K, 4, 12, 0, 2},      Format{DType::kQ5_K, 4, 12, 0, 2},
    Format{DType::kQ6_K, 192, 16, 208, {}}, Format{DType::kIQ4_XS, 2, 6, 0, {}},
    Format{DType::kIQ3_XXS, 0, 0, 0, {}},   Format{DType::kIQ3_S, 106, 4, 0, {}},
    Format{DType::kIQ2_XXS, 0, 0, 0, {}},   Format{DType::kIQ2_XS, 66, 8, 0, {}},
    Format{DType::kIQ2_S, 74, 8, 0, {}},    Format{DType::kIQ1_S, 0, 0, 0, {}},
    Format{DType::kTQ1_0, 0, 0, 52, {}},    Format{DType::kTQ2_0, 0, 0, 64, {}}};

/// One block per row: row r is byte r throughout, but for scales and units. Minima are off, so that
/// sums do not cancel.
std::vector<std::byte> blocks_of(const Format& format, std::byte scales) {
  const std::size_t size = tensor::info(format.dtype).block_bytes;
  std::vector<std::byte> blocks(kRows * size);
  for (std::size_t r = 0; r < kRows; ++r) {
    std::byte* const block = blocks.data() + r * size;
    std::fill(block, block + size, static_cast<std::byte>(r));
    std::fill(block + format.scales, block + format.scales + format.scale_bytes, scales);
    const std::uint16_t one = 0x3C00;
    const std::uint16_t none = 0;
    std::memcpy(block + format.unit, &one, 2);
    if (format.minimum_unit) std::memcpy(block + *format.minimum_unit, &none, 2);
  }
  return blocks;
}

class CpuExtremes : public testing::TestWithParam<std::string> {};

TEST_P(CpuExtremes, TheLargestSumsFit) {
  for (const Format& format : kFormats) {
    for (const int scales : {0x00, 0x7F, 0x80, 0xFF}) {
      const std::vector<std::byte> blocks = blocks_of(format, static_cast<std::byte>(scales));
      std::vector<float> weights(static_cast<std::size_t>(kRows * kColumns));
      quant::decode(format.dtype, blocks, weights);
      std::vector<float> x = weights;
      for (float& value : x) value = value < 0 ? -1.0F : 1.0F;
      for (const bool turned : {false, true}) {
        if (turned) {
          for (float& value : x) value = -value;
        }
        Bench cpu = cpu_bench(GetParam(), 2);
        const Weight& weight = cpu.weight({"w", format.dtype, kRows, kColumns, blocks}, kUseMatmul);
        for (const std::int64_t batch : {std::int64_t{1}, kRows}) {  // packed and expanded panels
          const std::int64_t first = batch == 1 ? kRows - 1 : 0;
          const std::vector<float> rows(x.begin() + first * kColumns, x.end());
          const Tensor out = cpu.floats(
              {batch, kRows}, std::vector<float>(static_cast<std::size_t>(batch * kRows)));
          const Projection projection{&weight, out, {}, 1.0F};
          cpu.backend->matmul(cpu.floats({batch, kColumns}, rows), {&projection, 1});
          const std::vector<float> products = cpu.values(out);
          for (std::int64_t r = 0; r < batch; ++r) {
            double expected = 0;
            for (std::int64_t k = 0; k < kColumns; ++k) {
              const auto at = static_cast<std::size_t>((first + r) * kColumns + k);
              expected += static_cast<double>(weights[at]) * x[at];
            }
            const double product = products[static_cast<std::size_t>(r * kRows + first + r)];
            ASSERT_NEAR(product, expected, 1e-3 * std::abs(expected))
                << tensor::name(format.dtype) << ", weights " << first + r << ", scales " << scales
                << (turned ? ", turned" : "") << ", batch " << batch;
          }
        }
      }
    }
  }
}

std::string extreme_set_name(const testing::TestParamInfo<std::string>& info) { return info.param; }
INSTANTIATE_TEST_SUITE_P(AllSets, CpuExtremes, testing::ValuesIn(cpu_instruction_sets()),
                         extreme_set_name);

}  // namespace
}  // namespace hearth::compute
