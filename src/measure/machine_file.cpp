#include "measure/machine_file.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/error.h"
#include "support/file.h"

namespace hearth::measure {
namespace {

using Json = nlohmann::ordered_json;
using machine::Machine;

constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxText = 512;
constexpr std::size_t kMaxEntries = 256;
constexpr int kMaxCount = 1 << 20;  // of cores, threads, memory nodes …
/// Larger than any size or rate of a machine, and exact as a double.
constexpr double kMaxNumber = 9e15;
constexpr double kGiga = 1e9, kTera = 1e12;

// --- writing ---

/// Speeds with five digits: what was measured is not more exact than that.
Json rate(double per_second, double unit) {
  const double value = per_second / unit;
  if (!(value > 1e-9)) return 0;
  const double digits = std::pow(10, 4 - std::floor(std::log10(value)));
  return std::round(value * digits) / digits;
}

template <class Entries, class Write>
Json list(const Entries& entries, Write write) {
  Json result = Json::array();
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

Json engine_json(const machine::EngineSpeed& engine) {
  Json json = Json::object();
  for (const EngineMember& member : kEngineMembers) {
    json[member.key] = rate(engine.*member.member, member.unit);
  }
  json["experts"] = list(engine.experts, [](const machine::ExpertSpeed& experts) {
    return Json{{"rows", rate(experts.rows, 1)}, {"fraction", rate(experts.fraction, 1)}};
  });
  return json;
}

Json cpu_json(const machine::Processors& cpu) {
  return {{"name", cpu.name},
          {"usable_cores", cpu.usable_cores},
          {"kinds", list(cpu.kinds,
                         [](const machine::CoreKind& kind) {
                           return Json{{"cores", kind.cores},
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

Json memory_json(const machine::MainMemory& memory) {
  return {{"total_bytes", memory.total_bytes},
          {"available_bytes", memory.available_bytes},
          {"swap_total_bytes", memory.swap_total_bytes},
          {"swap_used_bytes", memory.swap_used_bytes},
          {"huge_pages", memory.huge_pages},
          {"unified", memory.unified}};
}

Json disk_json(const machine::Disk& disk) {
  return {{"path", disk.path},
          {"device", disk.device},
          {"kind", disk.kind},
          {"total_bytes", disk.total_bytes},
          {"free_bytes", disk.free_bytes},
          {"sequential_gbs", rate(disk.sequential_bytes_per_second, kGiga)},
          {"random", list(disk.random, [](const machine::RandomRead& read) {
             return Json{{"block_bytes", read.block_bytes},
                         {"queue_depth", read.queue_depth},
                         {"gbs", rate(read.bytes_per_second, kGiga)}};
           })}};
}

Json gpu_json(const machine::Gpu& gpu) {
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

std::string type_words(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return "true or false";
    case Json::value_t::string:
      return "a text";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::object:
      return "an object";
    default:
      return "a number";
  }
}

/// Reads the keys of one object; finish() refuses those that nobody asked for.
class Reader {
 public:
  Reader(const Json& json, std::string where, std::string_view source)
      : json_(json), where_(std::move(where)), source_(source) {
    if (!json.is_object()) refuse(where_, "must be an object", json);
  }

  void number(const char* key, double& to, double unit = 1) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number()) refuse(place(key), "must be a number", *value);
    const double given = value->get<double>();
    if (!(given >= 0 && given <= kMaxNumber)) fail(place(key), "is out of range");
    // Of several units only the product must fit.
    to = given * unit;
    if (to > kMaxNumber * kGiga) fail(place(key), "is out of range");
  }

  void bytes(const char* key, std::uint64_t& to) {
    double value = static_cast<double>(to);
    number(key, value);
    // "16e9" is a number of bytes, too.
    if (value != std::floor(value)) fail(place(key), "must be a whole number of bytes");
    to = static_cast<std::uint64_t>(value);
  }

  template <class Integer>
  void count(const char* key, Integer& to, int least, int most = kMaxCount) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number()) refuse(place(key), "must be a number", *value);
    const double given = value->get<double>();
    if (!(given >= least && given <= most) || given != std::floor(given)) {
      fail(place(key), fmt::format("must be a whole number from {} to {}", least, most));
    }
    to = static_cast<Integer>(given);
  }

  void text(const char* key, std::string& to) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_string()) refuse(place(key), "must be a text", *value);
    to = checked_text(*value, place(key));
  }

  void flag(const char* key, bool& to) {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) refuse(place(key), "must be true or false", *value);
    to = value->get<bool>();
  }

  void texts(const char* key, std::vector<std::string>& to) {
    const Json* value = find_list(key);
    if (value == nullptr) return;
    to.clear();
    for (const Json& entry : *value) {
      const std::string at = fmt::format("{}[{}]", place(key), to.size());
      if (!entry.is_string()) refuse(at, "must be a text", entry);
      to.push_back(checked_text(entry, at));
    }
  }

  /// `read(reader, entry)` for every object of the list.
  template <class Entry, class Read>
  void list(const char* key, std::vector<Entry>& to, Read read) {
    const Json* value = find_list(key);
    if (value == nullptr) return;
    to.clear();
    for (const Json& entry : *value) {
      Reader reader(entry, fmt::format("{}[{}]", place(key), to.size()), source_);
      Entry made;
      read(reader, made);
      reader.finish();
      to.push_back(std::move(made));
    }
  }

  template <class Read>
  void object(const char* key, Read read) {
    const Json* value = find(key);
    if (value == nullptr) return;
    Reader reader(*value, place(key), source_);
    read(reader);
    reader.finish();
  }

  [[nodiscard]] bool has(const char* key) const { return json_.contains(key); }

  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      if (!known_.contains(key)) {
        fail(where_.empty() ? std::string("the machine") : where_,
             fmt::format("has an unknown key '{}'", printable(key, 60)));
      }
    }
  }

  [[noreturn]] void fail(const std::string& what, std::string_view trouble) const {
    throw Error(fmt::format("{}: {} {}", source_, what, trouble),
                "`hearth probe --json` prints a machine as it should look");
  }

 private:
  [[nodiscard]] std::string place(const char* key) const {
    return where_.empty() ? std::string(key) : fmt::format("{}.{}", where_, key);
  }
  const Json* find(const char* key) {
    known_.insert(key);
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  const Json* find_list(const char* key) {
    const Json* value = find(key);
    if (value == nullptr) return nullptr;
    if (!value->is_array()) refuse(place(key), "must be a list", *value);
    if (value->size() > kMaxEntries) {
      fail(place(key), fmt::format("has more than {} entries", kMaxEntries));
    }
    return value;
  }
  std::string checked_text(const Json& value, const std::string& at) const {
    const auto& given = value.get_ref<const std::string&>();
    if (given.size() > kMaxText) fail(at, fmt::format("is longer than {} bytes", kMaxText));
    return given;
  }
  [[noreturn]] void refuse(const std::string& what, std::string_view wanted,
                           const Json& value) const {
    fail(what.empty() ? std::string("a machine") : what,
         fmt::format("{}, not {}", wanted, type_words(value)));
  }

  const Json& json_;
  std::string where_;
  std::string_view source_;
  std::set<std::string, std::less<>> known_;
};

void read_engine(Reader& reader, machine::EngineSpeed& engine) {
  for (const EngineMember& member : kEngineMembers) {
    reader.number(member.key, engine.*member.member, member.unit);
  }
  reader.list("experts", engine.experts, [](Reader& entry, machine::ExpertSpeed& experts) {
    entry.number("rows", experts.rows);
    entry.number("fraction", experts.fraction);
  });
}

void read_cpu(Reader& reader, machine::Processors& cpu) {
  reader.text("name", cpu.name);
  reader.count("usable_cores", cpu.usable_cores, 0);
  reader.list("kinds", cpu.kinds, [](Reader& entry, machine::CoreKind& kind) {
    entry.count("cores", kind.cores, 1);
    entry.count("threads", kind.threads, 0);
    entry.number("max_ghz", kind.max_ghz);
    entry.count("efficiency", kind.efficiency, 0);
  });
  reader.count("nodes", cpu.nodes, 1);
  reader.texts("instruction_sets", cpu.instruction_sets);
  reader.bytes("l1_bytes", cpu.l1_bytes);
  reader.bytes("l2_bytes", cpu.l2_bytes);
  reader.bytes("l3_bytes", cpu.l3_bytes);
}

void read_memory(Reader& reader, machine::MainMemory& memory) {
  reader.bytes("total_bytes", memory.total_bytes);
  reader.bytes("available_bytes", memory.available_bytes);
  reader.bytes("swap_total_bytes", memory.swap_total_bytes);
  reader.bytes("swap_used_bytes", memory.swap_used_bytes);
  reader.text("huge_pages", memory.huge_pages);
  reader.flag("unified", memory.unified);
  // A described machine without other programs.
  if (!reader.has("available_bytes")) memory.available_bytes = memory.total_bytes;
}

void read_disk(Reader& reader, machine::Disk& disk) {
  reader.text("path", disk.path);
  reader.text("device", disk.device);
  reader.text("kind", disk.kind);
  reader.bytes("total_bytes", disk.total_bytes);
  reader.bytes("free_bytes", disk.free_bytes);
  reader.number("sequential_gbs", disk.sequential_bytes_per_second, kGiga);
  reader.list("random", disk.random, [](Reader& entry, machine::RandomRead& read) {
    entry.count("block_bytes", read.block_bytes, 512, 1 << 30);
    entry.count("queue_depth", read.queue_depth, 1);
    entry.number("gbs", read.bytes_per_second, kGiga);
  });
}

void read_gpu(Reader& reader, machine::Gpu& gpu) {
  reader.text("name", gpu.name);
  reader.text("vendor", gpu.vendor);
  reader.text("driver", gpu.driver);
  reader.text("api", gpu.api);
  reader.bytes("memory_total_bytes", gpu.memory_total_bytes);
  reader.bytes("memory_free_bytes", gpu.memory_free_bytes);
  reader.number("memory_gbs", gpu.memory_bytes_per_second, kGiga);
  reader.number("fp16_tflops", gpu.fp16_flops, kTera);
  reader.number("link_gbs", gpu.link_bytes_per_second, kGiga);
  reader.flag("integrated", gpu.integrated);
  if (!reader.has("memory_free_bytes")) gpu.memory_free_bytes = gpu.memory_total_bytes;
}

void read_speeds(Reader& reader, Machine& machine) {
  reader.number("read_gbs", machine.read_bytes_per_second, kGiga);
  reader.list("reads", machine.reads, [](Reader& entry, machine::ReadSpeed& read) {
    entry.count("threads", read.threads, 1);
    entry.flag("huge_pages", read.huge_pages);
    entry.number("gbs", read.bytes_per_second, kGiga);
  });
  reader.number("int8_gmacs", machine.int8_multiply_adds, kGiga);
  reader.number("bf16_gmacs", machine.bf16_multiply_adds, kGiga);
  reader.number("f32_gmacs", machine.f32_multiply_adds, kGiga);
  reader.list("kernels", machine.kernels, [](Reader& entry, machine::KernelSpeed& kernel) {
    entry.text("format", kernel.format);
    entry.number("decode_gbs", kernel.decode_bytes_per_second, kGiga);
    entry.number("prefill_gmacs", kernel.prefill_multiply_adds, kGiga);
  });
  reader.object("engine", [&](Reader& entry) { read_engine(entry, machine.engine); });
}

void read_surroundings(Reader& reader, Machine& machine) {
  reader.object("limits", [&](Reader& limits) {
    limits.text("container", machine.limits.container);
    limits.bytes("memory_bytes", machine.limits.memory_bytes);
    limits.number("processors", machine.limits.processors);
  });
  reader.object("power", [&](Reader& power) {
    power.text("source", machine.power.source);
    power.count("battery_percent", machine.power.battery_percent, -1, 100);
    power.text("governor", machine.power.governor);
    power.flag("throttled", machine.power.throttled);
  });
}

void check_version(Reader& reader) {
  int version = 0;
  reader.count("version", version, 1);
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
                           return Json{{"threads", read.threads},
                                       {"huge_pages", read.huge_pages},
                                       {"gbs", rate(read.bytes_per_second, kGiga)}};
                         })},
          {"int8_gmacs", rate(machine.int8_multiply_adds, kGiga)},
          {"bf16_gmacs", rate(machine.bf16_multiply_adds, kGiga)},
          {"f32_gmacs", rate(machine.f32_multiply_adds, kGiga)},
          {"kernels", list(machine.kernels,
                           [](const machine::KernelSpeed& kernel) {
                             return Json{
                                 {"format", kernel.format},
                                 {"decode_gbs", rate(kernel.decode_bytes_per_second, kGiga)},
                                 {"prefill_gmacs", rate(kernel.prefill_multiply_adds, kGiga)}};
                           })},
          {"engine", engine_json(machine.engine)},
          {"disks", list(machine.disks, disk_json)},
          {"gpus", list(machine.gpus, gpu_json)},
          {"npus", list(machine.npus,
                        [](const machine::Npu& npu) {
                          return Json{{"name", npu.name}, {"device", npu.device}};
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
  return machine_json(machine).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Machine parse_machine(std::string_view text, std::string_view source) {
  const auto refuse = [source](const std::string& trouble) {
    return Error(fmt::format("{} {}", source, trouble),
                 "`hearth probe --json` prints a machine as it should look");
  };
  if (text.size() > kMaxMachineFileBytes) throw refuse("is too large to be a machine");
  const auto bounded = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > kMaxDepth) throw refuse("is nested too deeply");
    return true;
  };
  const Json json = Json::parse(text, bounded, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw refuse("is not valid JSON");

  Machine machine;
  Reader reader(json, "", source);
  check_version(reader);
  reader.text("name", machine.name);
  reader.text("family", machine.family);
  reader.text("source", machine.source);
  double measured_at = 0;
  reader.number("measured_at", measured_at);
  machine.measured_at = static_cast<std::int64_t>(measured_at);
  reader.number("disturbed_by", machine.disturbed_by);
  reader.object("cpu", [&](Reader& cpu) { read_cpu(cpu, machine.cpu); });
  reader.object("memory", [&](Reader& memory) { read_memory(memory, machine.memory); });
  read_speeds(reader, machine);
  reader.list("disks", machine.disks, read_disk);
  reader.list("gpus", machine.gpus, read_gpu);
  reader.list("npus", machine.npus, [](Reader& entry, machine::Npu& npu) {
    entry.text("name", npu.name);
    entry.text("device", npu.device);
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
