// What is wrong or slow about the way this machine is set up, and what to do about it.
#pragma once

#include <string>
#include <vector>

#include "machine/machine.h"
#include "machine/processes.h"

namespace hearth::measure {

struct Advice {
  std::string name;  // "huge-pages": for scripts
  std::string what;  // a sentence
  std::string fix;   // a sentence that says what to do
};

/// What advice rests on.
struct SetupFacts {
  machine::Machine machine;  // speeds that are 0 were not measured
  /// The disk that models are kept on; its path is the store's folder. An empty path: unknown.
  machine::Disk models;
  int usable_processors = 0, online_processors = 0;  // logical ones; 0: unknown
  /// Kept busy by other programs, and given to other machines by a hypervisor, on average.
  double others_processors = 0, stolen_processors = 0;
  std::vector<machine::BusyProcess> others;  // the busy and the large ones, the busiest first
};

/// The most harmful first; empty when all is well. Pure: the same facts give the same advice.
[[nodiscard]] std::vector<Advice> setup_advice(const SetupFacts& facts);

/// The facts of this machine now. `seconds` is how long other programs are watched.
[[nodiscard]] SetupFacts setup_facts(machine::Machine machine, const std::string& models_folder,
                                     double seconds);

}  // namespace hearth::measure
