#include "compute/reference/access.h"
#include "compute/reference/operations.h"

namespace hearth::compute::reference {

void attend_selected(const SelectedAttendArguments& /*a*/) noexcept {}  // TODO(helper)
void select_cells(const SelectCellsArguments& /*a*/) noexcept {}        // TODO(helper)
void select_blocks(const SelectBlocksArguments& /*a*/) noexcept {}      // TODO(helper)
void compress(const CompressArguments& /*a*/) noexcept {}               // TODO(helper)

}  // namespace hearth::compute::reference
