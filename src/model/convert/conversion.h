// One conversion in progress: what a family's function reads from (configuration, tensors) and
// writes to (keys, tensors). It checks the shape of every tensor it hands out, and at the end that
// none was overlooked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "gguf/safetensors.h"
#include "gguf/writer.h"
#include "model/convert/config.h"
#include "model/convert/matrix.h"
#include "tensor/dtype.h"

namespace hearth::model::convert {

/// How a tensor is stored.
enum class Precision {
  kChosen,  // in the type that was asked for: matrices
  kExact,   // F32: vectors, norms, routers, convolution kernels, position tables
};

class Conversion {
 public:
  /// All three must outlive this. `config` is that of the language model.
  Conversion(const gguf::SafeTensors& tensors, Config config, gguf::Writer& writer,
             tensor::DType type);

  [[nodiscard]] const Config& config() const noexcept { return config_; }

  // Keys.
  /// general.architecture, and the prefix of the keys that follow.
  void set_architecture(std::string_view name);
  [[nodiscard]] const std::string& architecture() const noexcept { return architecture_; }
  /// A.name = value, as u32. Throws Error when it does not fit.
  void set_size(std::string_view name, std::int64_t value);
  void set_number(std::string_view name, double value);  // f32
  void set_flag(std::string_view name, bool value);
  void set_text(std::string_view name, std::string_view value);
  void set_texts(std::string_view name, const std::vector<std::string>& values);
  void set_integers(std::string_view name, const std::vector<std::int64_t>& values);  // i32[]

  // Tensors of the checkpoint, by their names there.
  [[nodiscard]] bool has(const std::string& name) const noexcept;
  /// A tensor as a matrix of `rows` rows of `width` values: its shape must be [rows, width] (or
  /// [rows] for width 1, and dimensions of size 1 do not count). Throws Error when it is missing or
  /// has another shape.
  [[nodiscard]] Matrix matrix(const std::string& name, std::int64_t rows, std::int64_t width);
  [[nodiscard]] Matrix vector(const std::string& name, std::int64_t size) {
    return matrix(name, size, 1);
  }
  /// The dimensions of a tensor; throws Error when it is missing.
  [[nodiscard]] const std::vector<std::int64_t>& shape(const std::string& name) const;
  /// Whether two tensors hold the same bytes.
  [[nodiscard]] bool same(const std::string& a, const std::string& b) const;
  /// These tensors are not part of the converted model: those that begin with `prefix`, or end with
  /// `suffix`.
  void ignore_prefix(std::string_view prefix) { ignored_prefixes_.emplace_back(prefix); }
  void ignore_suffix(std::string_view suffix) { ignored_suffixes_.emplace_back(suffix); }

  // Tensors of the converted model.
  /// Adds a tensor of GGUF order `shape`, whose product is the number of elements of `values`.
  void add(const std::string& name, std::vector<std::int64_t> shape, Matrix values,
           Precision precision);
  /// A matrix as [width, rows].
  void add_matrix(const std::string& name, Matrix values,
                  Precision precision = Precision::kChosen) {
    const std::int64_t width = values.width, rows = values.rows;
    add(name, {width, rows}, std::move(values), precision);
  }
  /// A vector.
  void add_vector(const std::string& name, Matrix values) {
    const std::int64_t size = values.elements();
    add(name, {size}, std::move(values), Precision::kExact);
  }
  /// token_embd.weight, which tells how many tokens the vocabulary has.
  void add_embedding_table(Matrix values) {
    vocabulary_ = values.rows;
    add_matrix("token_embd.weight", std::move(values));
  }
  [[nodiscard]] std::int64_t vocabulary() const noexcept { return vocabulary_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t tensors() const noexcept { return count_; }

  // The whole.
  /// Something that people should know about the result.
  void warn(std::string message) { warnings_.push_back(std::move(message)); }
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }
  /// Called with the number of bytes made since the last call, and the tensor's name.
  void on_progress(std::function<void(std::string_view, std::uint64_t)> callback) {
    *progress_ = std::move(callback);
  }
  /// Throws Error naming tensors of the checkpoint that nothing was made of.
  void require_all_used() const;

 private:
  using Progress = std::function<void(std::string_view, std::uint64_t)>;

  [[nodiscard]] const gguf::SafeTensor& use(const std::string& name);
  [[nodiscard]] const gguf::SafeTensor& require(const std::string& name) const;
  [[nodiscard]] Matrix stored(const gguf::SafeTensor& tensor, std::int64_t rows,
                              std::int64_t width);
  [[nodiscard]] Matrix unpacked_8_bit(const gguf::SafeTensor& tensor, Matrix raw);

  const gguf::SafeTensors* tensors_;
  Config config_;
  gguf::Writer* writer_;
  tensor::DType type_;
  std::string architecture_;
  std::unordered_set<std::string_view> used_;  // names in tensors_
  std::vector<std::string> ignored_prefixes_, ignored_suffixes_;
  std::vector<std::string> warnings_;
  std::shared_ptr<Progress> progress_ = std::make_shared<Progress>();
  std::int64_t vocabulary_ = 0;
  std::uint64_t bytes_ = 0;
  std::size_t count_ = 0;
};

}  // namespace hearth::model::convert
