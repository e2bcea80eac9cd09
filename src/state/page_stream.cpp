#include "state/page_stream.h"

#include <algorithm>
#include <cstring>
#include <exception>

namespace hearth::state {

using tensor::Tensor;

PageStream::PageStream(std::span<const FramedMemory> memories, const PageDisk* disk,
                       tensor::Buffer& slots, std::int64_t slot_pages)
    : memories_(memories),
      disk_(disk),
      slots_(slots),
      slot_pages_(slot_pages),
      slot_bytes_(slots.size() / static_cast<std::size_t>(kSlots)) {
  if (disk_ != nullptr) reader_ = std::thread([this] { run(); });
}

PageStream::~PageStream() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  if (reader_.joinable()) reader_.join();
}

void PageStream::begin() {
  stop();
  segments_.clear();
  parts_.clear();
  sources_.clear();
  jobs_.clear();
  pass_bytes_ = 0;
  const std::lock_guard lock(mutex_);
  filled_ = taken_ = 0;
  problem_.reset();
}

void PageStream::add_segment(std::int64_t begin, std::int64_t end) {
  segments_.push_back({begin, end});
}

void PageStream::add_part(std::size_t group, const PagePart& part) {
  parts_.push_back({segments_.size() - 1, group, part});
  parts_.back().part.sources = sources_.size();
}

bool PageStream::staged(std::size_t group) const noexcept {
  return std::any_of(parts_.begin(), parts_.end(), [group](const Planned& each) {
    return each.group == group && each.part.staged;
  });
}

void PageStream::read(std::size_t index, std::int64_t begin, std::int64_t end) {
  for (const Planned& each : parts_) {
    const Segment& segment = segments_[each.segment];
    if (each.group != memories_[index].group || !each.part.staged) continue;
    if (segment.begin >= end || segment.end <= begin) continue;
    const PagePart& part = each.part;
    jobs_.push_back({index, part.first, part.end - part.first, part.sources});
    for (std::int64_t i = 0; i < part.end - part.first; ++i) {
      const PageSource& source = sources_[part.sources + static_cast<std::size_t>(i)];
      if (source.page >= 0 && source.frame < 0) pass_bytes_ += memories_[index].stripe;
    }
  }
}

void PageStream::start() {
  if (jobs_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    available_ = jobs_.size();
  }
  changed_.notify_all();
}

void PageStream::stop() noexcept {
  std::unique_lock lock(mutex_);
  available_ = 0;
  changed_.wait(lock, [this] { return !reading_; });
}

PageStream::Slot PageStream::take(std::size_t index, const PagePart& part) {
  const std::size_t job = taken_;
  if (job >= jobs_.size() || jobs_[job].memory != index || jobs_[job].first_page != part.first) {
    throw Error("a layer reads other pages of keys than were announced",
                "this is a bug in Hearth: please report it");
  }
  if (disk_ != nullptr) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return filled_ > job || problem_ || available_ <= job; });
    if (problem_ && filled_ <= job) throw Error(*problem_);
    if (filled_ <= job) throw Error("keys on disk were given up while a layer reads them");
  }
  const FramedMemory& memory = memories_[index];
  const auto view = [&](Tensor tensor) {
    if (!tensor) return tensor;
    tensor.buffer = &slots_;
    tensor.offset = tensor.offset - memory.frames_at + slot_at(job);
    tensor.shape[0] = part.end - part.first;
    return tensor;
  };
  return {view(memory.keys), view(memory.values)};
}

void PageStream::release() noexcept {
  {
    const std::lock_guard lock(mutex_);
    ++taken_;
  }
  changed_.notify_all();
}

void PageStream::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] {
      const bool work =
          filled_ < available_ && !problem_ && filled_ < taken_ + static_cast<std::size_t>(kSlots);
      return ends_ || work;
    });
    if (ends_) return;
    const std::size_t job = filled_;
    reading_ = true;
    lock.unlock();
    std::optional<Error> problem;
    try {
      fill(jobs_[job], job);
    } catch (const Error& error) {
      problem = error;
    } catch (const std::exception& error) {
      problem = Error(error.what());
    }
    lock.lock();
    reading_ = false;
    if (problem) {
      problem_ = std::move(problem);
    } else {
      ++filled_;
    }
    changed_.notify_all();
  }
}

/// Pages that follow each other on disk are read at once.
void PageStream::fill(const Job& job, std::size_t slot) const {
  const FramedMemory& memory = memories_[job.memory];
  std::byte* const to = slots_.host() + slot_at(slot);
  const std::span<const PageSource> sources =
      std::span(sources_).subspan(job.sources, static_cast<std::size_t>(job.pages));
  for (std::size_t i = 0; i < sources.size();) {
    std::size_t end = i + 1;
    if (sources[i].frame >= 0) {
      std::memcpy(to + i * memory.stripe, memory.frame(sources[i].frame), memory.stripe);
    } else if (sources[i].page >= 0) {
      while (end < sources.size() && sources[end].frame < 0 &&
             sources[end].page == sources[i].page + static_cast<std::int32_t>(end - i)) {
        ++end;
      }
      disk_->read(job.memory, sources[i].page, {to + i * memory.stripe, (end - i) * memory.stripe});
    }
    i = end;
  }
}

}  // namespace hearth::state
