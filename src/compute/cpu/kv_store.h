// Rows of keys and values go to their cells.
#pragma once

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

/// Backend::store_kv: values F32 [T, kv_heads, size] to the cells of `rows` in `pool`
/// [pages, kv_heads, cells, size], in the pool's type and layout (kv_layout.h).
void store_kv(ThreadTeam& team, const KernelTable& kernels, KvPart part, const Tensor& values,
              const KvRows& rows, const Tensor& pool) noexcept;

}  // namespace hearth::compute::cpu
