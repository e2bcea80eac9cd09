#include "plan/presets.h"

#include <fmt/format.h>

#include <algorithm>

#include "measure/json_reader.h"
#include "measure/machine_file.h"
#include "plan/data.h"
#include "support/ascii.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::plan {
namespace {

using Json = nlohmann::json;
using measure::JsonReader;

/// Calls take(key, about, watts, machine's JSON) until it returns false.
template <class Take>
void for_each_preset(const Take& take) {
  const std::string source = "the built-in machines";
  const Json json = measure::parse_json(embedded_file("machines.json"), source, measure::kDataFile);
  JsonReader reader(json, source, "", measure::kDataFile);
  if (reader.needed_text("format") != "hearth-machines-1")
    reader.fail("format", "is not \"hearth-machines-1\"");
  (void)reader.texts("about");
  bool go_on = true;
  reader.each("machines", [&](JsonReader& entry) {
    Preset preset;
    preset.key = entry.needed_text("key");
    preset.about = entry.text("about");
    preset.watts = entry.number("watts", 0, 0, 1e6);
    const Json* machine = entry.object("machine");
    if (machine == nullptr) entry.fail("machine", "is missing");
    if (go_on) go_on = take(std::move(preset), *machine);
  });
  reader.finish();
}

Preset complete(Preset preset, const Json& machine) {
  preset.machine = measure::parse_machine(machine.dump(), "the preset " + preset.key);
  return preset;
}

/// The words of a product's name, in lower case: letters and digits.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  for (const char c : ascii_lower(name)) {
    if (('a' <= c && c <= 'z') || ('0' <= c && c <= '9')) {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

}  // namespace

std::vector<Preset> presets() {
  std::vector<Preset> result;
  for_each_preset([&](Preset preset, const Json& machine) {
    result.push_back(complete(std::move(preset), machine));
    return true;
  });
  return result;
}

std::optional<Preset> find_preset(std::string_view key) {
  std::optional<Preset> result;
  for_each_preset([&](Preset preset, const Json& machine) {
    if (preset.key == key) result = complete(std::move(preset), machine);
    return !result.has_value();
  });
  return result;
}

std::vector<GpuSheet> gpu_sheets() {
  const std::string source = "the built-in data sheets";
  const Json json = measure::parse_json(embedded_file("gpus.json"), source, measure::kDataFile);
  JsonReader reader(json, source, "", measure::kDataFile);
  if (reader.needed_text("format") != "hearth-gpus-1")
    reader.fail("format", "is not \"hearth-gpus-1\"");
  (void)reader.texts("about");
  std::vector<GpuSheet> sheets;
  reader.each("gpus", [&](JsonReader& entry) {
    GpuSheet sheet;
    sheet.name = entry.needed_text("name");
    sheet.vendor = entry.text("vendor");
    sheet.memory_bytes = kGibi * entry.number("memory_gb", 0, 0, 1e5);
    sheet.memory_bytes_per_second = kGiga * entry.number("memory_gbs", 0, 0, 1e5);
    sheet.fp16_flops = kTera * entry.number("fp16_tflops", 0, 0, 1e5);
    sheets.push_back(std::move(sheet));
  });
  reader.finish();
  return sheets;
}

const GpuSheet* find_sheet(const std::vector<GpuSheet>& sheets, std::string_view name) {
  const std::vector<std::string> given = words_of(name);
  const auto mobile = [](const std::vector<std::string>& words) {
    return std::find(words.begin(), words.end(), "laptop") != words.end();
  };
  const GpuSheet* best = nullptr;
  std::size_t most = 0;
  for (const GpuSheet& sheet : sheets) {
    const std::vector<std::string> words = words_of(sheet.name);
    if (mobile(given) != mobile(words)) continue;  // the same name, another chip
    const bool all = std::all_of(words.begin(), words.end(), [&](const std::string& word) {
      return std::find(given.begin(), given.end(), word) != given.end();
    });
    if (!all || words.size() <= most) continue;
    most = words.size();
    best = &sheet;
  }
  return best;
}

std::vector<std::string> fill_from_sheets(machine::Machine& machine) {
  std::vector<std::string> filled;
  std::vector<GpuSheet> sheets;
  for (machine::Gpu& gpu : machine.gpus) {
    if (gpu.memory_bytes_per_second > 0 && gpu.fp16_flops > 0) continue;
    if (sheets.empty()) sheets = gpu_sheets();
    const GpuSheet* sheet = find_sheet(sheets, gpu.name);
    if (sheet == nullptr) continue;
    if (gpu.memory_bytes_per_second <= 0)
      gpu.memory_bytes_per_second = sheet->memory_bytes_per_second;
    if (gpu.fp16_flops <= 0) gpu.fp16_flops = sheet->fp16_flops;
    filled.push_back(fmt::format("{}: {:.0f} GB/s, {:.0f} TFLOPS by the data sheet", sheet->name,
                                 gpu.memory_bytes_per_second / kGiga, gpu.fp16_flops / kTera));
  }
  return filled;
}

}  // namespace hearth::plan
