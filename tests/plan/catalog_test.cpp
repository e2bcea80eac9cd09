// The built-in catalog against its schema, and what becomes of broken ones.
#include "plan/catalog.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "model/families/registry.h"
#include "plan/catalog_workload.h"
#include "plan/data.h"
#include "plan/uses.h"
#include "set_aside_files.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"

namespace hearth::plan {
namespace {

using testing::TemporaryFolder;

std::string with_models(const std::string& models) {
  return R"({"format": "hearth-catalog-1", "models": [)" + models + "]}";
}

std::string refusal(const std::string& text) {
  try {
    (void)parse_catalog(text, "'test'");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(BuiltinCatalog, EveryNumberNamesASourceThatIsExplained) {
  const Catalog catalog = builtin_catalog();
  ASSERT_GT(catalog.models.size(), 80U);
  EXPECT_NE(catalog.attribution.find("CC BY 4.0"), std::string::npos);
  EXPECT_NE(catalog.attribution.find("MIT"), std::string::npos);
  const auto explained = [&](const std::string& source) {
    return catalog.sources.contains(source);
  };
  for (const CatalogModel& model : catalog.models) {
    SCOPED_TRACE(model.name);
    EXPECT_FALSE(model.repo.empty());
    EXPECT_FALSE(model.family.empty());
    if (model.parameters > 0) {
      EXPECT_TRUE(explained(model.parameters_source));
    }
    if (model.active_parameters > 0) {
      EXPECT_TRUE(explained(model.active_source));
    }
    if (model.context > 0) {
      EXPECT_TRUE(explained(model.context_source));
    }
    if (model.shape.width > 0) {
      EXPECT_TRUE(explained(model.shape_source));
    }
    if (!model.license.empty()) {
      EXPECT_TRUE(explained(model.license_source));
    }
    for (const CatalogFile& file : model.files) EXPECT_TRUE(explained(file.source)) << file.quant;
    for (const Score& score : model.scores) EXPECT_TRUE(explained(score.source)) << score.benchmark;
  }
}

TEST(BuiltinCatalog, IsWhatTheSchemaSays) {
  const std::set<std::string> roles = {"chat",   "code",        "embedding", "rerank",
                                       "vision", "tool-router", "test"};
  const std::set<std::string> modalities = {"text", "image", "audio", "video"};
  const Catalog catalog = builtin_catalog();
  const Uses uses = builtin_uses();
  for (const CatalogModel& model : catalog.models) {
    SCOPED_TRACE(model.name);
    EXPECT_TRUE(roles.contains(model.role)) << model.role;
    for (const std::string& modality : model.modalities)
      EXPECT_TRUE(modalities.contains(modality)) << modality;
    EXPECT_LE(model.active_parameters, model.parameters);
    for (const std::string& repository : model.repositories)
      EXPECT_NE(repository.find('/'), std::string::npos) << repository;
    std::set<std::string> formats;
    for (const CatalogFile& file : model.files) {
      EXPECT_TRUE(formats.insert(file.quant).second) << file.quant << " is there twice";
      const QuantInfo* info = uses.quant(file.quant);
      if (info == nullptr) {
        EXPECT_EQ(file.quant.substr(0, 3), "UD-") << file.quant;
      }
    }
  }
}

/// A file of B bits per weight holds about parameters * B / 8 bytes: what is listed and what is
/// worked out must agree, or one of the numbers is wrong.
TEST(BuiltinCatalog, SizesOfFilesAgreeWithParameters) {
  const Catalog catalog = builtin_catalog();
  const Uses uses = builtin_uses();
  int checked = 0;
  for (const CatalogModel& model : catalog.models) {
    if (model.parameters <= 0) continue;
    CatalogModel bare = model;
    bare.files.clear();
    for (const CatalogFile& file : model.files) {
      for (const Quantization& quant : quantizations(bare, uses)) {
        if (quant.name != file.quant) continue;
        const double ratio = static_cast<double>(file.bytes) / quant.bytes;
        // Small models with a copy of the embedding, or other types for it, lie higher.
        const bool loose = model.parameters < 5e9 || model.shape.per_layer_embedding > 0;
        EXPECT_GT(ratio, 0.93) << model.name << " " << quant.name;
        EXPECT_LT(ratio, loose ? 1.30 : 1.08) << model.name << " " << quant.name;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 60);
}

TEST(BuiltinCatalog, KeysAndValuesAreThoseThatEnginesMeasured) {
  const Catalog catalog = builtin_catalog();
  const Uses uses = builtin_uses();
  const auto workload = [&](const char* name) {
    const CatalogModel* model = catalog.find(name);
    if (model == nullptr) throw Error(std::string("no ") + name);
    return catalog_workload(*model, quantizations(*model, uses).front(), uses);
  };
  // Bytes per token that a download table measured (idx:70919584112 of the catalog).
  EXPECT_EQ(workload("qwen3.5-0.8b").kv_bytes_per_token, 12288);
  EXPECT_EQ(workload("qwen3.5-4b").kv_bytes_per_token, 32768);
  EXPECT_EQ(workload("qwen3.6-35b-a3b").kv_bytes_per_token, 20480);
  // 28 layers of 8 heads of 128, keys and values, two bytes each.
  EXPECT_EQ(workload("qwen3-0.6b").kv_bytes_per_token, 28 * 8 * 128 * 2 * 2);
  // Half of the layers keep 128 cells.
  EXPECT_EQ(workload("gpt-oss-20b").kv_bytes_per_token, 12 * 8 * 64 * 4);
  EXPECT_EQ(workload("gpt-oss-20b").window_bytes_per_token, 12 * 8 * 64 * 4);
  EXPECT_EQ(workload("gpt-oss-20b").window, 128);
  // Latent attention: 512 + 64 values per layer.
  EXPECT_EQ(workload("deepseek-v3-0324").kv_bytes_per_token, 61 * 576 * 2);
  // Gemma 4 E2B: the last 20 of 35 layers keep nothing, every fifth is global with heads of 512.
  EXPECT_EQ(workload("gemma-4-e2b").kv_bytes_per_token, 3 * 512 * 4);
  EXPECT_EQ(workload("gemma-4-e2b").window_bytes_per_token, 12 * 256 * 4);
}

TEST(BuiltinCatalog, ActiveParametersAreAboutThosePublished) {
  const Catalog catalog = builtin_catalog();
  for (const CatalogModel& model : catalog.models) {
    if (model.active_parameters <= 0 || model.shape.per_layer_embedding > 0) continue;
    // Publishers round ("A3B"), and leave out the output matrix (Granite 4 tiny: a sixth).
    const double ratio = active_parameters(model) / model.active_parameters;
    EXPECT_GT(ratio, 0.6) << model.name;
    EXPECT_LT(ratio, 1.6) << model.name;
  }
}

TEST(BuiltinCatalog, HearthKnowsMostArchitectures) {
  const auto known = model::known_architectures();
  std::set<std::string> unknown;
  for (const CatalogModel& model : builtin_catalog().models) {
    if (std::find(known.begin(), known.end(), model.architecture) == known.end())
      unknown.insert(model.architecture);
  }
  EXPECT_LE(unknown.size(), 2U);
}

TEST(Catalog, FindsByNameAndRepositoryInAnyCase) {
  const Catalog catalog = builtin_catalog();
  ASSERT_NE(catalog.find("Qwen3.5-4B"), nullptr);
  EXPECT_EQ(catalog.find("qwen/qwen3.5-4b"), catalog.find("qwen3.5-4b"));
  EXPECT_EQ(catalog.find("qwen3.5"), nullptr);
}

TEST(Catalog, RefusesWhatIsNotOne) {
  EXPECT_NE(refusal("").find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal("[]").find("must be an object, not a list"), std::string::npos);
  EXPECT_NE(refusal(R"({"format": "hearth-catalog-2"})").find("format"), std::string::npos);
  EXPECT_NE(refusal(std::string(100, '[')).find("nested"), std::string::npos);
  EXPECT_NE(refusal("\xff").find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": ""})")).find("name"), std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a b"})")).find("name"), std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a", "context": -1})")).find("context"),
            std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a", "context": 1.5})")).find("whole"),
            std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a", "parameters_b": "4"})")).find("parameters_b"),
            std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a", "colour": 1})")).find("colour"),
            std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a", "shape": {"layers": 2, "kv_layers": 3}})"))
                .find("kv_layers"),
            std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a", "files": [{"quant": "Q4_0"}]})")).find("bytes"),
            std::string::npos);
  EXPECT_NE(refusal(with_models(R"({"name": "a"}, {"name": "A"})")).find("twice"),
            std::string::npos);
  EXPECT_EQ(refusal(with_models(R"({"name": "a", "_remark": "mine"})")), "accepted");
}

TEST(UserCatalog, AddsAndChangesEntries) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "catalog.json",
                        with_models(R"({"name": "mine", "parameters_b": 1, "shape": {"layers": 4}},
                     {"name": "Qwen3-8B", "context": 1000, "shape": {"kv_heads": 2}})"));
  const Catalog catalog = load_catalog({folder / "missing.json", folder / "catalog.json"});
  EXPECT_TRUE(catalog.warnings.empty());
  ASSERT_NE(catalog.find("mine"), nullptr);
  EXPECT_TRUE(catalog.find("mine")->from_user);
  const CatalogModel* changed = catalog.find("qwen3-8b");
  ASSERT_NE(changed, nullptr);
  EXPECT_EQ(changed->context, 1000);
  EXPECT_EQ(changed->shape.kv_heads, 2);
  EXPECT_EQ(changed->shape.layers, 36);  // as it was
  EXPECT_EQ(catalog.models.size(), builtin_catalog().models.size() + 1);
}

TEST(UserCatalog, BrokenOnesAreReportedAndSetAside) {
  const TemporaryFolder folder;
  const std::size_t all = builtin_catalog().models.size();
  std::size_t kept = 0;
  for (const std::string& text : {std::string("{"), std::string("null"), std::string("\0\1", 2),
                                  std::string(R"({"format": "hearth-catalog-1", "models": {}})"),
                                  std::string(R"({"models": []})")}) {
    write_file_atomically(folder / "catalog.json", text);
    const Catalog catalog = load_catalog({folder / "catalog.json"});
    EXPECT_EQ(catalog.models.size(), all);
    ASSERT_EQ(catalog.warnings.size(), 1U);
    EXPECT_NE(catalog.warnings.front().find("set aside as 'catalog.json.bad-"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(folder / "catalog.json"));
    EXPECT_EQ(testing::set_aside_files(folder.path()).size(), ++kept);
  }
}

TEST(UserCatalog, OneBadEntryDoesNotCostTheOthers) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "catalog.json",
                        with_models(R"({"name": "good"}, {"name": "bad", "context": "long"}, 7)"));
  const Catalog catalog = load_catalog({folder / "catalog.json"});
  EXPECT_NE(catalog.find("good"), nullptr);
  EXPECT_EQ(catalog.find("bad"), nullptr);
  EXPECT_EQ(catalog.warnings.size(), 2U);
}

TEST(UserCatalog, AFolderInItsPlaceIsReported) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "catalog.json");
  EXPECT_EQ(load_catalog({folder / "catalog.json"}).warnings.size(), 1U);
}

}  // namespace
}  // namespace hearth::plan
