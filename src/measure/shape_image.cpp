#include "measure/shape_image.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <span>
#include <string>

#include "machine/memory.h"
#include "measure/random_blocks.h"
#include "support/error.h"

namespace hearth::measure {

using tensor::DType;

namespace {

/// Smaller tensors are written, not mapped.
constexpr std::size_t kMapped = std::size_t{1} << 20;
/// Blocks that a thread fills at a time.
constexpr std::int64_t kBlocksAtATime = 4096;

struct Pattern {
  std::size_t index = 0;
  std::size_t unit = 0;  // multiples of it are whole blocks and whole pages
  std::size_t wanted = 0;
  std::size_t next_phase = 0;
};

/// Vectors and tiny matrices. Norms and factors of positions are 1, decay rates negative.
void fill_small(const gguf::TensorInfo& tensor, std::uint64_t seed, std::span<std::byte> out) {
  const auto ends_with = [&](const char* end) { return tensor.name.ends_with(end); };
  if (tensor.dtype == DType::kF32 && tensor.dimensions == 1 &&
      (ends_with("norm.weight") || ends_with("rope_freqs.weight") || ends_with("ssm_a"))) {
    const float value = ends_with("ssm_a") ? -1.0F : 1.0F;
    for (std::size_t i = 0; i < out.size(); i += sizeof value) {
      std::memcpy(out.data() + i, &value, sizeof value);
    }
  } else if (has_random_blocks(tensor.dtype)) {
    fill_random_blocks(tensor.dtype, seed, out);
  }  // else integers: zeros, as they are
}

void fill_pattern(DType dtype, std::span<std::byte> out, ThreadTeam& team) {
  const std::size_t block = tensor::info(dtype).block_bytes;
  team.for_chunks(static_cast<std::int64_t>(out.size() / block), kBlocksAtATime,
                  [&](std::int64_t begin, std::int64_t end, int) {
                    fill_random_blocks(dtype, static_cast<std::uint64_t>(begin) + 1,
                                       out.subspan(static_cast<std::size_t>(begin) * block,
                                                   static_cast<std::size_t>(end - begin) * block));
                  });
}

void check_memory(std::uint64_t image, std::uint64_t weights) {
  const std::size_t available = machine::memory_facts().available;
  if (available == 0 || image + weights <= available) return;
  throw Error("this shape needs " + std::to_string((image + weights) / 1'000'000) +
                  " MB of memory and " + std::to_string(available / 1'000'000) +
                  " MB are available",
              "choose a smaller shape or --type", ExitCode::kDoesNotFit);
}

}  // namespace

ShapeImage::ShapeImage(const Shape& shape, ThreadTeam& team) : name_(shape.name) {
  const std::string header = shape.writer.header();
  memory_ = std::make_unique<PatternMemory>(header.size() + shape.data_bytes);
  std::memcpy(memory_->bytes().data(), header.data(), header.size());
  const gguf::File image = file();

  std::map<DType, Pattern> patterns;
  for (const gguf::TensorInfo& tensor : image.tensors()) {
    if (tensor.bytes < kMapped) continue;
    Pattern& pattern = patterns[tensor.dtype];
    pattern.unit =
        std::lcm<std::size_t>(tensor::info(tensor.dtype).block_bytes, PatternMemory::kPage);
    pattern.wanted += static_cast<std::size_t>(tensor.bytes);
  }
  std::size_t pattern_bytes = 0;
  for (auto& [dtype, pattern] : patterns) {
    pattern.wanted = std::min(pattern.wanted, kPeriod) / pattern.unit * pattern.unit + pattern.unit;
    pattern_bytes += pattern.wanted;
  }
  check_memory(pattern_bytes, shape.data_bytes);
  for (auto& [dtype, pattern] : patterns) {
    pattern.index = patterns_.size();
    patterns_.emplace_back(pattern.wanted);
    if (has_random_blocks(dtype)) fill_pattern(dtype, patterns_.back().bytes(), team);
    patterns_.back().seal();
  }
  std::uint64_t seed = 0;
  for (const gguf::TensorInfo& tensor : image.tensors()) {
    ++seed;
    if (tensor.bytes < kMapped) {
      fill_small(tensor, seed,
                 memory_->bytes().subspan(static_cast<std::size_t>(tensor.offset),
                                          static_cast<std::size_t>(tensor.bytes)));
      continue;
    }
    Pattern& pattern = patterns[tensor.dtype];
    memory_->repeat(patterns_[pattern.index], static_cast<std::size_t>(tensor.offset),
                    static_cast<std::size_t>(tensor.bytes), pattern.next_phase);
    // The next tensor goes on elsewhere; a stride that does not divide the pattern.
    pattern.next_phase +=
        (static_cast<std::size_t>(tensor.bytes) / pattern.unit + 1) * pattern.unit;
    pattern.next_phase %= pattern.wanted;
  }
}

gguf::File ShapeImage::file() const { return gguf::File::from_bytes(memory_->bytes(), name_); }

}  // namespace hearth::measure
