#include "plan/hardware_class.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "plan/kv_cost.h"
#include "plan/kv_disk.h"
#include "plan/names.h"
#include "support/ascii.h"
#include "support/error.h"

namespace hearth::plan {
namespace {

using machine::Gpu;
using machine::Machine;

constexpr double kBatchRead = 0.7;      // of the peak bandwidth, reading weights for a batch
constexpr double kDeviceReserve = 6e8;  // of a graphics memory: desktop, context, buffers
constexpr double kHostReserve = 5e8;
constexpr double kLink = 12e9;  // bytes per second, where unknown: PCIe 3.0 x16 as it is reached
/// A processor beside a graphics processor waits for it twice per layer and computes with it in
/// turns.
constexpr double kSharedProcessor = 0.7;
/// What scanning a state takes of a prompt's time in a layer, on top of its matrices.
constexpr double kRecurrentPrompt = 0.8;
/// Routed experts of a mixture where only the sums are known: of the bytes that one token reads.
constexpr double kExpertShare = 0.6;

/// One processor, of either kind, with the speeds that it reaches.
struct Unit {
  HardwareClass hardware = HardwareClass::kProcessor;
  Efficiencies share{};
  double peak_read = 0;              // bytes per second
  double flops = 0;                  // per second, peak
  double prefill_multiply_adds = 0;  // per second, reached
};

/// Parts of a token's time; the largest one limits it.
struct ClassSeconds {
  double reading = 0, arithmetic = 0, overhead = 0, attention = 0, host = 0, link = 0, disk = 0;
  double waiting = 0;  // for keys and values from a disk, beyond all that

  [[nodiscard]] double total() const {
    return std::sqrt(reading * reading + arithmetic * arithmetic) + overhead + attention + host +
           link + disk + waiting;
  }
  [[nodiscard]] std::string largest() const {
    const std::array<std::pair<double, const char*>, 7> parts = {{{reading, "memory bandwidth"},
                                                                  {arithmetic, "arithmetic"},
                                                                  {overhead, "overhead per layer"},
                                                                  {attention, "attention"},
                                                                  {host, "main memory"},
                                                                  {link, "link"},
                                                                  {disk, "disk"}}};
    return std::max_element(parts.begin(), parts.end(),
                            [](const auto& a, const auto& b) { return a.first < b.first; })
        ->second;
  }
};

/// What one token's attention reads and computes at a depth.
struct Attention {
  double bytes = 0, flops = 0;
};

Attention attention_at(const Workload& w, double depth) {
  const double seen = w.window > 0 ? std::min(depth, static_cast<double>(w.window)) : depth;
  // Formats smaller than F16 save memory but no time: they are expanded where they are read.
  return {w.kv_bytes_per_token * depth + w.window_bytes_per_token * seen,
          2 * (w.attention_multiply_adds * depth + w.window_multiply_adds * seen)};
}

double steps(const Workload& w) { return w.steps > 0 ? w.steps : w.layers + w.recurrent_layers; }

ClassSeconds decode_seconds(const Workload& w, const Unit& unit, double bytes, double depth) {
  const Efficiencies& share = unit.share;
  const double rate = unit.peak_read * share.read;
  const double portion = w.active_bytes > 0 ? bytes / w.active_bytes : 1;
  const Attention attention = attention_at(w, depth);
  ClassSeconds t;
  t.reading = bytes / (rate * (w.mixture ? share.mixture : 1));
  t.arithmetic = portion * w.active_parameters / (unit.flops * share.unpack);
  t.overhead = steps(w) * share.layer_seconds;
  t.attention = attention.bytes / rate + attention.flops / (unit.flops * share.attention);
  return t;
}

ClassSeconds prefill_seconds(const Workload& w, const Unit& unit, double prompt, double depth,
                             double batch) {
  const Efficiencies& share = unit.share;
  // Every expert computes whole tiles of tokens, however few tokens it was chosen by.
  const double multiply_adds =
      w.multiply_adds + (w.mixture ? w.parameters * share.waste / batch : 0);
  const double recurrent = w.layers > 0 ? w.recurrent_layers / w.layers : 0;
  const double active =
      w.parameters > 0 ? std::clamp(w.active_parameters / w.parameters, 0.0, 1.0) : 1.0;
  // Of the weights: every token of the batch chooses experts for itself.
  const double touched = w.mixture ? 1 - std::pow(1 - active, batch) : active;
  ClassSeconds t;
  t.arithmetic = multiply_adds / unit.prefill_multiply_adds * (1 + kRecurrentPrompt * recurrent);
  t.attention = attention_at(w, depth + prompt / 2).flops / (unit.flops * share.prefill_attention);
  t.overhead =
      (w.weight_bytes * touched / (unit.peak_read * kBatchRead) + w.layers * share.batch_seconds) /
      batch;
  // Not overlapped: total() would merge it with reading, which decoding alone has.
  return t;
}

Unit unit_of(HardwareClass hardware, double peak_read, double flops) {
  Unit unit;
  unit.hardware = hardware;
  unit.share = efficiencies(hardware);
  unit.peak_read = peak_read;
  unit.flops = flops > 0 ? flops : peak_read * unit.share.flops_per_byte;
  unit.prefill_multiply_adds = unit.flops * unit.share.compute / 2;
  return unit;
}

bool measured(const Machine& machine) { return machine.source.empty(); }

Unit host_unit(const Machine& machine, const std::string& engine) {
  if (machine.read_bytes_per_second <= 0) {
    throw Error("it is not known how fast the main memory of this machine is",
                "give read_gbs in the machine's description, or run hearth probe on it");
  }
  const double peak = machine.read_bytes_per_second / (measured(machine) ? kMeasurableRead : 1);
  Unit unit = unit_of(HardwareClass::kProcessor, peak, 2 * machine.f32_multiply_adds);
  if (engine == "hearth") {
    // Measured as a whole, unpacking included; experts are read like other weights.
    unit.share.read = kHearthRead;
    unit.share.mixture = 1;
    unit.share.unpack = std::numeric_limits<double>::infinity();
    if (machine.int8_multiply_adds > 0)
      unit.prefill_multiply_adds = kHearthCompute * machine.int8_multiply_adds;
  }
  return unit;
}

Unit device_unit(const Machine& machine) {
  const auto gpu = machine.gpus.begin();
  if (gpu == machine.gpus.end()) {
    throw Error("this machine has no graphics processor to put a model on",
                "plan it for main memory");
  }
  double read = gpu->memory_bytes_per_second;
  if (read <= 0 && (gpu->integrated || machine.memory.unified))
    read = machine.read_bytes_per_second;
  if (read <= 0) {
    throw Error(fmt::format("it is not known how fast the memory of {} is", printable(gpu->name)),
                "give memory_gbs of the graphics processor in a machine file");
  }
  return unit_of(classify(*gpu, machine), read, gpu->fp16_flops);
}

double kv_bytes(const Workload& w, const Conditions& c, double cells) {
  const double seen = w.window > 0 ? std::min(cells, static_cast<double>(w.window)) : cells;
  return (w.kv_bytes_per_token * cells + w.window_bytes_per_token * seen) *
         kv_element_bytes(c.kv_type) / 2;
}

KvNeed kv_need(const Workload& w, const Conditions& c, double cells) {
  KvNeed need;
  need.per_token = w.kv_bytes_per_token * kv_element_bytes(c.kv_type) / 2;
  need.growing = need.per_token * cells;
  need.fixed = kv_bytes(w, c, cells) - need.growing;
  need.layers = w.layers;
  need.context = static_cast<std::int64_t>(cells);
  return need;
}

/// The same workload with its experts told apart, by the usual shares where that is not known.
Workload with_experts(Workload w) {
  if (!w.mixture) {
    w.expert_bytes = w.active_expert_bytes = 0;
  } else if (w.expert_bytes <= 0) {
    w.active_expert_bytes = kExpertShare * w.active_bytes;
    w.expert_bytes = std::max(0.0, w.weight_bytes - (w.active_bytes - w.active_expert_bytes));
  }
  return w;
}

double device_room(const Machine& machine) {
  if (machine.gpus.empty()) return 0;
  const Gpu& gpu = machine.gpus.front();
  double bytes = static_cast<double>(gpu.memory_free_bytes > 0 ? gpu.memory_free_bytes
                                                               : gpu.memory_total_bytes);
  // What firmware sets aside for small integrated graphics is no limit.
  const double main_memory = static_cast<double>(machine.memory.total_bytes);
  if (bytes <= 0 && machine.memory.unified) bytes = main_memory;
  if (gpu.integrated && !machine.memory.unified) bytes = std::max(bytes, 0.75 * main_memory);
  // Apple lets a graphics processor have three quarters of the memory.
  if (machine.family == "apple") bytes *= 0.75;
  return std::max(0.0, bytes - kDeviceReserve);
}

double host_room(const Machine& machine) {
  const double total = static_cast<double>(machine.memory.total_bytes);
  const double available = machine.memory.available_bytes > 0
                               ? static_cast<double>(machine.memory.available_bytes)
                               : 0.9 * total;
  return std::max(0.0, available - kHostReserve);
}

class ClassEstimator {
 public:
  ClassEstimator(const Workload& workload, const Machine& machine, const Conditions& conditions,
                 const ClassOptions& options)
      : w_(with_experts(workload)), machine_(machine), c_(conditions), batch_(options.batch) {
    check();
    if (on_device()) device_ = device_unit(machine);
    choose_placement(options.placement);
    if (on_host() > 0) host_ = host_unit(machine, c_.engine);
    if (host_ && device_) {
      host_->share.read *= kSharedProcessor;
      host_->share.mixture = 1;  // choosing experts and all that is small is the device's work
    }
  }

  Estimate run() {
    Estimate e;
    e.residency = c_.residency;
    e.kv_bytes_per_token =
        (w_.kv_bytes_per_token + w_.window_bytes_per_token) * kv_element_bytes(c_.kv_type) / 2;
    memory(e);
    for (const std::int64_t depth : c_.depths) {
      SpeedAt at;
      at.depth = depth;
      at.decode = decode(static_cast<double>(depth));
      at.prefill = prefill(static_cast<double>(depth));
      e.speeds.push_back(at);
    }
    const double prompt = static_cast<double>(c_.prompt);
    e.first_token_seconds = prompt / prefill(0).tps + 1 / decode(prompt).tps;
    e.load_seconds = w_.weight_bytes / load_rate();
    e.inputs = inputs();
    return e;
  }

 private:
  [[nodiscard]] bool on_device() const {
    return c_.residency == Residency::kDevice || c_.residency == Residency::kSplit ||
           c_.residency == Residency::kExperts;
  }

  void check() const {
    if (!(w_.active_bytes > 0 && w_.weight_bytes > 0 && w_.active_parameters > 0)) {
      throw Error("the size of this model is not known", "name a GGUF file or a catalog entry");
    }
    if (c_.residency == Residency::kStreamed && disk_rate() <= 0) {
      throw Error("it is not known how fast the disk of this machine is",
                  "give the disk's speed in the machine's description, or run hearth probe");
    }
  }

  [[nodiscard]] double dense_bytes() const { return w_.weight_bytes - w_.expert_bytes; }
  [[nodiscard]] double cells() const {
    return static_cast<double>(std::max<std::int64_t>(c_.context, 0));
  }

  void choose_placement(const std::optional<Placement>& placement) {
    if (placement) {
      place_ = {std::clamp(placement->dense, 0.0, 1.0), std::clamp(placement->experts, 0.0, 1.0)};
    } else if (c_.residency == Residency::kSplit) {
      // Whole layers, with their keys and values.
      const double all = w_.weight_bytes + kv_bytes(w_, c_, cells()) + w_.state_bytes;
      place_.dense = place_.experts = std::clamp(device_room(machine_) / all, 0.0, 1.0);
    } else if (c_.residency == Residency::kExperts) {
      // What is left of the device's memory takes the experts of some layers.
      const double left =
          device_room(machine_) - dense_bytes() - kv_bytes(w_, c_, cells()) - w_.state_bytes;
      place_.experts = w_.expert_bytes > 0 ? std::clamp(left / w_.expert_bytes, 0.0, 1.0) : 1;
    } else if (!on_device()) {
      place_ = {0, 0};
    }
  }

  /// Bytes per token that the processor reads.
  [[nodiscard]] double on_host() const {
    return (1 - place_.dense) * (w_.active_bytes - w_.active_expert_bytes) +
           (1 - place_.experts) * w_.active_expert_bytes;
  }
  [[nodiscard]] double host_weights() const {
    return (1 - place_.dense) * dense_bytes() + (1 - place_.experts) * w_.expert_bytes;
  }

  /// How much of the experts main memory can keep while they are streamed from disk.
  [[nodiscard]] double cached_share() const {
    const double left =
        host_room(machine_) - dense_bytes() - kv_bytes(w_, c_, cells()) - w_.state_bytes;
    return w_.expert_bytes > 0 ? std::clamp(left / w_.expert_bytes, 0.0, 1.0) : 1;
  }

  [[nodiscard]] double disk_rate() const {
    double best = 0;
    for (const machine::Disk& disk : machine_.disks) {
      double rate = disk.sequential_bytes_per_second;
      for (const machine::RandomRead& random : disk.random) {
        // Experts are read in pieces of a megabyte or so, several at a time.
        if (random.block_bytes >= 256U << 10 && random.queue_depth > 1)
          rate = random.bytes_per_second;
      }
      best = std::max(best, rate);
    }
    return best;
  }
  [[nodiscard]] double load_rate() const {
    const double rate = plan::disk_rate(machine_);
    return rate > 0 ? rate : kUnknownDisk;
  }
  /// Of a context of so many cells.
  [[nodiscard]] KvDivision division(double count) const {
    const bool bounded = c_.engine == "hearth" && c_.residency == Residency::kMemory;
    return divide_kv(kv_need(w_, c_, count), bounded ? static_cast<double>(c_.kv_budget) : 0);
  }
  /// What a pass over so many cells reads from the disk.
  [[nodiscard]] double from_disk(double count) const {
    return division(cells()).read(kv_need(w_, c_, count).growing);
  }

  [[nodiscard]] double kv_on_device() const {
    return c_.residency == Residency::kSplit ? place_.dense : on_device() ? 1 : 0;
  }

  [[nodiscard]] Speed speed(const ClassSeconds& t, double low, double high) const {
    if (device_ && host_) low = std::min(low, 0.5), high = std::max(high, 1.6);
    if (c_.residency == Residency::kStreamed) low = std::min(low, 0.4);
    const double tps = 1 / t.total();
    return {tps, tps * low, tps * high, t.waiting > 0 ? "disk" : t.largest()};
  }

  [[nodiscard]] Speed decode(double depth) const {
    const double host = on_host(), device = w_.active_bytes - host;
    ClassSeconds t;
    if (device_) {
      const ClassSeconds all = decode_seconds(w_, *device_, device, depth);
      const double layers = w_.active_bytes > 0 ? device / w_.active_bytes : 1;
      const bool whole = c_.residency != Residency::kSplit;  // all layers pass through the device
      t.reading = all.reading;
      t.arithmetic = all.arithmetic;
      t.overhead = all.overhead * (whole ? 1 : layers);
      t.attention = all.attention * kv_on_device();
    }
    if (host_) {
      ClassSeconds rest = decode_seconds(w_, *host_, host, depth);
      if (!device_) {
        t = rest;
      } else {
        rest.overhead *= host / w_.active_bytes;
        rest.attention *= 1 - kv_on_device();
        t.host = rest.total();
      }
    }
    if (c_.residency == Residency::kStreamed)
      t.disk = (1 - cached_share()) * w_.active_expert_bytes / disk_rate();
    t.waiting = disk_wait(from_disk(depth + 1), load_rate(), t.total());
    const Efficiencies& share = device_ ? device_->share : host_->share;
    const double engine = engine_factor(c_.engine);
    Speed result = speed(t, share.decode_low, share.decode_high);
    result.tps *= engine, result.low *= engine, result.high *= engine;
    return result;
  }

  [[nodiscard]] Speed prefill(double depth) const {
    const double prompt = std::max(1.0, static_cast<double>(c_.prompt));
    const Unit& unit = device_ ? *device_ : *host_;
    const double batch = std::clamp(batch_, 1.0, prompt);
    ClassSeconds t = prefill_seconds(w_, unit, prompt, depth, batch);
    if (device_ && host_) t.link = host_weights() / link_rate() / batch;
    if (c_.residency == Residency::kStreamed)
      t.disk = (1 - cached_share()) * w_.expert_bytes / disk_rate() / batch;
    // Seconds are per token here, and what is on disk is read once for a pass.
    t.waiting = disk_wait(from_disk(depth + prompt) / batch, load_rate(), t.total());
    return speed(t, unit.share.prefill_low, unit.share.prefill_high);
  }

  [[nodiscard]] double link_rate() const {
    const double link = machine_.gpus.empty() ? 0 : machine_.gpus.front().link_bytes_per_second;
    return link > 0 ? link : kLink;
  }

  /// True if everything lies where it should with so many cells.
  [[nodiscard]] bool fits(double count) const {
    const KvDivision divided = division(count);
    if (!divided.within(c_.kv_disk)) return false;
    const double kv = divided.memory + w_.state_bytes;
    const double room = host_room(machine_), device = device_room(machine_);
    switch (c_.residency) {
      case Residency::kMemory:
        return w_.weight_bytes + kv <= room;
      case Residency::kDevice:
        return w_.weight_bytes + kv <= device;
      case Residency::kSplit:
        return w_.weight_bytes + kv <= device + room;
      case Residency::kExperts:
        return dense_bytes() + kv <= device && w_.weight_bytes + kv <= device + room;
      case Residency::kStreamed:
        return dense_bytes() + kv + w_.active_expert_bytes <= room;
    }
    return false;
  }

  void memory(Estimate& e) const {
    const KvDivision divided = division(cells());
    e.memory.kv = divided.memory;
    e.memory.disk = divided.disk;
    e.kv_fits = divided.within(c_.kv_disk);
    e.disk_bytes_per_token = from_disk(cells());
    e.memory.state = w_.state_bytes;
    e.memory.weights = c_.residency == Residency::kStreamed
                           ? dense_bytes() + cached_share() * w_.expert_bytes
                           : w_.weight_bytes;
    e.memory.buffers = device_ ? kDeviceReserve : kHostReserve;
    if (device_) {
      e.memory.device = w_.weight_bytes - host_weights() + e.memory.buffers +
                        (e.memory.kv + e.memory.state) * kv_on_device();
    }
    e.fits = fits(cells());
    std::int64_t low = 0,
                 high = w_.trained_context > 0 ? w_.trained_context : std::int64_t{1} << 24;
    if (!fits(1)) return;
    while (low < high) {  // the largest that fits: fits() falls with its argument
      const std::int64_t middle = low + (high - low + 1) / 2;
      if (fits(static_cast<double>(middle))) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    e.largest_context = low;
  }

  [[nodiscard]] std::vector<std::string> inputs() const {
    std::vector<std::string> words;
    const char* source = measured(machine_) ? "measured" : "by the data sheet";
    if (device_) {
      words.push_back(fmt::format("memory of {} {:.0f} GB/s, by the data sheet",
                                  printable(machine_.gpus.front().name), device_->peak_read / 1e9));
      words.push_back(fmt::format(
          "fp16 {:.3g} TFLOPS, {}", device_->flops / 1e12,
          machine_.gpus.front().fp16_flops > 0 ? "by the data sheet" : "guessed from its class"));
    }
    if (host_) {
      words.push_back(
          fmt::format("main memory {:.0f} GB/s, {}", machine_.read_bytes_per_second / 1e9, source));
    }
    if (device_ && host_) {
      words.push_back(
          fmt::format("{:.0f} % of the weights on the graphics processor, link {:.0f} GB/s",
                      100 * (1 - host_weights() / w_.weight_bytes), link_rate() / 1e9));
    }
    if (c_.residency == Residency::kStreamed) {
      words.push_back(
          fmt::format("disk {:.2g} GB/s; {:.0f} % of the experts stay in memory, all "
                      "experts taken to be equally likely",
                      disk_rate() / 1e9, 100 * cached_share()));
    }
    if (c_.kv_budget > 0 && plan::disk_rate(machine_) > 0)
      words.push_back(fmt::format("disk {:.2g} GB/s, {}", load_rate() / 1e9, source));
    if (plan::disk_rate(machine_) <= 0) words.emplace_back("disk 1 GB/s, guessed");
    const Unit& unit = device_ ? *device_ : *host_;
    if (!device_ && c_.engine == "hearth") {
      words.push_back(
          fmt::format("Hearth reads {:.0f} % of the peak; its kernels were not measured here",
                      100 * unit.share.read));
    } else {
      words.push_back(fmt::format("what {} reach with {}: {:.0f} % of the bandwidth, fitted",
                                  name(unit.hardware), printable(c_.engine),
                                  100 * unit.share.read));
    }
    return words;
  }

  Workload w_;
  const Machine& machine_;
  const Conditions& c_;
  double batch_;
  Placement place_;
  std::optional<Unit> device_, host_;
};

}  // namespace

HardwareClass classify(const Gpu& gpu, const Machine& machine) {
  if (machine.family == "apple" || gpu.api == "metal") return HardwareClass::kApple;
  if (machine.memory.unified) return HardwareClass::kUnified;
  if (gpu.integrated) return HardwareClass::kIntegrated;
  if (contains_any(gpu.name, {"RX ", "Radeon", "Instinct", "Arc", "Intel"}))
    return HardwareClass::kRadeon;
  if (contains_any(gpu.name, {"GTX", "Tesla P", "Tesla M", "Tesla K", "P40", "P100"}))
    return HardwareClass::kGeforceGtx;
  if (gpu.vendor == "amd" || gpu.vendor == "intel") return HardwareClass::kRadeon;
  return HardwareClass::kGeforceRtx;
}

double kv_element_bytes(std::string_view kv_type) noexcept {
  const auto is = [&](std::string_view beginning) {
    if (kv_type.size() < beginning.size()) return false;
    for (std::size_t i = 0; i < beginning.size(); ++i) {
      if (ascii_lower(kv_type[i]) != beginning[i]) return false;
    }
    return true;
  };
  const bool coded = kv_type.find(':') != std::string_view::npos || is("tq") || is("q4_0r");
  if (coded) {
    try {
      return 2 * kv_cost({}, kv_type).per_token;
    } catch (const Error&) {
      return 2;  // another engine's name
    }
  }
  if (is("q8")) return 34.0 / 32;
  if (is("q5_1")) return 24.0 / 32;
  if (is("q5")) return 22.0 / 32;
  if (is("q4_1")) return 20.0 / 32;
  if (is("q4") || is("turbo")) return 18.0 / 32;
  if (is("f32")) return 4;
  return 2;
}

Estimate estimate_by_class(const Workload& workload, const Machine& machine,
                           const Conditions& conditions, const ClassOptions& options) {
  return ClassEstimator(workload, machine, conditions, options).run();
}

}  // namespace hearth::plan
