// What running a model asks of a machine, counted: the engine's own layer code run over the
// counting backend (model/cost.h). A header is enough; no weights are read.
#pragma once

#include <memory>

#include "compute/backend.h"
#include "gguf/file.h"
#include "measure/shapes.h"
#include "plan/estimate.h"
#include "plan/workload.h"
#include "spec/model_spec.h"
#include "spec/setup.h"
#include "support/pattern_pages.h"

namespace hearth::plan {

/// A model of which only the header is there, as a file whose data are zeros that take no memory.
/// Of a download that has just begun: HeaderFile(measure::file_shape(path, {})).
class HeaderFile {
 public:
  /// Throws Error when the system refuses the addresses.
  explicit HeaderFile(const measure::Shape& shape);
  /// Lives as long as this.
  [[nodiscard]] const gguf::File& file() const noexcept { return *file_; }

 private:
  PatternMemory memory_;
  std::unique_ptr<gguf::File> file_;
};

/// Counts. `file` may be a HeaderFile's. `target`: whose packing and buffers are counted; null: a
/// CPU backend of this machine's best kernels with as many threads as it would use. Throws Error:
/// an unknown architecture, a model that is damaged.
[[nodiscard]] Workload counted_workload(const gguf::File& file, compute::Backend* target = nullptr);

/// What an engine under `setup` (threads, context and KV type resolved or not) will allocate, to
/// the byte: the loader's own plan. Throws Error.
[[nodiscard]] MemoryNeed planned_memory(const gguf::File& file, const spec::Setup& setup);

}  // namespace hearth::plan
