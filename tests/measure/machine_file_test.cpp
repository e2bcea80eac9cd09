#include "measure/machine_file.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/error.h"

namespace hearth::measure {
namespace {

using Json = nlohmann::ordered_json;

machine::Machine full_machine() {
  machine::Machine m;
  m.name = "Example 9000 \"quoted\"";
  m.family = "apple";
  m.source = "data sheet";
  m.measured_at = 1795276800;
  m.cpu = {"Example 9000",
           {{8, 16, 5.2, 1}, {4, 4, 3.75, 0}},
           10,
           2,
           {"avx2", "portable"},
           32768,
           1048576,
           std::uint64_t{96} << 20};
  m.memory = {16000000000, 12000000000, 8000000000, 1000, "madvise", true};
  m.read_bytes_per_second = 62.5e9;
  m.reads = {{1, false, 20.25e9}, {10, true, 62.5e9}};
  m.int8_multiply_adds = 1250e9;
  m.bf16_multiply_adds = 640e9;
  m.f32_multiply_adds = 320e9;
  m.kernels = {{"Q4_K", 55e9, 700e9}};
  m.disturbed_by = 1.5;
  m.engine.product_seconds = 3e-6;
  m.engine.pack_bytes_per_second = 4e9;
  m.engine.experts = {{8, 0.25}};
  m.disks = {
      {"/home", "nvme0n1", "nvme", 1000000000000, 5, 3.5e9, {{4096, 1, 5e7}, {4096, 16, 4e8}}}};
  m.gpus = {
      {"Card", "nvidia", "550.1", "cuda", 24000000000, 23000000000, 936e9, 71e12, 31.5e9, false}};
  m.npus = {{"Intel NPU", "/dev/accel/accel0"}};
  m.limits = {"docker", 4000000000, 1.5};
  m.power = {"battery", 71, "powersave", true};
  return m;
}

std::string trouble(const std::string& text) {
  try {
    (void)parse_machine(text, "'m.json'");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(MachineFile, ComesBackAsItWas) {
  const machine::Machine given = full_machine();
  const std::string text = machine_text(given);
  const machine::Machine back = parse_machine(text, "text");
  EXPECT_EQ(machine_text(back), text);
  EXPECT_EQ(back.name, given.name);
  EXPECT_EQ(back.cpu.kinds.at(1).max_ghz, 3.75);
  EXPECT_EQ(back.cpu.l3_bytes, given.cpu.l3_bytes);
  EXPECT_EQ(back.memory.swap_used_bytes, 1000U);
  EXPECT_TRUE(back.memory.unified);
  EXPECT_DOUBLE_EQ(back.read_bytes_per_second, 62.5e9);
  EXPECT_DOUBLE_EQ(back.reads.at(0).bytes_per_second, 20.25e9);
  EXPECT_FALSE(back.reads.at(0).huge_pages);
  EXPECT_DOUBLE_EQ(back.kernels.at(0).prefill_multiply_adds, 700e9);
  EXPECT_DOUBLE_EQ(back.disturbed_by, 1.5);
  EXPECT_DOUBLE_EQ(back.engine.product_seconds, 3e-6);
  EXPECT_DOUBLE_EQ(back.engine.pack_bytes_per_second, 4e9);
  EXPECT_DOUBLE_EQ(back.engine.experts.at(0).fraction, 0.25);
  EXPECT_EQ(back.disks.at(0).random.at(1).queue_depth, 16);
  EXPECT_DOUBLE_EQ(back.gpus.at(0).fp16_flops, 71e12);
  EXPECT_DOUBLE_EQ(back.limits.processors, 1.5);
  EXPECT_EQ(back.power.battery_percent, 71);
  EXPECT_TRUE(back.power.throttled);
  EXPECT_EQ(back.measured_at, given.measured_at);
}

TEST(MachineFile, HasTheKeysThatWerePromised) {
  const Json json = machine_json(full_machine());
  for (const char* key : {"cpu", "memory", "read_gbs", "int8_gmacs", "disks", "gpus", "npus",
                          "limits", "measured_at"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_DOUBLE_EQ(json["read_gbs"].get<double>(), 62.5);
  EXPECT_DOUBLE_EQ(json["gpus"][0]["memory_gbs"].get<double>(), 936);
}

TEST(MachineFile, DescribedMachinesNeedLittle) {
  const machine::Machine m = parse_machine(
      R"({"version": 1, "name": "box", "memory": {"total_bytes": 16e9},
          "gpus": [{"name": "RTX 3060", "memory_total_bytes": 12000000000}]})",
      "text");
  EXPECT_EQ(m.memory.total_bytes, 16000000000U);
  EXPECT_EQ(m.memory.available_bytes, 16000000000U);
  EXPECT_EQ(m.gpus.at(0).memory_free_bytes, 12000000000U);
  EXPECT_EQ(m.measured_at, 0);
  EXPECT_EQ(m.power.battery_percent, -1);
}

TEST(MachineFile, TextThatIsNoUtf8IsReplacedNotRefused) {
  machine::Machine m;
  m.name = "caf\xe9";
  EXPECT_EQ(parse_machine(machine_text(m), "text").name, "caf\xEF\xBF\xBD");
}

struct Wrong {
  const char* text;
  const char* sentence;
};

TEST(MachineFile, SaysWhatIsWrong) {
  const Wrong cases[] = {
      {"", "'m.json' is not valid JSON"},
      {"{\"version\": 1", "'m.json' is not valid JSON"},
      {"[]", "'m.json': the machine must be an object, not a list"},
      {"{}", "'m.json': 'version' is missing: it is 1"},
      {R"({"version": 2})", "'m.json': version is 2, and this Hearth knows up to 1"},
      {R"({"version": "1"})", "'m.json': version must be a number, not a text"},
      {R"({"version": 1, "cpu": 3})", "'m.json': cpu must be an object, not a number"},
      {R"({"version": 1, "cpu": {"kinds": [{"cores": 0}]}})",
       "'m.json': cpu.kinds[0].cores must be a whole number from 1 to 1048576"},
      {R"({"version": 1, "cpu": {"usable_cores": 1.5}})",
       "'m.json': cpu.usable_cores must be a whole number from 0 to 1048576"},
      {R"({"version": 1, "memory": {"total_bytes": "16 GB"}})",
       "'m.json': memory.total_bytes must be a number, not a text"},
      {R"({"version": 1, "memory": {"total_bytes": -1}})",
       "'m.json': memory.total_bytes is -1, not between 0 and 9e+15"},
      {R"({"version": 1, "memory": {"total_bytes": 0.5}})",
       "'m.json': memory.total_bytes must be a whole number of bytes"},
      {R"({"version": 1, "read_gbs": 1e300})",
       "'m.json': read_gbs is 1e+300, not between 0 and 9e+15"},
      {R"({"version": 1, "read_gbs": null})", "'m.json': read_gbs must be a number, not null"},
      {R"({"version": 1, "read_gb": 1})", "'m.json': the machine has an unknown key 'read_gb'"},
      {R"({"version": 1, "gpus": [{"vram": 1}]})", "'m.json': gpus[0] has an unknown key 'vram'"},
      {R"({"version": 1, "gpus": {}})", "'m.json': gpus must be a list, not an object"},
      {R"({"version": 1, "npus": [7]})", "'m.json': npus[0] must be an object, not a number"},
      {R"({"version": 1, "limits": {"container": true}})",
       "'m.json': limits.container must be a text, not true or false"},
      {R"({"version": 1, "power": {"throttled": 0}})",
       "'m.json': power.throttled must be true or false, not a number"},
      {R"({"version": 1, "cpu": {"instruction_sets": ["a", 1]}})",
       "'m.json': cpu.instruction_sets[1] must be a text, not a number"},
      {R"({"version": 1, "x\n": 1})", "'m.json': the machine has an unknown key 'x\\x0a'"},
  };
  for (const Wrong& wrong : cases) EXPECT_EQ(trouble(wrong.text), wrong.sentence) << wrong.text;
}

TEST(MachineFile, IsBounded) {
  EXPECT_EQ(trouble(std::string(kMaxMachineFileBytes + 1, ' ')),
            "'m.json' is too large: more than 1048576 bytes");
  EXPECT_EQ(trouble(std::string(100000, '[')), "'m.json' is nested too deeply");
  std::string many = R"({"version": 1, "npus": [{})";
  for (int i = 0; i < 300; ++i) many += ",{}";
  EXPECT_EQ(trouble(many + "]}"), "'m.json': npus has more than 256 entries");
  EXPECT_EQ(trouble(R"({"version": 1, "name": ")" + std::string(600, 'x') + "\"}"),
            "'m.json': name is longer than 512 bytes");
}

}  // namespace
}  // namespace hearth::measure
