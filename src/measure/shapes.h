// Models without weights: the metadata and tensors of well-known models, or of a file's header, in
// a format of choice. `hearth bench` times them filled with random numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gguf/writer.h"
#include "tensor/dtype.h"

namespace hearth::measure {

/// Tensors begin at multiples of it, so that each can be mapped.
inline constexpr std::uint64_t kShapeAlignment = 4096;

/// What a model consists of. The writer holds metadata and tensors without data: only its header()
/// may be used.
struct Shape {
  std::string name;
  gguf::Writer writer;
  /// Bytes of the data, padding between tensors included.
  std::uint64_t data_bytes = 0;
};

/// "llama3.2-1b", "qwen3-0.6b" …, in the order of their families.
[[nodiscard]] std::span<const std::string_view> shape_names() noexcept;

/// The known shape `name`. Every matrix is of type `dtype`, or of the nearest type with shorter
/// blocks where its rows are no multiple of the blocks, as in files that quantizers make; vectors,
/// routers and convolutions are F32. Without a type: Q4_K, and for gpt-oss what it is published in
/// (MXFP4 experts, Q8_0 elsewhere). Throws Error (ExitCode::kUsage) for an unknown name or a type
/// that weights are not stored in.
[[nodiscard]] Shape known_shape(std::string_view name, std::optional<tensor::DType> dtype);

/// The shape of a GGUF file, of which only the header must be there; the type of matrices is the
/// file's own when none is given. Throws Error.
[[nodiscard]] Shape file_shape(const std::filesystem::path& path,
                               std::optional<tensor::DType> dtype);

/// Whether what stands behind "shape:" is the name of a GGUF file: it ends with .gguf or has a '/'.
[[nodiscard]] bool names_file_shape(std::string_view name) noexcept;
/// What stands behind "shape:": file_shape() or known_shape().
[[nodiscard]] Shape named_shape(const std::string& name, std::optional<tensor::DType> dtype);

/// The same of a header that was read elsewhere, of all parts of a split model together. `header`
/// must live until this returns.
[[nodiscard]] Shape header_shape(const gguf::File& header, const std::string& name,
                                 std::optional<tensor::DType> dtype);

}  // namespace hearth::measure
