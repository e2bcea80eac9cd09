#include "spec/kv_format.h"

#include <array>
#include <optional>

#include "support/ascii.h"
#include "support/error.h"

namespace hearth::spec {

using quant::KvCode;
using tensor::DType;

namespace {

/// Decides the signs of all rotations; a saved state is only good where they are the same.
constexpr std::uint64_t kSeed = 0x6865'6172'7468'0001;

constexpr std::array<KvFormatName, 13> kNames{{
    {"f32", "single precision"},
    {"f16", "half precision"},
    {"bf16", "half precision with the range of single"},
    {"q8_0", "8 bits in blocks of 32"},
    {"q4_0r", "rotated, 4 bits in blocks of 32"},
    {"tq4", "TurboQuant, 4 bits"},
    {"tq3.5", "TurboQuant, 4 bits for half of the coordinates and 3 for the others"},
    {"tq3", "TurboQuant, 3 bits"},
    {"tq2.5", "TurboQuant, 3 bits for half of the coordinates and 2 for the others"},
    {"tq2", "TurboQuant, 2 bits"},
    {"tq4r", "3 bits and the sign of a projected residual: for comparison"},
    {"tq3r", "2 bits and the sign of a projected residual: for comparison"},
    {"tq2r", "1 bit and the sign of a projected residual: for comparison"},
}};

/// "3" is 6, "3.5" is 7; nothing for others.
std::optional<std::uint8_t> half_bits(std::string_view text) {
  if (text.empty() || text[0] < '2' || text[0] > '4') return std::nullopt;
  const auto whole = static_cast<std::uint8_t>(2 * (text[0] - '0'));
  if (text.size() == 1) return whole;
  if (text.substr(1) != ".5" || text[0] == '4') return std::nullopt;
  return static_cast<std::uint8_t>(whole + 1);
}

KvCode code_of(KvCode::Kind kind, std::uint8_t bits, bool keys) {
  KvCode code;
  code.kind = kind;
  code.half_bits = bits;
  // What all keys share does not change a softmax, but would take most of the codes' range.
  code.centred = keys;
  code.seed = kSeed;
  return code;
}

std::optional<KvPartFormat> parse_part(std::string_view text, bool keys) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    if (text == ascii_lower(tensor::name(type))) return KvPartFormat{type, {}};
  }
  const auto coded = [keys](KvCode::Kind kind, std::uint8_t bits) {
    return KvPartFormat{DType::kF16, code_of(kind, bits, keys)};
  };
  if (text == "q4_0r") return coded(KvCode::Kind::kInt4, 8);
  if (text.substr(0, 2) != "tq") return std::nullopt;
  text.remove_prefix(2);
  const bool residual = !text.empty() && text.back() == 'r';
  if (residual) text.remove_suffix(1);
  const std::optional<std::uint8_t> bits = half_bits(text);
  if (!bits || (residual && *bits % 2 != 0)) return std::nullopt;
  return coded(residual ? KvCode::Kind::kResidual : KvCode::Kind::kLloydMax, *bits);
}

std::string part_name(const KvPartFormat& part) {
  const KvCode& code = part.code;
  switch (code.kind) {
    case KvCode::Kind::kNone:
      return std::string(tensor::name(part.type));
    case KvCode::Kind::kInt4:
      return "q4_0r";
    case KvCode::Kind::kInt8:
      return "q8_0";
    case KvCode::Kind::kLloydMax:
    case KvCode::Kind::kResidual:
      break;
  }
  return "tq" + std::to_string(code.half_bits / 2) + (code.half_bits % 2 != 0 ? ".5" : "") +
         (code.kind == KvCode::Kind::kResidual ? "r" : "");
}

/// Pages are plain or coded as a whole: beside a coded part, 8 bits are a code, too. Single
/// precision is for exact sums, which both parts have or neither.
bool match(KvPartFormat& part, const KvPartFormat& other, bool keys) {
  if (part.coded()) return true;
  if (!other.coded()) return part.type == other.type || part.type != DType::kF32;
  if (part.type != DType::kQ8_0) return false;
  part = {DType::kF16, code_of(KvCode::Kind::kInt8, 16, keys)};
  return true;
}

}  // namespace

std::span<const KvFormatName> kv_format_names() noexcept { return kNames; }

std::string KvFormat::name() const {
  const std::string key_name = part_name(keys);
  const std::string value_name = part_name(values);
  std::string result = key_name == value_name ? key_name : key_name + ":" + value_name;
  return uniform ? result + 'u' : result;
}

KvFormat parse_kv_format(std::string_view text) {
  const std::string all = ascii_lower(text);
  std::string_view rest = all;
  KvFormat format;
  if (!rest.empty() && rest.back() == 'u') {
    format.uniform = true;
    rest.remove_suffix(1);
  }
  const std::size_t colon = rest.find(':');
  const std::string_view key_text = rest.substr(0, colon);
  const std::string_view value_text =
      colon == std::string_view::npos ? key_text : rest.substr(colon + 1);
  const std::optional<KvPartFormat> keys = parse_part(key_text, true);
  const std::optional<KvPartFormat> values = parse_part(value_text, false);
  if (!keys || !values) {
    std::string names;
    for (const KvFormatName& each : kNames) {
      names += (names.empty() ? "" : ", ") + std::string(each.name);
    }
    throw Error("'" + printable(text) + "' is no format of keys and values",
                "--kv takes one of " + names + ", or two of them as in q8_0:tq4", ExitCode::kUsage);
  }
  format.keys = *keys;
  format.values = *values;
  if (!match(format.keys, *values, true) || !match(format.values, *keys, false)) {
    throw Error("'" + printable(text) + "': these formats of keys and values do not go together",
                "beside a coded format use a coded one or q8_0 (q8_0:tq4), and f32 for both or "
                "neither",
                ExitCode::kUsage);
  }
  if (format.uniform && !format.coded()) {
    throw Error("'" + printable(text) + "': only coded formats have a ladder to do without",
                "use '" + std::string(rest) + "'", ExitCode::kUsage);
  }
  return format;
}

}  // namespace hearth::spec
