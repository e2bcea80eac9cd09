// What all sequences of a model share: preallocated pages of keys and values, and slots of
// recurrent state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "spec/kv_format.h"
#include "spec/model_spec.h"
#include "state/kv_format.h"
#include "state/page_disk.h"
#include "state/page_frames.h"
#include "state/page_stream.h"
#include "tensor/tensor.h"

namespace hearth::state {

class SequenceState;

/// Cells behind a window that are kept besides, so that a sequence can be cut back a little.
inline constexpr std::int64_t kWindowSlack = 64;
/// Recurrent states that a sequence holds: the current one, the one before it, and snapshots to
/// which it can be cut back.
inline constexpr std::int64_t kSlotsPerSequence = 4;

struct MemoryLimits {
  std::int64_t context = 0;     // rows per sequence
  std::int64_t sequences = 1;   // held at once
  std::int64_t batch_rows = 1;  // rows that one pass may add
  spec::KvFormat kv_type = tensor::DType::kF16;
  /// Beside what `sequences` need: cells of remembered beginnings of texts, and snapshots from
  /// which a sequence with windows or recurrent state can go on (state/prefix_cache.h).
  std::int64_t prefix_cells = 0;
  std::int64_t snapshots = 0;
  /// Most bytes of memory for keys and values; 0: as many as there are. What has no room is in a
  /// file in `spill_folder` of at most `spill_bytes` bytes (0: any size), and read by every pass.
  std::uint64_t kv_budget = 0, spill_bytes = 0;
  std::filesystem::path spill_folder{};
};

/// Coded pages of one memory; absent where it has none.
struct CodedPages {
  tensor::Tensor keys, values;  // I8 [coded pages, kv_heads, bytes of a page]
  quant::KvCode key_code, value_code;
};

/// Cells that are kept and found alike, over all memories of one spec::CellGroup that are coded, or
/// that are not. Page p of every memory of a group belongs to the same cells; pages are
/// reference-counted, so that forked sequences share them.
///
/// A group that is coded has raw pages, for rows as they come, and coded ones
/// (compute::kCodedPage in their number), for those that will not change any more. There are only
/// as many raw ones as sequences need at once.
///
/// Where all pages are more than the budget, those that grow in number with the context (the raw
/// ones of a group without a window; the coded ones of a coded group) have numbers as before, but
/// only some of them a frame in memory, whose number is then what tensors and page tables are
/// indexed with; the others are on disk. Pages that a pass writes are pinned while it is under way.
class MemoryPool {
 public:
  /// `backend` must outlive the pool. Throws Error when there is not enough memory, or the budget
  /// cannot be kept.
  MemoryPool(compute::Backend& backend, const spec::ModelSpec& spec, const MemoryLimits& limits);

  /// Takes all of the pool's memory from the machine now: by itself it is taken when it is first
  /// used. Throws Error when the machine does not have it.
  void populate();

  [[nodiscard]] const MemoryLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] std::span<const spec::CellGroup> groups() const noexcept { return groups_; }
  /// The group of a KV memory.
  [[nodiscard]] std::size_t group_of(spec::MemoryIndex memory) const noexcept {
    return group_of_[static_cast<std::size_t>(memory)];
  }
  /// Pages that all sequences together can fill, and those by which one could still grow.
  [[nodiscard]] std::int64_t pages(std::size_t group) const noexcept;
  [[nodiscard]] std::int64_t free_pages(std::size_t group) const noexcept;
  /// Whether old pages of a group are coded.
  [[nodiscard]] bool coded(std::size_t group) const noexcept { return pools_[group].coded_group; }
  /// Cells that `rows` rows of a sequence take in a group.
  [[nodiscard]] std::int64_t cells(std::size_t group, std::int64_t rows) const noexcept;

  [[nodiscard]] const MemoryFormat& format(spec::MemoryIndex memory) const noexcept {
    return formats_[static_cast<std::size_t>(memory)];
  }
  /// [raw pages (of a group on disk: frames), kv_heads, kPageCells, size]; values are absent when
  /// the memory has none.
  [[nodiscard]] const tensor::Tensor& keys(spec::MemoryIndex memory) const noexcept {
    return keys_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] const tensor::Tensor& values(spec::MemoryIndex memory) const noexcept {
    return values_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] const CodedPages& coded_pages(spec::MemoryIndex memory) const noexcept {
    return coded_[static_cast<std::size_t>(memory)];
  }
  /// F32 [slots, channels, taps] and [slots, heads, rows, columns] of a recurrent memory.
  [[nodiscard]] const tensor::Tensor& conv(spec::MemoryIndex memory) const noexcept {
    return conv_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] const tensor::Tensor& scan(spec::MemoryIndex memory) const noexcept {
    return scan_[static_cast<std::size_t>(memory)];
  }
  [[nodiscard]] bool recurrent() const noexcept { return recurrent_; }
  /// A sequence cannot be cut back to anywhere: there is recurrent state, or a window that the
  /// context can outgrow.
  [[nodiscard]] bool needs_snapshots() const noexcept;
  [[nodiscard]] std::int64_t slots() const noexcept {
    return static_cast<std::int64_t>(slot_references_.size());
  }
  [[nodiscard]] std::int64_t free_slots() const noexcept {
    return static_cast<std::int64_t>(free_slots_.size());
  }
  /// Sequences that hold a page.
  [[nodiscard]] std::int32_t page_references(std::size_t group, std::int32_t page) const noexcept {
    return list_of(group, page).references[static_cast<std::size_t>(page & ~compute::kCodedPage)];
  }
  /// Of one page of a group as it is in the long run, over all of its memories.
  [[nodiscard]] std::size_t page_bytes(std::size_t group) const noexcept {
    return page_bytes(group, coded(group));
  }
  /// Every so many rows all groups without a window begin a new page.
  [[nodiscard]] std::int64_t rows_between_pages() const noexcept;
  /// Bytes of the file that pages without room in memory are in; 0: there is none.
  [[nodiscard]] std::uint64_t disk_bytes() const noexcept { return PageDisk::file_bytes(framed_); }
  /// What reads the pages on disk; null: all are in memory.
  [[nodiscard]] PageStream* stream() const noexcept { return stream_.get(); }
  /// What a group's pages on disk are known by to stream(); nothing when all are in memory.
  [[nodiscard]] std::optional<std::size_t> framed(spec::MemoryIndex memory) const noexcept;
  /// Tells stream() which pages a sequence's new segment has, and writes for each of them what
  /// `table` is to say: where it is in the tensors, or in its part. All groups; tables[group].
  void plan_segment(const SequenceState& sequence,
                    std::span<const std::span<std::int32_t>> tables) const;
  /// Hash of everything that decides how the bytes of a sequence are laid out.
  [[nodiscard]] std::uint64_t fingerprint() const;

 private:
  friend class SequenceState;
  /// Numbered things that are shared by reference counts.
  struct PageList {
    std::vector<std::int32_t> references, free;
    void resize(std::int64_t count);
    [[nodiscard]] std::int64_t count() const noexcept {
      return static_cast<std::int64_t>(references.size());
    }
    [[nodiscard]] std::int64_t used() const noexcept { return count() - left(); }
    [[nodiscard]] std::int64_t left() const noexcept {
      return static_cast<std::int64_t>(free.size());
    }
    [[nodiscard]] std::int32_t take() noexcept;  // -1: none is free
    void give_back(std::int32_t page) noexcept;
  };
  struct Group {
    PageList raw, coded;
    std::int64_t capacity = 0;  // pages that sequences can fill
    bool coded_group = false;
    bool on_disk = false;  // then `frames` are of the coded pages, or else of the raw ones
    PageFrames frames;
    [[nodiscard]] const PageList& growing() const noexcept { return coded_group ? coded : raw; }
    [[nodiscard]] bool framed(std::int32_t page) const noexcept {
      return on_disk && is_coded(page) == coded_group;
    }
  };
  /// How one memory lies in its buffer.
  struct Layout {
    tensor::Tensor keys, values, coded_keys, coded_values;
    std::size_t stripe = 0, frames_at = 0, bytes = 0;
  };
  /// A raw page and the coded page that it becomes.
  struct CodedPair {
    std::int32_t raw, coded;
  };
  void make_group(std::size_t group);
  [[nodiscard]] Layout layout_of(const spec::KvMemory& memory, std::size_t index) const;
  void divide(const spec::ModelSpec& spec);
  void choose_groups(const spec::ModelSpec& spec);
  [[nodiscard]] std::int64_t least_frames(std::size_t group) const noexcept;
  void open_disk();
  void make_memory(const spec::KvMemory& memory, std::size_t index);
  [[nodiscard]] static bool is_coded(std::int32_t page) noexcept {
    return (page & compute::kCodedPage) != 0;
  }
  [[nodiscard]] PageList& list_of(std::size_t group, std::int32_t page) noexcept {
    return is_coded(page) ? pools_[group].coded : pools_[group].raw;
  }
  [[nodiscard]] const PageList& list_of(std::size_t group, std::int32_t page) const noexcept {
    return is_coded(page) ? pools_[group].coded : pools_[group].raw;
  }
  [[nodiscard]] std::size_t page_bytes(std::size_t group, bool coded_page) const noexcept;
  /// A raw page. Throws Error when none is free. Of a group on disk it is pinned.
  [[nodiscard]] std::int32_t take_page(std::size_t group);
  /// A coded page, as page tables have it; -1 when none is free. Pinned as well.
  [[nodiscard]] std::int32_t take_coded_page(std::size_t group) noexcept;
  /// Brings a page to memory, if it is not there, and keeps it there. Throws Error when the disk
  /// fails. Without a disk, and for pages that are always in memory, these do nothing.
  void pin(std::size_t group, std::int32_t page);
  void unpin(std::size_t group, std::int32_t page) noexcept;
  /// Some of these pages that are on disk only come back to memory where frames were given up.
  /// Throws Error when the disk fails.
  void bring_back(std::size_t group, std::span<const std::int32_t> pages);
  void load_page(std::size_t group, std::int32_t number);
  /// The page, which is pinned, will be written.
  void set_changed(std::size_t group, std::int32_t page) noexcept;
  /// Where a page is in the tensors of its group; -1: on disk only.
  [[nodiscard]] std::int32_t row_of(std::size_t group, std::int32_t page) const noexcept {
    const std::int32_t number = page & ~compute::kCodedPage;
    return pools_[group].framed(page) ? pools_[group].frames.frame(number) : number;
  }
  void free_a_frame(std::size_t group);
  /// Keys and values of all memories of a page that is on disk only, one after the other.
  void write_from_disk(std::size_t group, std::int32_t page,
                       const std::function<void(std::span<const std::byte>)>& sink) const;
  void plan_pages(std::size_t group, std::span<const std::int32_t> pages,
                  std::span<std::int32_t> table) const;
  void share_page(std::size_t group, std::int32_t page) noexcept;
  void give_back_page(std::size_t group, std::int32_t page) noexcept;
  void copy_page(std::size_t group, std::int32_t from, std::int32_t to) noexcept;
  /// Codes pages of all memories of a group.
  void encode(std::size_t group, std::span<const CodedPair> pairs) noexcept;
  /// Raw pages that one pass can take at most.
  [[nodiscard]] std::int64_t pass_pages() const noexcept;
  [[nodiscard]] std::int64_t longest_unit() const noexcept;
  /// Raw pages for earlier states of a sequence.
  [[nodiscard]] std::int64_t kept_pages() const noexcept {
    return recurrent_ ? kSlotsPerSequence - 1 : 0;
  }
  [[nodiscard]] std::int64_t sink_pages() const noexcept {
    return limits_.kv_type.uniform ? 0 : kSinkPages;
  }
  [[nodiscard]] std::int64_t recent_cells() const noexcept {
    return limits_.kv_type.uniform ? 0 : kRecentCells;
  }
  [[nodiscard]] std::int32_t take_slot();  // throws Error when none is free
  void share_slot(std::int32_t slot) noexcept {
    ++slot_references_[static_cast<std::size_t>(slot)];
  }
  void give_back_slot(std::int32_t slot) noexcept;

  compute::Backend* backend_;
  MemoryLimits limits_;
  bool recurrent_ = false;
  std::vector<spec::CellGroup> groups_;
  std::vector<Group> pools_;  // by group
  std::vector<std::size_t> group_of_;
  std::vector<std::unique_ptr<tensor::Buffer>> buffers_;
  std::vector<MemoryFormat> formats_;
  std::vector<tensor::Tensor> keys_, values_, conv_, scan_;
  std::vector<CodedPages> coded_;
  std::vector<FramedMemory> framed_;        // of groups on disk
  std::vector<std::int32_t> framed_index_;  // by memory; -1: none
  std::int64_t slot_pages_ = 0;
  tensor::Buffer* ring_ = nullptr;  // of stream_
  std::unique_ptr<PageDisk> disk_;
  std::unique_ptr<PageStream> stream_;
  std::string disk_problem_;
  tensor::Tensor pairs_;  // I32 [pages coded at a time, 2]
  std::vector<std::int32_t> slot_references_, free_slots_;
};

}  // namespace hearth::state
