// Importance matrices: how strongly every input column of a weight matrix is used, measured by
// running text through a model. Quantizers spend their precision by it. Two file formats are read,
// the GGUF one (reference: lora-imatrix.md section 3) and the older binary one; GGUF is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::model {

/// What was measured for one weight tensor: one matrix, or a stack of `counts.size()` experts'
/// matrices.
struct Importance {
  /// Sums of squares of the activations, [matrices][columns]. All finite and not negative.
  std::vector<float> sums;
  /// How many activation rows each matrix saw. One count can stand for all matrices: older files do
  /// not say how many matrices there are.
  std::vector<float> counts;

  /// Whether this fits a tensor of `matrices` matrices of `columns` columns.
  [[nodiscard]] bool fits(std::int64_t columns, std::int64_t matrices) const noexcept;
  /// The mean of squares of every column of matrix `matrix`, which is what quantizers weigh by; 1
  /// for a matrix that saw nothing. `out` has the tensor's columns, and fits() holds.
  void weights(std::int64_t matrix, std::span<float> out) const noexcept;
};

/// A whole file.
struct ImportanceMatrix {
  /// By the tensor's name: "blk.0.attn_q.weight".
  std::map<std::string, Importance, std::less<>> tensors;
  std::vector<std::string> datasets;  // the texts it was measured with
  std::uint32_t chunk_count = 0;      // how many chunks of text
  std::uint32_t chunk_size = 0;       // tokens per chunk; 0: unknown

  /// What is known about the tensor called `name`, or null.
  [[nodiscard]] const Importance* find(std::string_view name) const noexcept;
  /// Adds what another run measured. Throws Error when a tensor has another size there.
  void add(const ImportanceMatrix& other);
};

/// Reads a file of either format. Throws Error naming the file when it is neither, is truncated or
/// holds values that no measurement can give.
[[nodiscard]] ImportanceMatrix read_importance(const std::filesystem::path& path);
/// The same of a file held in memory, called `name` in errors.
[[nodiscard]] ImportanceMatrix parse_importance(std::span<const std::byte> bytes,
                                                const std::string& name = "memory");

/// Writes the GGUF form; the file appears only when it is complete. Throws Error.
void write_importance(const std::filesystem::path& path, const ImportanceMatrix& matrix);
/// The same as bytes.
[[nodiscard]] std::string importance_bytes(const ImportanceMatrix& matrix);

}  // namespace hearth::model
