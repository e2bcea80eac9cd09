#include "compute/cpu/selection.h"

#include "compute/cpu/access.h"

namespace hearth::compute::cpu {

void SelectionEngine::reserve(std::int64_t /*rows*/, std::int64_t /*columns*/) {
  (void)team_;
  (void)kernels_;
}
void SelectionEngine::attend_selected(const SelectedAttendArguments& /*a*/) noexcept {
}  // TODO(helper)
void SelectionEngine::select_cells(const SelectCellsArguments& /*a*/) noexcept {}    // TODO(helper)
void SelectionEngine::select_blocks(const SelectBlocksArguments& /*a*/) noexcept {}  // TODO(helper)
void SelectionEngine::compress(const CompressArguments& /*a*/) noexcept {}           // TODO(helper)

}  // namespace hearth::compute::cpu
