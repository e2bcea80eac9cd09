#include "machine/processes.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <tuple>

namespace hearth::machine {

std::map<int, ProcessState> process_states(const SystemFiles& files) {
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  std::map<int, ProcessState> states;
  for (const std::string& entry : files.list("/proc")) {
    const auto number = leading_number(entry);
    if (!number || *number > 1U << 30 || (files.real() && static_cast<pid_t>(*number) == getpid()))
      continue;
    // "pid (name) state parent … utime stime …", proc(5): fields 14 and 15, and 24 for resident
    // pages. The name may hold anything, so what follows counts from the last bracket.
    const auto line = files.line("/proc/" + entry + "/stat");
    if (!line) continue;
    const std::size_t open = line->find('(');
    const std::size_t close = line->rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open) continue;
    const std::vector<std::string> words = words_of(std::string_view(*line).substr(close + 1));
    if (words.size() < 22) continue;
    ProcessState state;
    state.name = line->substr(open + 1, close - open - 1);
    state.ticks = leading_number(words[11]).value_or(0) + leading_number(words[12]).value_or(0);
    state.resident_bytes = leading_number(words[21]).value_or(0) * page;
    if (state.resident_bytes > 0) states.emplace(static_cast<int>(*number), std::move(state));
  }
  return states;
}

std::vector<BusyProcess> busy_processes(const std::map<int, ProcessState>& before,
                                        const std::map<int, ProcessState>& after, double seconds,
                                        double least_processors, std::uint64_t least_bytes) {
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::vector<BusyProcess> busy;
  for (const auto& [number, now] : after) {
    const auto then = before.find(number);
    const std::uint64_t earlier = then == before.end() ? now.ticks : then->second.ticks;
    const auto ticks = static_cast<double>(now.ticks - std::min(now.ticks, earlier));
    const double processors = seconds > 0 ? ticks / ticks_per_second / seconds : 0;
    if (processors >= least_processors || now.resident_bytes >= least_bytes) {
      busy.push_back({number, now.name, processors, now.resident_bytes});
    }
  }
  std::sort(busy.begin(), busy.end(), [](const BusyProcess& a, const BusyProcess& b) {
    return std::make_tuple(-a.processors, b.resident_bytes, a.number) <
           std::make_tuple(-b.processors, a.resident_bytes, b.number);
  });
  return busy;
}

ProcessorTime processor_time(const SystemFiles& files) {
  ProcessorTime time;
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  // "cpu user nice system idle iowait irq softirq steal …", proc(5)
  const std::vector<std::string> words = words_of(files.line("/proc/stat").value_or(""));
  for (const std::size_t field : {1U, 2U, 3U, 6U, 7U, 8U}) {
    if (words.size() < 9 || words[0] != "cpu") break;
    const double seconds =
        static_cast<double>(leading_number(words[field]).value_or(0)) / ticks_per_second;
    (field == 8 ? time.stolen : time.busy) += seconds;
  }
  timespec own{};
  if (files.real() && clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) == 0) {
    time.own = static_cast<double>(own.tv_sec) + 1e-9 * static_cast<double>(own.tv_nsec);
  }
  return time;
}

}  // namespace hearth::machine
