// A model of a shape, its weights random: a GGUF image in memory that is read as a file is.
#pragma once

#include <memory>
#include <vector>

#include "gguf/file.h"
#include "measure/shapes.h"
#include "support/pattern_pages.h"
#include "support/thread_team.h"

namespace hearth::measure {

/// The weights repeat after kPeriod bytes of every type (several times any cache), so an image
/// takes much less memory than the model; every tensor begins elsewhere in them.
class ShapeImage {
 public:
  static constexpr std::size_t kPeriod = std::size_t{256} << 20;

  /// Fills the image with all threads of the team. Throws Error; exit code 3, before anything is
  /// allocated, when the image and its weights as stored would not fit into memory together.
  ShapeImage(const Shape& shape, ThreadTeam& team);

  /// The image as a file, which must not outlive it.
  [[nodiscard]] gguf::File file() const;
  /// Bytes of the image, as long as the file would be.
  [[nodiscard]] std::size_t size() const noexcept { return memory_->bytes().size(); }
  /// The pages of the weights no longer count as this process's memory until they are read again:
  /// what happens to a file that was closed after loading.
  void forget_pages() const noexcept { memory_->forget(); }

 private:
  std::string name_;
  std::vector<PatternPages> patterns_;
  std::unique_ptr<PatternMemory> memory_;
};

}  // namespace hearth::measure
