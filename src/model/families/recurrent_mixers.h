// Mixers that several hybrid families share.
#pragma once

#include <cstdint>
#include <string>

#include "model/families/reader.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// Mamba-1 of a layer: ssm_in, ssm_conv1d, ssm_x, ssm_dt, ssm_a, ssm_d, ssm_out, without the norms
/// of dt, B and C. Throws Error.
[[nodiscard]] spec::Mamba1 mamba1(const FamilyReader& reader, std::int64_t layer);

/// Mamba-2 of a layer: ssm_in, ssm_conv1d, ssm_dt, ssm_a, ssm_d, ssm_norm where the file has it,
/// ssm_out. Throws Error.
[[nodiscard]] spec::Mamba2 mamba2(const FamilyReader& reader, std::int64_t layer);

/// Taps of a convolution, from key `name`.
[[nodiscard]] std::int64_t conv_taps(const FamilyReader& reader, std::string_view name);

/// The name of a vector of `size` numbers, whichever dimension they are in ([size] or [1, size]).
[[nodiscard]] std::string any_vector(const FamilyReader& reader, const std::string& name,
                                     std::int64_t size);

}  // namespace hearth::model
