// What keys and values are kept in, as it is asked for: `--kv tq3`, `--kv q8_0:tq4`.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "quant/kv_code.h"
#include "tensor/dtype.h"

namespace hearth::spec {

/// What the keys, or the values, of a cell are kept in.
struct KvPartFormat {
  /// Without a code: the type of plain pages, F32, F16, BF16 or Q8_0.
  tensor::DType type = tensor::DType::kF16;
  quant::KvCode code{};
  [[nodiscard]] bool coded() const noexcept { return code.kind != quant::KvCode::Kind::kNone; }
  bool operator==(const KvPartFormat&) const = default;
};

/// Keys and values may have different codes. A ladder protects what suffers most from codes
/// (docs/kv.md): the first and the last layer, the first cells (attention sinks) and the youngest
/// ones keep 8 or 16 bits; `uniform` does without it.
struct KvFormat {
  KvPartFormat keys, values;
  bool uniform = false;

  KvFormat() = default;
  /// Plain pages of one type: wherever a type is asked for, a type can be given.
  KvFormat(tensor::DType type) : keys{type}, values{type} {}  // NOLINT: implicit on purpose
  bool operator==(const KvFormat&) const = default;

  [[nodiscard]] bool coded() const noexcept { return keys.coded() || values.coded(); }
  /// The name that parse_kv_format() reads: "F16", "Q8_0", "tq3", "tq3.5u", "q8_0:tq4".
  [[nodiscard]] std::string name() const;
};

/// FORMAT or KEYS:VALUES, upper or lower case, with a trailing "u" for `uniform`. Beside coded
/// values, q8_0 keys are 8 bits with one scale per vector, and the other way around. Throws Error
/// (exit code 2) that lists the formats.
[[nodiscard]] KvFormat parse_kv_format(std::string_view text);

struct KvFormatName {
  std::string_view name;
  std::string_view meaning;
};
/// All that may be asked for, for keys and for values: from the widest to the narrowest.
[[nodiscard]] std::span<const KvFormatName> kv_format_names() noexcept;

}  // namespace hearth::spec
