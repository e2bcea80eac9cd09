#include "state/disk_reader.h"

#include <utility>

#include "support/error.h"

namespace hearth::state {

DiskReader::DiskReader(DiskStore& disk, const MemoryPool& pool, std::function<void()> ready)
    : disk_(disk), pool_(pool), ready_(std::move(ready)), thread_([this] { run(); }) {}

DiskReader::~DiskReader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_all();
  thread_.join();
}

void DiskReader::look_up(std::uint64_t id, LookUp question) { ask({id, std::move(question)}); }

void DiskReader::read(std::uint64_t id, Read question) { ask({id, std::move(question)}); }

void DiskReader::ask(Question question) {
  {
    const std::lock_guard lock(mutex_);
    questions_.push_back(std::move(question));
  }
  asked_.notify_all();
}

std::unique_ptr<DiskReader::Answer> DiskReader::next() {
  const std::lock_guard lock(mutex_);
  if (answers_.empty()) return nullptr;
  std::unique_ptr<Answer> first = std::move(answers_.front());
  answers_.pop_front();
  return first;
}

void DiskReader::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return stopping_ || !questions_.empty(); });
    if (stopping_) return;  // sequences that were not read yet go with the questions
    Question question = std::move(questions_.front());
    questions_.pop_front();
    lock.unlock();
    auto told = std::make_unique<Answer>();
    told->id = question.id;
    answer(question, *told);
    lock.lock();
    answers_.push_back(std::move(told));
    lock.unlock();
    ready_();
    lock.lock();
  }
}

/// Never destroys a sequence: that would give back pages, which is not for this thread.
void DiskReader::answer(Question& question, Answer& answer) {
  try {
    if (const auto* wanted = std::get_if<LookUp>(&question.what)) {
      const auto size = static_cast<std::int64_t>(wanted->tokens.size());
      answer.found = disk_.find(wanted->key, pool_, wanted->tokens, size, wanted->least);
      // All of it, but nothing to go on with, and it cannot be cut.
      if (answer.found && answer.found->length == size && !answer.found->logits &&
          pool_.needs_snapshots()) {
        answer.found = disk_.find(wanted->key, pool_, wanted->tokens, size - 1, wanted->least);
      }
      return;
    }
    Read& read = std::get<Read>(question.what);
    answer.sequence = std::move(read.sequence);
    answer.complete = disk_.load(read.stored, *answer.sequence, &answer.logits);
  } catch (const std::exception&) {
    answer.complete = false;  // the disk fails: the text is evaluated
  }
}

}  // namespace hearth::state
