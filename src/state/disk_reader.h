// Looking on disk for those who cannot wait: a thread that finds and reads beginnings of texts.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "state/disk_store.h"

namespace hearth::state {

/// Questions and answers are numbered by whoever asks. For one thread, which is the one that uses
/// the pool.
class DiskReader {
 public:
  struct LookUp {
    PrefixKey key;
    std::vector<std::int32_t> tokens;
    std::int64_t least = 0;  ///< as for DiskStore::find()
  };
  struct Read {
    StoredPrefix stored;
    std::unique_ptr<SequenceState> sequence;  ///< reserve()d for it
  };
  struct Answer {
    std::uint64_t id = 0;
    std::optional<StoredPrefix> found;        ///< to a LookUp
    std::unique_ptr<SequenceState> sequence;  ///< to a Read; settle() follows
    std::vector<float> logits;
    bool complete = false;  ///< it was read: else the sequence is of no use
  };

  /// `ready` is called on the reading thread when there is an answer. All must outlive the reader.
  DiskReader(DiskStore& disk, const MemoryPool& pool, std::function<void()> ready);
  /// Finishes what is being read, and leaves the rest.
  ~DiskReader();
  DiskReader(const DiskReader&) = delete;
  DiskReader& operator=(const DiskReader&) = delete;

  void look_up(std::uint64_t id, LookUp question);
  void read(std::uint64_t id, Read question);
  /// Null: there is none yet.
  [[nodiscard]] std::unique_ptr<Answer> next();

 private:
  struct Question {
    std::uint64_t id;
    std::variant<LookUp, Read> what;
  };
  void ask(Question question);
  void run();
  void answer(Question& question, Answer& answer);

  DiskStore& disk_;
  const MemoryPool& pool_;
  std::function<void()> ready_;
  std::mutex mutex_;
  std::condition_variable asked_;
  std::deque<Question> questions_;
  std::deque<std::unique_ptr<Answer>> answers_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace hearth::state
