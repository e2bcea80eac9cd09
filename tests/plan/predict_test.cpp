#include "plan/predict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "shared_dir.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::plan {
namespace {

constexpr const char* kHeader =
    "row_id,hardware,hw_class,mem_gb,mem_bw_gbs,fp16_tflops,engine,base_key,params_total_b,"
    "params_active_b,is_moe,quant,bits_per_weight,weight_gb_est,active_gb_per_token_est,arch,"
    "n_layers,kv_layers,n_kv_heads,head_dim,d_model,vocab,kv_bytes_per_token,context_depth,"
    "depth_source,prompt_tokens,output_tokens,speculative,offload,n_cpu_moe,kv_type,"
    "host_ram_bw_gbs\n";

TableRow setup(const std::string& row, const std::string& header = kHeader) {
  return read_table_row(CsvTable(header + row + "\n", "t.csv"), 0);
}

const std::string kLlama =
    "1,RTX 3090,dgpu,24,936,71,llama.cpp,llama-3-8b,8.03,8.03,0,Q4_K_M,4.8944,4.913,4.5914,llama,"
    "32,32,8,128,4096,128256,131072,,,512,128,0,0,,,";

TEST(Predict, ReadsARow) {
  const TableRow s = setup(kLlama);
  EXPECT_EQ(s.conditions.residency, Residency::kDevice);
  EXPECT_EQ(s.conditions.depths.at(0), 576);  // the prompt and half of the output
  EXPECT_EQ(s.conditions.depths.at(1), 0);
  EXPECT_EQ(s.workload.layers, 32);
  EXPECT_DOUBLE_EQ(s.workload.kv_bytes_per_token, 131072);
  EXPECT_EQ(classify(s.machine.gpus.at(0), s.machine), HardwareClass::kGeforceRtx);
  const Prediction p = predict(s);
  EXPECT_GT(p.decode_tps, 100);
  EXPECT_LT(p.decode_tps, 170);
}

TEST(Predict, SmallModelsTakeMoreBitsThanTheirName) {
  const TableRow s = setup(
      "1,RTX 3060,dgpu,12,360,25.5,llama.cpp,gemma-3-1b,1.0,1.0,0,Q4_K_M,4.8944,0.612,0.612,"
      "gemma3_text,26,26,1,256,1152,262144,26624,64,,512,128,0,0,,,");
  EXPECT_GT(s.workload.weight_bytes, 0.72e9);  // the file has 0.81
  EXPECT_LT(s.workload.weight_bytes, 0.82e9);
  EXPECT_EQ(s.workload.window, 512);
}

TEST(Predict, QuantizedKvIsCountedAsF16) {
  std::string row = kLlama;
  row.replace(row.find("131072"), 6, "69632");
  row.replace(row.size() - 1, 1, "q8_0,");
  EXPECT_DOUBLE_EQ(setup(row).workload.kv_bytes_per_token, 131072);
}

TEST(Predict, WhatExceedsTheMemoryIsSplit) {
  std::string row = kLlama;
  row.replace(row.find("dgpu,24"), 7, "dgpu,4");
  EXPECT_EQ(setup(row).conditions.residency, Residency::kSplit);
  EXPECT_LT(predict(setup(row)).decode_tps, 0.7 * predict(setup(kLlama)).decode_tps);
}

TEST(Predict, ExpertsOnTheProcessorByTheirLayers) {
  const auto row = [](const std::string& layers) {
    return "1,RTX 3060,dgpu,12,360,25.5,llama.cpp,qwen3-30b-a3b,30.5,3.3,1,Q4_K_M,4.8944,18.68,"
           "2.02,qwen3_moe,48,48,4,128,2048,151936,98304,256,,512,128,0,0," +
           layers + ",,50";
  };
  EXPECT_EQ(setup(row("24")).conditions.residency, Residency::kExperts);
  EXPECT_DOUBLE_EQ(setup(row("24")).options.placement.value().experts, 0.5);
  EXPECT_DOUBLE_EQ(setup(row("99")).options.placement.value().experts, 0);
  EXPECT_GT(predict(setup(row("24"))).decode_tps, predict(setup(row("48"))).decode_tps);
}

TEST(Predict, OllamaLeavesIntegratedGraphicsAlone) {
  const std::string row =
      "1,Radeon 780M,igpu,16,89.6,8.3,ENGINE,llama-3.2-3b,3.2,3.2,0,Q4_K_M,4.9,1.97,1.97,llama,28,"
      "28,8,128,3072,128256,114688,256,,512,128,0,0,,,";
  const auto with = [&](const std::string& engine) {
    std::string text = row;
    return setup(text.replace(text.find("ENGINE"), 6, engine));
  };
  EXPECT_EQ(with("llama.cpp").conditions.residency, Residency::kDevice);
  EXPECT_EQ(with("ollama").conditions.residency, Residency::kMemory);
}

TEST(Predict, NamesStandInForNumbers) {
  const TableRow s =
      setup("1,Apple M4 Max,,,546,,mlx,qwen3-30b-a3b,,,,MLX-4BIT,,,,,,,,,,,,,,,,,,,,");
  EXPECT_NEAR(s.workload.parameters, 30e9, 1);
  EXPECT_NEAR(s.workload.active_parameters, 3e9, 1);
  EXPECT_TRUE(s.workload.mixture);
  EXPECT_EQ(s.machine.family, "apple");
  const auto billions = [](const std::string& key) {
    return setup("1,,,,,,," + key + ",,,,,,,,,,,,,,,,,,,,,,,,").workload.parameters / 1e9;
  };
  EXPECT_NEAR(billions("gemma-3-270m"), 0.27, 1e-9);
  EXPECT_NEAR(billions("qwen2.5-0.5b"), 0.5, 1e-9);
  EXPECT_NEAR(billions("Llama-3.1-70B-Instruct"), 70, 1e-9);
  EXPECT_NEAR(billions("lfm2-8b-a1b"), 8, 1e-9);
}

TEST(Predict, NoRowFailsWhateverItHolds) {
  for (const std::string text :
       {"", "0", "-1", "nan", "inf", "1e308", "1e-308", "x", "1e9", "999999999999999999999"}) {
    std::string row = "1";
    for (int i = 0; i < 31; ++i) row += ',' + text;
    const Prediction p = predict(setup(row));
    EXPECT_TRUE(std::isfinite(p.decode_tps) && p.decode_tps > 0) << text;
    EXPECT_TRUE(std::isfinite(p.prefill_tps) && p.prefill_tps > 0) << text;
  }
  const Prediction bare = predict(setup("1", "row_id\n"));
  EXPECT_GT(bare.decode_tps, 0);
}

TEST(Predict, WritesARowForEveryRowAndReadsNoMeasurement) {
  const testing::TemporaryFolder folder;
  const std::string rest = kLlama.substr(1);
  std::string header = kHeader;
  header.pop_back();
  write_file_atomically(folder / "a.csv",
                        header + "\n\"7,\"\"x\"\"\"" + rest + "\n8" + rest + "\n");
  write_file_atomically(folder / "b.csv", header + ",decode_tps,prefill_tps\n\"7,\"\"x\"\"\"" +
                                              rest + ",1,2\n8" + rest + ",3,\n");
  predict_file(folder / "a.csv", folder / "a.out");
  predict_file(folder / "b.csv", folder / "b.out");
  const std::string a = read_file(folder / "a.out");
  EXPECT_EQ(a, read_file(folder / "b.out"));
  EXPECT_TRUE(a.starts_with("row_id,pred_decode_tps,pred_prefill_tps\n\"7,\"\"x\"\"\","));
  EXPECT_EQ(CsvTable(a, "a.out").rows(), 2U);
}

TEST(Predict, ReportsWhatItCannotRead) {
  const testing::TemporaryFolder folder;
  EXPECT_THROW(predict_file(folder / "none.csv", folder / "out"), Error);
  write_file_atomically(folder / "no_id.csv", std::string("a,b\n1,2\n"));
  EXPECT_THROW(predict_file(folder / "no_id.csv", folder / "out"), Error);
  write_file_atomically(folder / "bad.csv", std::string("row_id\n\"1\n"));
  EXPECT_THROW(predict_file(folder / "bad.csv", folder / "out"), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

/// Errors of the predictions for rows of the shared measurements, sorted.
class Measurements {
 public:
  explicit Measurements(const std::filesystem::path& path)
      : table_(read_file(path), path.string()) {}

  [[nodiscard]] std::vector<double> errors(std::string_view measured, bool offload) const {
    std::vector<double> result;
    for (std::size_t row = 0; row < table_.rows(); ++row) {
      const std::string value(table_.field(row, measured));
      if (value.empty() || table_.field(row, "speculative") == "1" ||
          (table_.field(row, "offload") == "1") != offload) {
        continue;
      }
      const Prediction p = predict(read_table_row(table_, row));
      const double predicted = measured == "decode_tps" ? p.decode_tps : p.prefill_tps;
      result.push_back(std::abs(predicted / std::stod(value) - 1));
    }
    std::sort(result.begin(), result.end());
    return result;
  }

 private:
  CsvTable table_;
};

double quantile(const std::vector<double>& sorted, double share) {
  return sorted.at(static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1)));
}

// On the rows that the efficiencies were fitted to. What they are on others is measured by
// scripts/fit-planner (docs/planner-model.md); here the bounds notice when the formulas break.
TEST(Predict, FollowsTheSharedMeasurements) {
  const auto path = testing::shared_dir() / "data" / "planner_train.csv";
  HEARTH_REQUIRE_FILE(path);
  const Measurements measurements(path);
  const std::vector<double> decode = measurements.errors("decode_tps", false);
  ASSERT_GT(decode.size(), 500U);
  EXPECT_LT(quantile(decode, 0.5), 0.08);
  EXPECT_LT(quantile(decode, 0.9), 0.35);
  EXPECT_LT(quantile(decode, 0.78), 0.2);
  EXPECT_LT(quantile(measurements.errors("decode_tps", true), 0.5), 0.25);
  EXPECT_LT(quantile(measurements.errors("prefill_tps", false), 0.5), 0.13);
}

}  // namespace
}  // namespace hearth::plan
