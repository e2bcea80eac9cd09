// Attention over paged keys and values with an online softmax (Milakov & Gimelshein 2018,
// arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), in float32, or with products of bfloat16
// where the keys and values have 16 bits and the kernels can (attention_tiles.h).
//
// Cells are taken in tiles of 64 on an absolute grid (cell 0, 64, ...) and gathered into chunks of
// 512 or 2048 cells whose partial results are merged in order. So the order of every sum depends on
// the row's own range of cells only: a row gets the same bits alone or in any batch, on any number
// of threads, and a long range can be shared by several threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/memory.h"
#include "support/thread_team.h"

namespace hearth::compute::cpu {

struct AttentionUnit;
class CoderCache;
struct CodedScheme;

class AttentionEngine {
 public:
  /// `exact`: coded pages are decoded to float32.
  AttentionEngine(ThreadTeam& team, const KernelTable& kernels, std::shared_ptr<Ledger> ledger,
                  CoderCache& coders, bool exact);

  /// Workspace for batches of `rows` rows whose heads together have at most `columns` values.
  /// Throws Error.
  void reserve(std::int64_t rows, std::int64_t columns);

  void run(const AttendArguments& arguments) noexcept;

  /// Work memory of one thread that other operations may use, too: kWorkspaceFloats floats, aligned
  /// to 64 bytes.
  [[nodiscard]] float* workspace(int thread) const noexcept;
  static constexpr std::int64_t kWorkspaceFloats = 192 * 1024;

 private:
  struct Pass;
  [[nodiscard]] CodedScheme scheme_of(const AttendArguments& a);
  void make_tiles(const AttendArguments& a, Pass& pass) noexcept;
  void run_unit(const Pass& pass, std::int64_t unit, int thread) noexcept;
  /// Consecutive rows of one sequence whose ranges of cells touch: they share tiles of keys.
  struct RowTile {
    std::int64_t row = 0;
    std::int32_t count = 0;
    std::int32_t begin = 0, end = 0;  // union of their ranges
  };
  template <class Tiles>
  void attend_unit(const Pass& pass, std::int64_t unit, const RowTile& tile,
                   std::span<const AttentionUnit> heads, int thread) noexcept;

  ThreadTeam& team_;
  const KernelTable& kernels_;
  std::shared_ptr<Ledger> ledger_;
  CoderCache& coders_;
  bool exact_;
  std::vector<RowTile> tiles_;
  std::unique_ptr<std::atomic<std::int32_t>[]> chunks_left_;
  std::int64_t split_groups_ = 0;  // entries of chunks_left_
  std::size_t partial_floats_ = 0;
  AccountedPages scratch_;
  AccountedPages partials_;
};

}  // namespace hearth::compute::cpu
