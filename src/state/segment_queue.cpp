#include "state/segment_queue.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace hearth::state {
namespace {

constexpr std::size_t kMostQueued = std::size_t{256} << 20;

}  // namespace

SegmentQueue::SegmentQueue(Options options)
    : options_(std::move(options)), thread_([this] { run(); }) {}

SegmentQueue::~SegmentQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SegmentQueue::push(Message message) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queued_bytes_ < kMostQueued; });
    if (const auto* block = std::get_if<Block>(&message)) queued_bytes_ += block->size();
    messages_.push_back(std::move(message));
  }
  changed_.notify_all();
}

void SegmentQueue::begin(SegmentHeader header) {
  gathered_.clear();
  push(std::move(header));
}

void SegmentQueue::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (gathered_.capacity() == 0) gathered_.reserve(SegmentWriter::kBlockBytes);
    const std::size_t part = std::min(bytes.size(), SegmentWriter::kBlockBytes - gathered_.size());
    gathered_.insert(gathered_.end(), bytes.begin(),
                     bytes.begin() + static_cast<std::ptrdiff_t>(part));
    bytes = bytes.subspan(part);
    if (gathered_.size() == SegmentWriter::kBlockBytes) push(std::exchange(gathered_, {}));
  }
}

void SegmentQueue::end(std::uint64_t cells_bytes, std::uint64_t state_bytes, std::uint64_t logits) {
  if (!gathered_.empty()) push(std::exchange(gathered_, {}));
  push(End{cells_bytes, state_bytes, logits});
}

void SegmentQueue::abandon() { push(Abandon{}); }

void SegmentQueue::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return messages_.empty() && !busy_; });
}

void SegmentQueue::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !messages_.empty(); });
    if (messages_.empty()) return;
    Message message = std::move(messages_.front());
    messages_.pop_front();
    busy_ = true;
    lock.unlock();
    try {
      handle(message);
    } catch (const std::exception& error) {
      finish(error.what());
    }
    lock.lock();
    busy_ = false;
    if (const auto* block = std::get_if<Block>(&message)) queued_bytes_ -= block->size();
    changed_.notify_all();
  }
}

/// Blocks of a segment that failed are dropped.
void SegmentQueue::handle(Message& message) {
  if (auto* header = std::get_if<SegmentHeader>(&message)) {
    id_ = header->id;
    written_ = 0;
    open_ = true;
    writer_ = std::make_unique<SegmentWriter>(options_.folder, std::move(*header), options_.key);
  } else if (const auto* block = std::get_if<Block>(&message)) {
    if (writer_) write_block(*block);
  } else if (const auto* end = std::get_if<End>(&message)) {
    if (!writer_) return;
    writer_->finish(end->cells_bytes, end->state_bytes, end->logits);
    options_.publish(*writer_);
    finish({});
  } else if (open_) {
    finish("it was given up");
  }
}

void SegmentQueue::write_block(const Block& block) {
  written_ += block.size();
  if (written_ > options_.most_bytes) throw Error("it is larger than the store may become");
  const std::optional<std::uint64_t> free = free_bytes(options_.folder);
  if (free && *free < options_.reserve_bytes + block.size()) throw Error("the disk is full");
  writer_->block(block);
}

void SegmentQueue::finish(const std::string& problem) {
  writer_.reset();
  if (std::exchange(open_, false)) options_.done({id_, problem});
}

}  // namespace hearth::state
