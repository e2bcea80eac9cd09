// Reads the pages that a pass needs and that are not in memory, layer by layer and part by part,
// ahead of the layers: a thread fills the slots of a ring, attention reads them and gives them
// back.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "compute/backend.h"
#include "state/page_disk.h"
#include "support/error.h"
#include "tensor/tensor.h"

namespace hearth::state {

/// Pages that attention takes with one call: those of a part are all in memory, or all in one slot.
struct PagePart {
  std::int64_t first = 0, end = 0;  // logical pages
  bool staged = false;
  std::size_t sources = 0;  // of a staged part: where its pages begin in the list of all
};

/// Where a page of a staged part comes from.
struct PageSource {
  std::int32_t page = -1;   // on disk; -1: it is kept elsewhere
  std::int32_t frame = -1;  // in memory, too
};

class PageStream {
 public:
  static constexpr std::int64_t kSlots = 4;
  /// Parts are made of units, so that they begin where AttendPart may: the unit that a page is in
  /// begins and ends with these.
  [[nodiscard]] static constexpr std::int64_t unit_begin(std::int64_t page) {
    return compute::attend_begin(page * kPageCells) / kPageCells;
  }
  [[nodiscard]] static constexpr std::int64_t unit_end(std::int64_t page) {
    return compute::attend_end(page * kPageCells) / kPageCells;
  }

  /// `slots`: a buffer of kSlots * slot_pages * (the largest stripe) bytes. Without `disk` nothing
  /// is read: passes are only counted. All must outlive the stream.
  PageStream(std::span<const FramedMemory> memories, const PageDisk* disk, tensor::Buffer& slots,
             std::int64_t slot_pages);
  PageStream(const PageStream&) = delete;
  PageStream& operator=(const PageStream&) = delete;
  ~PageStream();

  // A pass is told in this order: begin(); per segment add_segment(), add_part() for what it has,
  // and the sources of the pages of staged parts; read() for every attention in the order of their
  // execution; start().

  /// Forgets the pass before. What is still read for it is waited for.
  void begin();
  /// Rows [begin, end) of the pass are of one sequence.
  void add_segment(std::int64_t begin, std::int64_t end);
  /// The next pages of a group of the last segment.
  void add_part(std::size_t group, const PagePart& part);
  void add_source(const PageSource& source) { sources_.push_back(source); }
  /// Memory `index` is read by rows [begin, end).
  void read(std::size_t index, std::int64_t begin, std::int64_t end);
  void start();
  /// Reads nothing more for this pass: frames are about to change.
  void stop() noexcept;

  struct Segment {
    std::int64_t begin = 0, end = 0;  // rows
  };
  [[nodiscard]] std::span<const Segment> segments() const noexcept { return segments_; }
  /// Whether anything of a group is staged in this pass.
  [[nodiscard]] bool staged(std::size_t group) const noexcept;
  /// Calls use(part, whether it is the last one) for those of a segment, in ascending order.
  template <class Use>
  void for_parts(std::size_t segment, std::size_t group, Use use) const {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const auto is_wanted = [&](const Planned& each) {
        return each.segment == segment && each.group == group;
      };
      if (!is_wanted(parts_[i])) continue;
      // Those of a segment's group follow each other.
      use(parts_[i].part, i + 1 == parts_.size() || !is_wanted(parts_[i + 1]));
    }
  }

  /// Keys and values of the next part, the one that read() told of; waits for them. Valid until
  /// release(). Throws Error when the disk failed.
  struct Slot {
    tensor::Tensor keys, values;
  };
  [[nodiscard]] Slot take(std::size_t index, const PagePart& part);
  void release() noexcept;

  /// What the pass reads from the disk, in bytes.
  [[nodiscard]] std::uint64_t pass_bytes() const noexcept { return pass_bytes_; }
  [[nodiscard]] std::int64_t slot_pages() const noexcept { return slot_pages_; }

 private:
  struct Planned {
    std::size_t segment = 0, group = 0;
    PagePart part;
  };
  struct Job {
    std::size_t memory = 0;
    std::int64_t first_page = 0, pages = 0;
    std::size_t sources = 0;
  };
  void run() noexcept;
  void fill(const Job& job, std::size_t slot) const;
  [[nodiscard]] std::size_t slot_at(std::size_t job) const noexcept {
    return job % static_cast<std::size_t>(kSlots) * slot_bytes_;
  }

  std::span<const FramedMemory> memories_;
  const PageDisk* disk_;
  tensor::Buffer& slots_;
  std::int64_t slot_pages_;
  std::size_t slot_bytes_;
  std::vector<Segment> segments_;
  std::vector<Planned> parts_;
  std::vector<PageSource> sources_;
  std::vector<Job> jobs_;
  std::uint64_t pass_bytes_ = 0;

  // Shared with the thread that reads, which sees jobs_ and sources_ only while there is work.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t available_ = 0;           // jobs that may be done
  std::size_t filled_ = 0, taken_ = 0;  // jobs done, and those whose slots are free again
  bool reading_ = false, ends_ = false;
  std::optional<Error> problem_;
  std::thread reader_;
};

}  // namespace hearth::state
