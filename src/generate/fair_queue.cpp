#include "generate/fair_queue.h"

#include <algorithm>

namespace hearth::generate {
namespace {

/// A client that had little to ask for while others had much may catch up by so many tokens, not by
/// hours of the machine.
constexpr double kCredit = 8192;

}  // namespace

FairQueue::Handle FairQueue::enter(const std::string& name) {
  Handle client;
  if (name.empty()) {
    client = std::make_shared<Client>();
  } else {
    if (named_.size() >= sweep_at_) forget_those_behind();
    Handle& known = named_[name];
    if (!known) {
      known = std::make_shared<Client>();
      known->name = name;
    }
    client = known;
  }
  const bool was_away = client->requests++ == 0;
  if (was_away) ++active_;
  client->time = std::max(client->time, was_away ? time_ : time_ - kCredit);
  return client;
}

void FairQueue::leave(const Handle& client) {
  if (--client->requests == 0) --active_;
}

void FairQueue::charge(const Handle& client, std::int64_t tokens) {
  client->time += static_cast<double>(tokens);
  time_ += static_cast<double>(tokens) / static_cast<double>(std::max<std::int64_t>(1, active_));
}

/// Whoever is away and not ahead would begin like a newcomer: names need no memory then.
void FairQueue::forget_those_behind() {
  std::erase_if(named_, [this](const auto& entry) {
    return entry.second->requests == 0 && entry.second->time <= time_;
  });
  sweep_at_ = std::max<std::size_t>(64, 2 * named_.size());
}

}  // namespace hearth::generate
