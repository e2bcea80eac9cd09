// Who comes next: clients share tokens equally, however many requests each of them has.
//
// Every client has a virtual time, which advances by the tokens that are evaluated for it; whoever
// is furthest behind is served first. The queue's own virtual time advances by the tokens that each
// client would have got under ideal sharing, and a client that was away begins there, so that it
// gains nothing by having been away, and newcomers cannot starve others (start-time fair queueing:
// Goyal, Vin, Cheng 1997; virtual time as in Parekh, Gallager 1993).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

namespace hearth::generate {

class FairQueue {
 public:
  struct Client {
    double time = 0;
    int requests = 0;  // waiting or served
    std::string name;
  };
  using Handle = std::shared_ptr<Client>;

  /// A request of client `name` has arrived (empty: of a client of its own).
  [[nodiscard]] Handle enter(const std::string& name);
  /// It has ended.
  void leave(const Handle& client);
  /// `tokens` were evaluated for one of its requests.
  void charge(const Handle& client, std::int64_t tokens);

  /// Clients with requests.
  [[nodiscard]] std::int64_t active() const noexcept { return active_; }
  /// Names that are remembered: those with requests, and those that are ahead of others.
  [[nodiscard]] std::size_t remembered() const noexcept { return named_.size(); }

 private:
  void forget_those_behind();

  std::unordered_map<std::string, Handle> named_;
  double time_ = 0;
  std::int64_t active_ = 0;
  std::size_t sweep_at_ = 64;
};

}  // namespace hearth::generate
