// Rows of images for `hearth logits`: embeddings made elsewhere, with their positions.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace hearth::cli {

/// A sequence of text with one block of image rows.
struct ImageRows {
  std::vector<float> embeddings;  // [count, width]
  std::int64_t width = 0;
  std::int64_t count = 0;
  std::int64_t at = 0;  // row of the first one in the sequence
  /// t, h and w of every row of the sequence; empty: the usual positions.
  std::vector<std::array<std::int32_t, 3>> axes;
};

/// `embeddings_file`: float32 rows of `width` values. `positions_file` (may be empty): JSON, either
/// a list with [t, h, w] for every row of the sequence, or an object with such a list as
/// "positions" and the block as "image": [begin, end] (also inside "layout"). Without the block, it
/// is where `count` rows following each other have the same t. `at` >= 0 overrides it.
/// `text_tokens`: tokens of the text around. Throws Error.
[[nodiscard]] ImageRows read_image_rows(const std::string& embeddings_file,
                                        const std::string& positions_file, std::int64_t at,
                                        std::int64_t width, std::int64_t text_tokens);

}  // namespace hearth::cli
