// What a sequence remembers: its cells in the paged KV pools, and its recurrent state.
//
// A sequence with windows or recurrent state cannot be cut back to anywhere: cells behind a window
// are given up, and a recurrent state has no past. truncate() therefore goes back to the last
// length that can still be restored, and says which. That is always possible for the pass just
// made, for the ends of the last prompts (snapshots), and, without recurrent state, for
// kWindowSlack cells. Of a coded page only the whole can stay: a cut into one goes back to its
// beginning, except to the lengths just named, whose last page is kept raw for that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "state/memory.h"

namespace hearth::state {

/// Takes bytes one after the other: states are too large to be copied once more.
using ByteSink = std::function<void(std::span<const std::byte>)>;

/// Gives them back. Both throw Error when they cannot.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// The next `count` bytes, valid until the next call.
  [[nodiscard]] virtual std::span<const std::byte> take(std::size_t count) = 0;
  /// The next `count` bytes are not wanted.
  virtual void skip(std::size_t count) = 0;
};

/// The memory of one sequence. Cell c holds the row that was evaluated c-th; its position is
/// first_position + c, unless positions were skipped.
class SequenceState {
 public:
  /// At most pool.limits().context cells; lists are allocated up front, so that growing never
  /// allocates. `pool` must outlive the sequence.
  explicit SequenceState(MemoryPool& pool, std::int64_t first_position = 0);
  SequenceState(const SequenceState&) = delete;
  SequenceState& operator=(const SequenceState&) = delete;
  ~SequenceState();

  /// A second sequence with the same past. Pages and states are shared until one of them changes.
  /// Throws Error while a pass is under way.
  [[nodiscard]] std::unique_ptr<SequenceState> fork() const;

  /// A fork with only what going on from length() needs: no earlier states, nothing behind the
  /// windows. It holds one slot of recurrent state.
  [[nodiscard]] std::unique_ptr<SequenceState> snapshot() const;

  [[nodiscard]] const MemoryPool& pool() const noexcept { return *pool_; }
  [[nodiscard]] std::int64_t length() const noexcept { return length_; }
  [[nodiscard]] std::int64_t max_cells() const noexcept { return pool_->limits().context; }
  [[nodiscard]] std::int64_t first_position() const noexcept { return first_position_; }
  [[nodiscard]] std::int64_t next_position() const noexcept {
    return first_position_ + length_ + (skips_.empty() ? 0 : skips_.back().total);
  }
  /// The position of the row in `cell` (and of those after it) becomes `position`: rows of images
  /// take many cells and few positions.
  void set_position(std::int64_t cell, std::int64_t position);

  /// Physical pages of a group by logical page, with compute::kCodedPage; those behind a window are
  /// 0 and not to be read.
  [[nodiscard]] std::span<const std::int32_t> pages(std::size_t group) const noexcept {
    return pages_[group].list;
  }
  [[nodiscard]] std::int64_t encoder_length() const noexcept { return encoder_length_; }

  /// Adds `count` cells, taking pages as needed, and a slot for the state after them. Throws Error
  /// when the sequence or the pool is full; nothing changes then. Followed by commit() when the
  /// rows were evaluated, or by truncate() when not.
  void grow(std::int64_t count);
  /// Pages of a group that grow(count) takes now, copies of shared ones included.
  [[nodiscard]] std::int64_t pages_needed(std::size_t group, std::int64_t count) const noexcept;
  /// Slots of recurrent state that it takes.
  [[nodiscard]] std::int64_t slots_needed() const noexcept;
  /// The rows of the last grow() are evaluated: gives up what no window reaches any more, and codes
  /// pages that are old enough.
  void commit() noexcept;
  /// The slot of the recurrent state before the rows of the last grow(); -1: zero.
  [[nodiscard]] std::int32_t state_slot() const noexcept {
    return checkpoints_.empty() ? -1 : checkpoints_.back().slot;
  }
  /// The slot for the state after them; -1 without recurrent state.
  [[nodiscard]] std::int32_t next_slot() const noexcept { return pending_slot_; }
  /// Cells for the encoder's output. Throws Error when there is one already, or no room.
  void set_encoder_length(std::int64_t count);
  /// Takes set_encoder_length() back: the encoder failed.
  void forget_encoder() noexcept;

  /// Forgets cells so that at most `length` are left; returns how many are (the rest must be
  /// evaluated again).
  std::int64_t truncate(std::int64_t length) noexcept;

  /// All of it as bytes, for load() into an empty sequence of a pool with the same memories on the
  /// same kind of backend. Throws Error while a pass is under way.
  [[nodiscard]] std::vector<std::byte> save() const;
  /// Throws Error when `bytes` were not saved for such a pool; the sequence is then empty.
  void load(std::span<const std::byte> bytes);

  // The same in parts, so that what several sequences have in common is kept once: the cells of
  // groups without a window in ranges, and the state of the last row (windows, recurrent state,
  // the encoder's cells).

  /// Cells of rows [begin, length()); `begin` is a multiple of pool.rows_between_pages().
  void save_cells(std::int64_t begin, const ByteSink& sink) const;
  void save_state(const ByteSink& sink) const;
  /// Adds the cells of rows [begin, until) that save_cells(begin) wrote, and passes over the rest;
  /// the ranges before it were added already. load_state() or finish_load() must follow the last
  /// range. These three throw Error when the bytes are wrong or the pool is full; the sequence is
  /// then empty.
  void load_cells(ByteSource& source, std::int64_t until);
  /// What save_state() wrote: the sequence is complete, and as long as the saved one.
  void load_state(ByteSource& source);
  /// Without windows and recurrent state: the sequence has `length` rows, for which there must be
  /// cells.
  void finish_load(std::int64_t length);
  /// No load_cells() will follow the ones before: the sequence is empty, as when one fails.
  void abandon_load() noexcept;

  /// Takes everything that loading `length` rows can want, so that the functions above touch
  /// nothing that is shared: they may run on another thread than the one that uses the pool, which
  /// waits with everything else for settle(). When they fail, the sequence is good for nothing but
  /// to be destroyed, by that one. Throws Error when there is no room; the sequence must be empty.
  void reserve(std::int64_t length);
  /// Gives back what was not wanted.
  void settle() noexcept;

 private:
  struct Pages {
    std::vector<std::int32_t> list;
    std::int64_t first = 0;      // logical pages before it were given up
    std::int64_t coded_end = 0;  // all before it are coded, or stay raw
    std::int64_t pinned = -1;    // while a pass is under way: from this page on they are pinned
  };
  /// A recurrent state that the sequence can go back to.
  struct Checkpoint {
    std::int64_t length = 0;
    std::int32_t slot = -1;
    bool keep = false;  // ended a pass of several rows
    /// The page that `length` is in the middle of, raw; -1: it is in the list, or there is none.
    std::int32_t raw_page = -1;
  };
  /// From cell `length` on, positions are `total` more than cells.
  struct Skip {
    std::int64_t length = 0, total = 0;
  };

  /// Taken by reserve(), by group: raw and coded pages.
  struct Reserve {
    std::vector<std::vector<std::int32_t>> raw, coded;
    std::vector<std::int32_t> slots;
  };

  [[nodiscard]] std::int32_t page_to_load(std::size_t group, bool coded);
  [[nodiscard]] std::int32_t slot_to_load();
  void give_back_reserve() noexcept;
  void clear() noexcept;
  void forget_checkpoints() noexcept;
  void read_cells(ByteSource& source, std::int64_t until);
  void read_state(ByteSource& source);
  void check_loaded(std::int64_t length) const;
  void write_page(std::size_t group, std::int32_t page, const ByteSink& sink) const;
  void read_page(std::size_t group, std::int32_t page, ByteSource& source);
  void read_pages(std::size_t group, std::int64_t count, std::int64_t others, ByteSource& source);
  void grow_pages(std::size_t group, std::int64_t length);
  void shrink_pages(std::size_t group, std::int64_t length) noexcept;
  void own_last_page(std::size_t group);
  void pin_pages(std::size_t group);
  void unpin_pages(std::size_t group) noexcept;
  [[nodiscard]] std::size_t oldest_checkpoint() const noexcept;
  void make_room_for_slot() noexcept;
  [[nodiscard]] bool windows_reach(std::int64_t length) const noexcept;
  /// The group that is coded; pages_.size(): none.
  [[nodiscard]] std::size_t coded_group() const noexcept;
  void code_pages(std::int64_t length, std::int64_t recent) noexcept;
  void keep_raw(std::int32_t page, std::int64_t index) noexcept;
  [[nodiscard]] bool ends_in_coded_page(std::int64_t length) const noexcept;
  void restore_raw_page(Checkpoint& checkpoint) noexcept;
  void give_back(Checkpoint& checkpoint) noexcept;
  void give_up_pages(std::size_t group, std::int64_t slack) noexcept;

  MemoryPool* pool_;
  std::int64_t first_position_;
  std::int64_t length_ = 0;
  std::int64_t encoder_length_ = 0;
  std::int64_t growing_ = 0;  // rows of a pass under way
  std::vector<Pages> pages_;  // by group
  std::vector<Checkpoint> checkpoints_;
  std::int32_t pending_slot_ = -1;
  std::vector<Skip> skips_;
  std::unique_ptr<Reserve> reserve_;
};

}  // namespace hearth::state
