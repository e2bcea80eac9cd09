#include "state/kv_format.h"

#include <string>

#include "state/memory.h"
#include "support/error.h"

namespace hearth::state {

using quant::KvCode;
using tensor::DType;

namespace {

bool made_of_blocks(std::int64_t size, DType type) noexcept {
  return size % static_cast<std::int64_t>(tensor::info(type).block_elements) == 0;
}

/// Keys and values are made of whole blocks of their format.
void check_size(std::int64_t size, DType type) {
  if (made_of_blocks(size, type)) return;
  const std::size_t block = tensor::info(type).block_elements;
  throw Error("keys and values of " + std::to_string(size) + " elements cannot be kept as " +
                  std::string(tensor::name(type)) + ", which has blocks of " +
                  std::to_string(block),
              "use --kv f16 or --kv bf16");
}

KvChoice choice_of(const spec::KvMemory& memory, const spec::KvFormat& asked) noexcept {
  if (memory.float32) return KvChoice::kFloat32;
  if (!asked.coded()) return KvChoice::kAsked;
  if (memory.selected) return KvChoice::kSelected;
  if (memory.group.encoder) return KvChoice::kEncoder;
  if (memory.group.window > 0) return KvChoice::kWindow;
  return memory.edge && !asked.uniform ? KvChoice::kEdge : KvChoice::kAsked;
}

/// What keys and values of a memory that cannot have its own formats are kept in.
DType protected_type(const spec::KvMemory& memory) noexcept {
  const bool fits = made_of_blocks(memory.key_size, DType::kQ8_0) &&
                    made_of_blocks(memory.value_size, DType::kQ8_0);
  return fits ? DType::kQ8_0 : DType::kF16;
}

PartPages plain_part(std::int64_t size, DType type) { return {size, type, {}}; }

PartPages coded_part(std::int64_t size, std::int64_t value_part, KvCode code) {
  code.value_part = static_cast<std::uint16_t>(value_part);
  return {size, DType::kF16, code};
}

/// Whether all there is to code can be coded.
bool can_code(const PartPages& part) {
  return part.size == 0 || quant::can_code(part.code, part.size);
}

}  // namespace

std::string_view reason(KvChoice choice) noexcept {
  switch (choice) {
    case KvChoice::kAsked:
      return "as asked for";
    case KvChoice::kEdge:
      return "the first and the last layer keep 8 bits";
    case KvChoice::kWindow:
      return "sliding windows keep 8 bits: they do not grow with the context";
    case KvChoice::kEncoder:
      return "what the decoder reads of the encoder keeps 8 bits";
    case KvChoice::kSelected:
      return "memories that cells are chosen from keep 8 bits";
    case KvChoice::kSize:
      return "heads of this size have no codes and keep 8 or 16 bits";
    case KvChoice::kFloat32:
      return "compressors keep single precision";
  }
  return {};
}

std::size_t PartPages::raw_bytes() const noexcept {
  return tensor::row_bytes(raw, static_cast<std::size_t>(size * kPageCells));
}

std::size_t PartPages::coded_bytes() const noexcept {
  return size == 0 ? 0 : static_cast<std::size_t>(quant::coded_page_bytes(code, size));
}

std::size_t MemoryFormat::page_bytes(std::int64_t kv_heads) const noexcept {
  const std::size_t bytes =
      coded ? keys.coded_bytes() + values.coded_bytes() : keys.raw_bytes() + values.raw_bytes();
  return bytes * static_cast<std::size_t>(kv_heads);
}

MemoryFormat memory_format(const spec::KvMemory& memory, const spec::KvFormat& asked) {
  MemoryFormat format;
  format.choice = choice_of(memory, asked);
  if (format.choice == KvChoice::kAsked && asked.coded()) {
    format.keys = coded_part(memory.key_size, memory.value_part, asked.keys.code);
    format.values = coded_part(memory.value_size, 0, asked.values.code);
    format.coded = can_code(format.keys) && can_code(format.values);
    if (format.coded) return format;
    format.choice = KvChoice::kSize;
  }
  DType keys = asked.keys.type;
  DType values = asked.values.type;
  if (format.choice == KvChoice::kFloat32) {
    keys = values = DType::kF32;
  } else if (format.choice != KvChoice::kAsked) {
    keys = values = protected_type(memory);
  }
  check_size(memory.key_size, keys);
  check_size(memory.value_size, values);
  format.keys = plain_part(memory.key_size, keys);
  format.values = plain_part(memory.value_size, values);
  return format;
}

double kv_bytes_per_token(const spec::ModelSpec& spec, const spec::KvFormat& asked) {
  double bytes = 0;
  for (const spec::KvMemory& memory : spec.kv_memories) {
    if (memory.group.window > 0 || memory.group.encoder) continue;
    const std::size_t page = memory_format(memory, asked).page_bytes(memory.kv_heads);
    bytes +=
        static_cast<double>(page) / static_cast<double>(kPageCells * memory.group.rows_per_cell);
  }
  return bytes;
}

}  // namespace hearth::state
