#include "measure/machine_file.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "measure/json_reader.h"
#include "support/error.h"
#include "support/file.h"
#include "support/units.h"

namespace hearth::measure {
namespace {

using OrderedJson = nlohmann::ordered_json;  // keys as they were written
using machine::Machine;

constexpr JsonRules kRules{.noun = "the machine",
                           .hint = "`hearth probe --json` prints a machine as it should look",
                           .max_bytes = kMaxMachineFileBytes,
                           .max_depth = 8,
                           .max_entries = 256,
                           .max_text = 512};
constexpr int kMaxCount = 1 << 20;  // of cores, threads, memory nodes …
/// Larger than any size or rate of a machine, and exact as a double.
constexpr double kMaxNumber = 9e15;

// --- writing ---

/// Speeds with five digits: what was measured is not more exact than that.
OrderedJson rate(double per_second, double unit) {
  const double value = per_second / unit;
  if (!(value > 1e-9)) return 0;
  const double digits = std::pow(10, 4 - std::floor(std::log10(value)));
  return std::round(value * digits) / digits;
}

template <class Entries, class Write>
OrderedJson list(const Entries& entries, Write write) {
  OrderedJson result = OrderedJson::array();
  for (const auto& entry : entries) result.push_back(write(entry));
  return result;
}

/// Numbers of an EngineSpeed; one table for reading and writing.
struct EngineMember {
  const char* key;
  double machine::EngineSpeed::*member;
  double unit;
};
constexpr double kMicro = 1e-6;
constexpr EngineMember kEngineMembers[] = {
    {"product_us", &machine::EngineSpeed::product_seconds, kMicro},
    {"expert_decode_fraction", &machine::EngineSpeed::expert_decode_fraction, 1},
    {"operation_us", &machine::EngineSpeed::operation_seconds, kMicro},
    {"attention_us", &machine::EngineSpeed::attention_seconds, kMicro},
    {"kv_gbs", &machine::EngineSpeed::kv_bytes_per_second, kGiga},
    {"kv_gmacs", &machine::EngineSpeed::kv_multiply_adds, kGiga},
    {"row_gvalues", &machine::EngineSpeed::row_values_per_second, kGiga},
    {"stored_gvalues", &machine::EngineSpeed::stored_values_per_second, kGiga},
    {"attention_gmacs", &machine::EngineSpeed::attention_multiply_adds, kGiga},
    {"attention_gvalues", &machine::EngineSpeed::attention_values_per_second, kGiga},
    {"scan_gmacs", &machine::EngineSpeed::scan_multiply_adds, kGiga},
    {"glogits", &machine::EngineSpeed::logits_per_second, kGiga},
    {"pack_gbs", &machine::EngineSpeed::pack_bytes_per_second, kGiga},
};

OrderedJson engine_json(const machine::EngineSpeed& engine) {
  OrderedJson json = OrderedJson::object();
  for (const EngineMember& member : kEngineMembers) {
    json[member.key] = rate(engine.*member.member, member.unit);
  }
  json["experts"] = list(engine.experts, [](const machine::ExpertSpeed& experts) {
    return OrderedJson{{"rows", rate(experts.rows, 1)}, {"fraction", rate(experts.fraction, 1)}};
  });
  return json;
}

OrderedJson cpu_json(const machine::Processors& cpu) {
  return {{"name", cpu.name},
          {"usable_cores", cpu.usable_cores},
          {"kinds", list(cpu.kinds,
                         [](const machine::CoreKind& kind) {
                           return OrderedJson{{"cores", kind.cores},
                                              {"threads", kind.threads},
                                              {"max_ghz", kind.max_ghz},
                                              {"efficiency", kind.efficiency}};
                         })},
          {"nodes", cpu.nodes},
          {"instruction_sets", cpu.instruction_sets},
          {"l1_bytes", cpu.l1_bytes},
          {"l2_bytes", cpu.l2_bytes},
          {"l3_bytes", cpu.l3_bytes}};
}

OrderedJson memory_json(const machine::MainMemory& memory) {
  return {{"total_bytes", memory.total_bytes},
          {"available_bytes", memory.available_bytes},
          {"swap_total_bytes", memory.swap_total_bytes},
          {"swap_used_bytes", memory.swap_used_bytes},
          {"huge_pages", memory.huge_pages},
          {"unified", memory.unified}};
}

OrderedJson disk_json(const machine::Disk& disk) {
  return {{"path", disk.path},
          {"device", disk.device},
          {"kind", disk.kind},
          {"total_bytes", disk.total_bytes},
          {"free_bytes", disk.free_bytes},
          {"sequential_gbs", rate(disk.sequential_bytes_per_second, kGiga)},
          {"random", list(disk.random, [](const machine::RandomRead& read) {
             return OrderedJson{{"block_bytes", read.block_bytes},
                                {"queue_depth", read.queue_depth},
                                {"gbs", rate(read.bytes_per_second, kGiga)}};
           })}};
}

OrderedJson gpu_json(const machine::Gpu& gpu) {
  return {{"name", gpu.name},
          {"vendor", gpu.vendor},
          {"driver", gpu.driver},
          {"api", gpu.api},
          {"memory_total_bytes", gpu.memory_total_bytes},
          {"memory_free_bytes", gpu.memory_free_bytes},
          {"memory_gbs", rate(gpu.memory_bytes_per_second, kGiga)},
          {"fp16_tflops", rate(gpu.fp16_flops, kTera)},
          {"link_gbs", rate(gpu.link_bytes_per_second, kGiga)},
          {"integrated", gpu.integrated}};
}

// --- reading ---

void take(JsonReader& reader, const char* key, double& to, double unit = 1) {
  if (!reader.has(key)) return;
  // Of several units only the product must fit.
  to = reader.number(key, 0, 0, kMaxNumber) * unit;
  if (to > kMaxNumber * kGiga) reader.fail(key, "is out of range");
}

void take(JsonReader& reader, const char* key, std::uint64_t& to) {
  const double value = reader.number(key, static_cast<double>(to), 0, kMaxNumber);
  // "16e9" is a number of bytes, too.
  if (value != std::floor(value)) reader.fail(key, "must be a whole number of bytes");
  to = static_cast<std::uint64_t>(value);
}

template <class Integer>
void take(JsonReader& reader, const char* key, Integer& to, int least, int most = kMaxCount) {
  to = static_cast<Integer>(reader.integer(key, to, least, most));
}

void take(JsonReader& reader, const char* key, std::string& to) { to = reader.text(key, to); }

void take(JsonReader& reader, const char* key, bool& to) { to = reader.flag(key, to); }

/// `read(reader, entry)` for every object of the list.
template <class Entry, class Read>
void take_list(JsonReader& reader, const char* key, std::vector<Entry>& to, Read read) {
  if (!reader.has(key)) return;
  to.clear();
  reader.each(key, [&](JsonReader& entry) { read(entry, to.emplace_back()); });
}

void read_engine(JsonReader& reader, machine::EngineSpeed& engine) {
  for (const EngineMember& member : kEngineMembers) {
    take(reader, member.key, engine.*member.member, member.unit);
  }
  take_list(reader, "experts", engine.experts,
            [](JsonReader& entry, machine::ExpertSpeed& experts) {
              take(entry, "rows", experts.rows);
              take(entry, "fraction", experts.fraction);
            });
}

void read_cpu(JsonReader& reader, machine::Processors& cpu) {
  take(reader, "name", cpu.name);
  take(reader, "usable_cores", cpu.usable_cores, 0);
  take_list(reader, "kinds", cpu.kinds, [](JsonReader& entry, machine::CoreKind& kind) {
    take(entry, "cores", kind.cores, 1);
    take(entry, "threads", kind.threads, 0);
    take(entry, "max_ghz", kind.max_ghz);
    take(entry, "efficiency", kind.efficiency, 0);
  });
  take(reader, "nodes", cpu.nodes, 1);
  if (reader.has("instruction_sets")) cpu.instruction_sets = reader.texts("instruction_sets");
  take(reader, "l1_bytes", cpu.l1_bytes);
  take(reader, "l2_bytes", cpu.l2_bytes);
  take(reader, "l3_bytes", cpu.l3_bytes);
}

void read_memory(JsonReader& reader, machine::MainMemory& memory) {
  take(reader, "total_bytes", memory.total_bytes);
  take(reader, "available_bytes", memory.available_bytes);
  take(reader, "swap_total_bytes", memory.swap_total_bytes);
  take(reader, "swap_used_bytes", memory.swap_used_bytes);
  take(reader, "huge_pages", memory.huge_pages);
  take(reader, "unified", memory.unified);
  // A described machine without other programs.
  if (!reader.has("available_bytes")) memory.available_bytes = memory.total_bytes;
}

void read_disk(JsonReader& reader, machine::Disk& disk) {
  take(reader, "path", disk.path);
  take(reader, "device", disk.device);
  take(reader, "kind", disk.kind);
  take(reader, "total_bytes", disk.total_bytes);
  take(reader, "free_bytes", disk.free_bytes);
  take(reader, "sequential_gbs", disk.sequential_bytes_per_second, kGiga);
  take_list(reader, "random", disk.random, [](JsonReader& entry, machine::RandomRead& read) {
    take(entry, "block_bytes", read.block_bytes, 512, 1 << 30);
    take(entry, "queue_depth", read.queue_depth, 1);
    take(entry, "gbs", read.bytes_per_second, kGiga);
  });
}

void read_gpu(JsonReader& reader, machine::Gpu& gpu) {
  take(reader, "name", gpu.name);
  take(reader, "vendor", gpu.vendor);
  take(reader, "driver", gpu.driver);
  take(reader, "api", gpu.api);
  take(reader, "memory_total_bytes", gpu.memory_total_bytes);
  take(reader, "memory_free_bytes", gpu.memory_free_bytes);
  take(reader, "memory_gbs", gpu.memory_bytes_per_second, kGiga);
  take(reader, "fp16_tflops", gpu.fp16_flops, kTera);
  take(reader, "link_gbs", gpu.link_bytes_per_second, kGiga);
  take(reader, "integrated", gpu.integrated);
  if (!reader.has("memory_free_bytes")) gpu.memory_free_bytes = gpu.memory_total_bytes;
}

void read_speeds(JsonReader& reader, Machine& machine) {
  take(reader, "read_gbs", machine.read_bytes_per_second, kGiga);
  take_list(reader, "reads", machine.reads, [](JsonReader& entry, machine::ReadSpeed& read) {
    take(entry, "threads", read.threads, 1);
    take(entry, "huge_pages", read.huge_pages);
    take(entry, "gbs", read.bytes_per_second, kGiga);
  });
  take(reader, "int8_gmacs", machine.int8_multiply_adds, kGiga);
  take(reader, "bf16_gmacs", machine.bf16_multiply_adds, kGiga);
  take(reader, "f32_gmacs", machine.f32_multiply_adds, kGiga);
  take_list(reader, "kernels", machine.kernels,
            [](JsonReader& entry, machine::KernelSpeed& kernel) {
              take(entry, "format", kernel.format);
              take(entry, "decode_gbs", kernel.decode_bytes_per_second, kGiga);
              take(entry, "prefill_gmacs", kernel.prefill_multiply_adds, kGiga);
            });
  reader.inside("engine", [&](JsonReader& entry) { read_engine(entry, machine.engine); });
}

void read_surroundings(JsonReader& reader, Machine& machine) {
  reader.inside("limits", [&](JsonReader& limits) {
    take(limits, "container", machine.limits.container);
    take(limits, "memory_bytes", machine.limits.memory_bytes);
    take(limits, "processors", machine.limits.processors);
  });
  reader.inside("power", [&](JsonReader& power) {
    take(power, "source", machine.power.source);
    take(power, "battery_percent", machine.power.battery_percent, -1, 100);
    take(power, "governor", machine.power.governor);
    take(power, "throttled", machine.power.throttled);
  });
}

void check_version(JsonReader& reader) {
  int version = 0;
  take(reader, "version", version, 1);
  if (version == 0)
    reader.fail("'version'", fmt::format("is missing: it is {}", kMachineFileVersion));
  if (version > kMachineFileVersion) {
    reader.fail("version",
                fmt::format("is {}, and this Hearth knows up to {}", version, kMachineFileVersion));
  }
}

}  // namespace

nlohmann::ordered_json machine_json(const Machine& machine) {
  return {{"version", kMachineFileVersion},
          {"name", machine.name},
          {"family", machine.family},
          {"source", machine.source},
          {"measured_at", machine.measured_at},
          {"disturbed_by", rate(machine.disturbed_by, 1)},
          {"cpu", cpu_json(machine.cpu)},
          {"memory", memory_json(machine.memory)},
          {"read_gbs", rate(machine.read_bytes_per_second, kGiga)},
          {"reads", list(machine.reads,
                         [](const machine::ReadSpeed& read) {
                           return OrderedJson{{"threads", read.threads},
                                              {"huge_pages", read.huge_pages},
                                              {"gbs", rate(read.bytes_per_second, kGiga)}};
                         })},
          {"int8_gmacs", rate(machine.int8_multiply_adds, kGiga)},
          {"bf16_gmacs", rate(machine.bf16_multiply_adds, kGiga)},
          {"f32_gmacs", rate(machine.f32_multiply_adds, kGiga)},
          {"kernels", list(machine.kernels,
                           [](const machine::KernelSpeed& kernel) {
                             return OrderedJson{
                                 {"format", kernel.format},
                                 {"decode_gbs", rate(kernel.decode_bytes_per_second, kGiga)},
                                 {"prefill_gmacs", rate(kernel.prefill_multiply_adds, kGiga)}};
                           })},
          {"engine", engine_json(machine.engine)},
          {"disks", list(machine.disks, disk_json)},
          {"gpus", list(machine.gpus, gpu_json)},
          {"npus", list(machine.npus,
                        [](const machine::Npu& npu) {
                          return OrderedJson{{"name", npu.name}, {"device", npu.device}};
                        })},
          {"limits",
           {{"container", machine.limits.container},
            {"memory_bytes", machine.limits.memory_bytes},
            {"processors", machine.limits.processors}}},
          {"power",
           {{"source", machine.power.source},
            {"battery_percent", machine.power.battery_percent},
            {"governor", machine.power.governor},
            {"throttled", machine.power.throttled}}}};
}

std::string machine_text(const Machine& machine) {
  return machine_json(machine).dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Machine parse_machine(std::string_view text, std::string_view source) {
  const nlohmann::json json = parse_json(text, std::string(source), kRules);
  Machine machine;
  JsonReader reader(json, std::string(source), "", kRules);
  check_version(reader);
  take(reader, "name", machine.name);
  take(reader, "family", machine.family);
  take(reader, "source", machine.source);
  double measured_at = 0;
  take(reader, "measured_at", measured_at);
  machine.measured_at = static_cast<std::int64_t>(measured_at);
  take(reader, "disturbed_by", machine.disturbed_by);
  reader.inside("cpu", [&](JsonReader& cpu) { read_cpu(cpu, machine.cpu); });
  reader.inside("memory", [&](JsonReader& memory) { read_memory(memory, machine.memory); });
  read_speeds(reader, machine);
  take_list(reader, "disks", machine.disks, read_disk);
  take_list(reader, "gpus", machine.gpus, read_gpu);
  take_list(reader, "npus", machine.npus, [](JsonReader& entry, machine::Npu& npu) {
    take(entry, "name", npu.name);
    take(entry, "device", npu.device);
  });
  read_surroundings(reader, machine);
  reader.finish();
  return machine;
}

Machine read_machine_file(const std::filesystem::path& path) {
  return parse_machine(read_file(path, kMaxMachineFileBytes),
                       fmt::format("'{}'", printable(path.string(), 300)));
}

}  // namespace hearth::measure
