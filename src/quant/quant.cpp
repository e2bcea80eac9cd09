#include "quant/quant.h"

#include "quant/encode_block.h"
#include "quant/families.h"

namespace hearth::quant {
namespace {

Decoder decoder_of(tensor::DType dtype) noexcept {
  using enum tensor::DType;
  switch (dtype) {
    case kF32:
      return decode_f32;
    case kF16:
      return decode_f16;
    case kBF16:
      return decode_bf16;
    case kF64:
      return decode_f64;
    case kI8:
      return decode_i8;
    case kI16:
      return decode_i16;
    case kI32:
      return decode_i32;
    case kI64:
      return decode_i64;
    case kQ4_0:
      return decode_q4_0;
    case kQ4_1:
      return decode_q4_1;
    case kQ5_0:
      return decode_q5_0;
    case kQ5_1:
      return decode_q5_1;
    case kQ8_0:
      return decode_q8_0;
    case kQ8_1:
      return decode_q8_1;
    case kQ2_K:
      return decode_q2_k;
    case kQ3_K:
      return decode_q3_k;
    case kQ4_K:
      return decode_q4_k;
    case kQ5_K:
      return decode_q5_k;
    case kQ6_K:
      return decode_q6_k;
    case kQ8_K:
      return nullptr;
    case kIQ2_XXS:
      return decode_iq2_xxs;
    case kIQ2_XS:
      return decode_iq2_xs;
    case kIQ3_XXS:
      return decode_iq3_xxs;
    case kIQ1_S:
      return decode_iq1_s;
    case kIQ4_NL:
      return decode_iq4_nl;
    case kIQ3_S:
      return decode_iq3_s;
    case kIQ2_S:
      return decode_iq2_s;
    case kIQ4_XS:
      return decode_iq4_xs;
    case kIQ1_M:
      return decode_iq1_m;
    case kTQ1_0:
      return decode_tq1_0;
    case kTQ2_0:
      return decode_tq2_0;
    case kMXFP4:
      return decode_mxfp4;
    case kNVFP4:
      return decode_nvfp4;
    case kQ1_0:
      return decode_q1_0;
    case kQ2_0:
      return decode_q2_0;
  }
  return nullptr;
}

Encoder encoder_of(tensor::DType dtype) noexcept {
  using enum tensor::DType;
  switch (dtype) {
    case kF32:
      return encode_f32;
    case kF16:
      return encode_f16;
    case kBF16:
      return encode_bf16;
    case kQ4_0:
      return encode_q4_0;
    case kQ4_1:
      return encode_q4_1;
    case kQ5_0:
      return encode_q5_0;
    case kQ5_1:
      return encode_q5_1;
    case kQ8_0:
      return encode_q8_0;
    case kQ2_K:
      return encode_q2_k;
    case kQ3_K:
      return encode_q3_k;
    case kQ4_K:
      return encode_q4_k;
    case kQ5_K:
      return encode_q5_k;
    case kQ6_K:
      return encode_q6_k;
    case kIQ2_XXS:
      return encode_iq2_xxs;
    case kIQ2_XS:
      return encode_iq2_xs;
    case kIQ3_XXS:
      return encode_iq3_xxs;
    case kIQ1_S:
      return encode_iq1_s;
    case kIQ4_NL:
      return encode_iq4_nl;
    case kIQ3_S:
      return encode_iq3_s;
    case kIQ2_S:
      return encode_iq2_s;
    case kIQ4_XS:
      return encode_iq4_xs;
    case kIQ1_M:
      return encode_iq1_m;
    case kTQ1_0:
      return encode_tq1_0;
    case kTQ2_0:
      return encode_tq2_0;
    case kMXFP4:
      return encode_mxfp4;
    case kNVFP4:
      return encode_nvfp4;
    case kQ1_0:
      return encode_q1_0;
    case kQ2_0:
      return encode_q2_0;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_decode(tensor::DType dtype) noexcept { return decoder_of(dtype) != nullptr; }

void decode(tensor::DType dtype, std::span<const std::byte> blocks, std::span<float> out) noexcept {
  const std::size_t count = out.size() / tensor::info(dtype).block_elements;
  decoder_of(dtype)(blocks.data(), count, out.data());
}

bool can_encode(tensor::DType dtype) noexcept { return encoder_of(dtype) != nullptr; }

bool needs_importance(tensor::DType dtype) noexcept {
  using enum tensor::DType;
  switch (dtype) {
    case kIQ1_S:
    case kIQ1_M:
    case kIQ2_XXS:
    case kIQ2_XS:
    case kIQ2_S:
    case kIQ3_XXS:
      return true;
    default:
      return false;
  }
}

void encode_row(tensor::DType dtype, std::span<const float> row, std::span<const float> importance,
                std::span<std::byte> blocks) noexcept {
  const std::size_t count = row.size() / tensor::info(dtype).block_elements;
  const RowWeights weights(row.data(), importance.empty() ? nullptr : importance.data(),
                           row.size());
  encoder_of(dtype)(row.data(), weights, count, blocks.data());
}

void encode(tensor::DType dtype, std::span<const float> values,
            std::span<std::byte> blocks) noexcept {
  encode_row(dtype, values, {}, blocks);
}

void encode_kv(tensor::DType dtype, std::span<const float> values,
               std::span<std::byte> blocks) noexcept {
  if (dtype != tensor::DType::kQ8_0) return encode(dtype, values, blocks);
  round_to_q8_0(values.data(), values.size() / tensor::info(dtype).block_elements, blocks.data());
}

}  // namespace hearth::quant
