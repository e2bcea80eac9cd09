// The thread that writes segments: it is given their bytes and does the rest.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <variant>
#include <vector>

#include "state/segment.h"

namespace hearth::state {

/// Segments arrive one after the other, each as begin(), bytes and end(). All but the constructor
/// and the destructor are for one thread.
class SegmentQueue {
 public:
  struct Result {
    Hash128 id;
    std::string problem;  ///< empty: it is there
  };
  struct Options {
    std::filesystem::path folder;
    std::uint64_t most_bytes = 0;     // of one segment
    std::uint64_t reserve_bytes = 0;  // left free on the disk
    const StoreKey* key = nullptr;    // files are sealed with it; null: they are plain
    /// Gives a finished file its name. Called on the writing thread; may throw.
    std::function<void(SegmentWriter&)> publish;
    /// Called on the writing thread when a segment is done with.
    std::function<void(const Result&)> done;
  };

  explicit SegmentQueue(Options options);
  /// Writes what is left.
  ~SegmentQueue();
  SegmentQueue(const SegmentQueue&) = delete;
  SegmentQueue& operator=(const SegmentQueue&) = delete;

  void begin(SegmentHeader header);
  /// Waits while too much is queued.
  void write(std::span<const std::byte> bytes);
  void end(std::uint64_t cells_bytes, std::uint64_t state_bytes, std::uint64_t logits);
  /// The segment that was begun is not wanted after all.
  void abandon();
  /// Waits until everything is done with.
  void flush();

 private:
  using Block = std::vector<std::byte>;
  struct End {
    std::uint64_t cells_bytes = 0, state_bytes = 0, logits = 0;
  };
  struct Abandon {};
  using Message = std::variant<SegmentHeader, Block, End, Abandon>;

  void push(Message message);
  void run();
  void handle(Message& message);
  void write_block(const Block& block);
  void finish(const std::string& problem);

  Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Message> messages_;
  std::size_t queued_bytes_ = 0;
  bool busy_ = false, stopping_ = false;
  Block gathered_;
  // The writing thread's:
  std::unique_ptr<SegmentWriter> writer_;
  Hash128 id_;
  std::uint64_t written_ = 0;
  bool open_ = false;  // the segment that is arriving has not been done with
  std::thread thread_;
};

}  // namespace hearth::state
