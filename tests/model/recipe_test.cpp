// Which type every tensor gets: each row of the tables in quant-recipes.md, on models of every kind
// that the rules tell apart.
#include "model/quantize/recipe.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "support/error.h"

namespace hearth::model::quantize {
namespace {

using tensor::DType;

gguf::TensorInfo make_tensor(std::string name, std::vector<std::int64_t> shape,
                             DType type = DType::kF16) {
  gguf::TensorInfo tensor;
  tensor.name = std::move(name);
  tensor.dtype = type;
  tensor.dimensions = static_cast<std::uint32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), tensor.shape);
  return tensor;
}

/// A model of plain layers, or of layers of experts.
struct Toy {
  ModelShape shape{"llama", 32, 32, 32, 0};
  bool tied = false;
  std::int64_t width = 512;

  Toy& architecture(std::string name) {
    shape.architecture = std::move(name);
    return *this;
  }
  Toy& layers(std::int64_t count) {
    shape.layers = count;
    return *this;
  }
  Toy& kv_heads(std::int64_t count) {
    shape.kv_heads = count;
    return *this;
  }
  Toy& experts(std::int64_t count) {
    shape.experts = count;
    return *this;
  }
  Toy& tie() {
    tied = true;
    return *this;
  }
  Toy& wide(std::int64_t columns) {
    width = columns;
    return *this;
  }

  [[nodiscard]] std::vector<gguf::TensorInfo> tensors() const {
    std::vector<gguf::TensorInfo> all;
    all.push_back(make_tensor("token_embd.weight", {width, 64}));
    if (!tied) all.push_back(make_tensor("output.weight", {width, 64}));
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
        all.push_back(make_tensor(blk + name + ".weight", {width, 64}));
      all.push_back(make_tensor(blk + "attn_norm.weight", {width}, DType::kF32));
      for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) {
        all.push_back(shape.experts == 0
                          ? make_tensor(blk + name + ".weight", {width, 64})
                          : make_tensor(blk + name + "_exps.weight", {width, 64, shape.experts}));
      }
      if (shape.experts > 0)
        all.push_back(make_tensor(blk + "ffn_gate_inp.weight", {width, shape.experts}));
    }
    return all;
  }
};

using Types = std::map<std::string, DType>;

Types types_of(const Toy& toy, Recipe recipe) {
  const auto tensors = toy.tensors();
  const auto choices = choose_types(toy.shape, tensors, recipe);
  Types types;
  for (std::size_t i = 0; i < tensors.size(); ++i) types[tensors[i].name] = choices[i].type;
  return types;
}

Types types_of(const Toy& toy, FileType type, bool with_importance = false) {
  return types_of(toy, Recipe{type, false, with_importance, {}});
}

/// The types of one kind of tensor along the layers: "Q6_K 0 1 5 8".
std::string layers_with(const Types& types, const Toy& toy, const std::string& tensor, DType type) {
  std::string text;
  for (std::int64_t layer = 0; layer < toy.shape.layers; ++layer) {
    const std::string name = "blk." + std::to_string(layer) + "." + tensor + ".weight";
    if (types.at(name) == type) text += (text.empty() ? "" : " ") + std::to_string(layer);
  }
  return text;
}

/// The type of `tensor` in layer 10, which is in no special part of 32 layers: not in the first or
/// last eighth, and (10 - 4) mod 3 = 0.
DType middle(const Types& types, const std::string& tensor) {
  return types.at("blk.10." + tensor + ".weight");
}
/// In layer 0, which is in every special part.
DType front(const Types& types, const std::string& tensor) {
  return types.at("blk.0." + tensor + ".weight");
}

const std::string kMore = "0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31";
const std::string kFirstEighth = "0 1 2 3";
const std::vector<FileType> kLowBits = {FileType::kIQ1_S,  FileType::kIQ1_M, FileType::kIQ2_XXS,
                                        FileType::kIQ2_XS, FileType::kIQ2_S, FileType::kIQ2_M};

TEST(FileTypes, HaveNamesIdsAndBaseTypes) {
  EXPECT_EQ(all_file_types().size(), 38u);
  EXPECT_EQ(file_type_from_name("q4_k_m"), FileType::kQ4_K_M);
  EXPECT_EQ(file_type_from_name("Q4_K"), FileType::kQ4_K_M);
  EXPECT_EQ(file_type_from_name("mxfp4"), FileType::kMXFP4_MOE);
  EXPECT_EQ(file_type_from_name("Q4_K_X"), std::nullopt);
  EXPECT_EQ(file_type_from_name(""), std::nullopt);
  EXPECT_EQ(file_type_key(FileType::kIQ4_XS, false), 30u);
  EXPECT_EQ(file_type_key(FileType::kNVFP4, false), 39u);
  EXPECT_EQ(file_type_key(FileType::kCopy, false), std::nullopt);
  EXPECT_EQ(file_type_key(FileType::kQ2_EXPERTS, true), 1024u + 19u);
  EXPECT_EQ(info(FileType::kIQ2_M).base, DType::kIQ2_S);
  EXPECT_EQ(info(FileType::kIQ3_M).base, DType::kIQ3_S);
}

// Section 2.

TEST(Recipe, SomeTensorsKeepTheirType) {
  const auto keeps = [](const std::string& name, std::vector<std::int64_t> shape = {512, 64}) {
    return !quantizable(make_tensor(name, std::move(shape)));
  };
  for (const char* name : {"blk.0.attn_q.bias",
                           "blk.0.exp_probs_b",
                           "blk.0.attn_q_norm.weight",
                           "blk.0.ffn_gate_inp.weight",
                           "blk.0.ffn_gate_tid2eid.weight",
                           "blk.0.altup_router.weight",
                           "altup_proj.weight",
                           "blk.0.laurel_l.weight",
                           "per_layer_model_proj.weight",
                           "blk.0.ssm_conv1d.weight",
                           "blk.0.shortconv.conv.weight",
                           "blk.0.indexer.k_proj.weight",
                           "blk.0.indexer.q_proj.weight",
                           "blk.0.time_mix_first.weight",
                           "blk.0.time_mix_w0.weight",
                           "blk.0.time_mix_w1.weight",
                           "blk.0.time_mix_w2.weight",
                           "blk.0.time_mix_v0.weight",
                           "blk.0.time_mix_v1.weight",
                           "blk.0.time_mix_v2.weight",
                           "blk.0.time_mix_a0.weight",
                           "blk.0.time_mix_a1.weight",
                           "blk.0.time_mix_a2.weight",
                           "blk.0.time_mix_g1.weight",
                           "blk.0.time_mix_g2.weight",
                           "blk.0.time_mix_decay_w1.weight",
                           "blk.0.time_mix_decay_w2.weight",
                           "blk.0.time_mix_lerp_fused.weight",
                           "blk.0.attn_rel_b.weight",
                           "position_embd.weight",
                           "token_types.weight",
                           "v.position_embd.weight",
                           "v.patch_embd.weight"}) {
    EXPECT_TRUE(keeps(name)) << name;
  }
  EXPECT_TRUE(keeps("blk.0.attn_q.weight", {512}));
  EXPECT_TRUE(keeps("blk.0.ffn_gate_inp_shexp.weight", {512, 1}));
  for (const char* name :
       {"blk.0.attn_q.weight", "output.weight", "token_embd.weight", "blk.0.ffn_gate_exps.weight",
        "blk.0.ssm_in.weight", "blk.0.time_mix_key.weight", "v.blk.0.attn_q.weight",
        "blk.0.shortconv.in_proj.weight", "blk.0.indexer.attn_q_b.weight"}) {
    EXPECT_FALSE(keeps(name)) << name;
  }
  EXPECT_FALSE(quantizable(make_tensor("d2t.weight", {64, 2}, DType::kI64)));
  EXPECT_TRUE(quantizable(make_tensor("blk.0.attn_q.weight", {512, 2}, DType::kQ4_K)));
}

TEST(Recipe, FloatTypesAreTheSameEverywhere) {
  for (const auto& [file, type] :
       std::map<FileType, DType>{{FileType::kF32, DType::kF32}, {FileType::kBF16, DType::kBF16}}) {
    const Types types = types_of(Toy().experts(8), file);
    for (const auto& [name, chosen] : types) {
      const bool kept = name.find("norm") != name.npos || name.find("gate_inp") != name.npos;
      if (kept) continue;
      EXPECT_EQ(chosen, type) << name;
    }
  }
}

// Section 4, rule 1.

TEST(Recipe, OutputAndTiedEmbeddings) {
  for (const FileType file :
       {FileType::kQ4_0, FileType::kQ5_1, FileType::kQ2_K, FileType::kQ4_K_M, FileType::kQ6_K,
        FileType::kIQ3_S, FileType::kIQ4_XS, FileType::kTQ1_0, FileType::kNVFP4}) {
    EXPECT_EQ(types_of(Toy(), file)["output.weight"], DType::kQ6_K);
    EXPECT_EQ(types_of(Toy().tie(), file)["token_embd.weight"], DType::kQ6_K);
    EXPECT_EQ(types_of(Toy().architecture("falcon"), file)["output.weight"], DType::kQ8_0);
  }
  std::vector<FileType> q5 = kLowBits;
  q5.push_back(FileType::kIQ3_XXS);
  for (const FileType file : q5) {
    EXPECT_EQ(types_of(Toy(), file)["output.weight"], DType::kQ5_K);
    EXPECT_EQ(types_of(Toy().tie(), file)["token_embd.weight"], DType::kQ5_K);
  }
  EXPECT_EQ(types_of(Toy(), FileType::kQ8_0)["output.weight"], DType::kQ8_0);
  EXPECT_EQ(types_of(Toy(), FileType::kMXFP4_MOE)["output.weight"], DType::kQ8_0);
  // Rows of 96 are whole blocks of Q8_0, but not of Q4_K or Q6_K.
  EXPECT_EQ(types_of(Toy().wide(96), FileType::kQ4_K_M)["output.weight"], DType::kQ8_0);
  EXPECT_EQ(types_of(Toy().wide(96), FileType::kQ4_0)["output.weight"], DType::kQ8_0);
}

// Rule 2.

TEST(Recipe, Mxfp4IsForExperts) {
  const Types types = types_of(Toy().experts(4), FileType::kMXFP4_MOE);
  EXPECT_EQ(middle(types, "ffn_down_exps"), DType::kMXFP4);
  EXPECT_EQ(middle(types, "ffn_gate_exps"), DType::kMXFP4);
  EXPECT_EQ(middle(types, "attn_v"), DType::kQ8_0);
  EXPECT_EQ(types.at("token_embd.weight"), DType::kQ8_0);
  EXPECT_EQ(middle(types, "ffn_gate_inp"), DType::kF16);  // as it was
}

// Rule 3.

TEST(Recipe, UntiedEmbeddings) {
  const auto embedding = [](FileType file) { return types_of(Toy(), file)["token_embd.weight"]; };
  for (const FileType file :
       {FileType::kIQ2_XXS, FileType::kIQ2_XS, FileType::kIQ1_S, FileType::kIQ1_M})
    EXPECT_EQ(embedding(file), DType::kQ2_K);
  for (const FileType file : {FileType::kIQ2_S, FileType::kIQ2_M, FileType::kIQ3_XXS})
    EXPECT_EQ(embedding(file), DType::kIQ3_S);
  for (const FileType file : {FileType::kTQ1_0, FileType::kTQ2_0, FileType::kQ2_0})
    EXPECT_EQ(embedding(file), DType::kQ4_K);
  EXPECT_EQ(embedding(FileType::kQ4_K_M), DType::kQ4_K);
  EXPECT_EQ(embedding(FileType::kQ3_K_S), DType::kQ3_K);
  EXPECT_EQ(embedding(FileType::kQ8_0), DType::kQ8_0);
}

TEST(Recipe, EmbeddingsOfLayersAreEmbeddings) {
  Toy toy;
  auto tensors = toy.tensors();
  tensors.push_back(make_tensor("per_layer_token_embd.weight", {512, 64}));
  const auto choices = choose_types(toy.shape, tensors, {FileType::kIQ2_XXS, false, true, {}});
  EXPECT_EQ(choices.back().type, DType::kQ2_K);
}

// Rule 4.

TEST(Recipe, LowBitFiles) {
  for (const FileType file : kLowBits) {
    const bool larger = file == FileType::kIQ2_S || file == FileType::kIQ2_M;
    const bool one_bit = file == FileType::kIQ1_S || file == FileType::kIQ1_M;
    const DType base = info(file).base;
    const DType better = larger ? DType::kIQ3_S : DType::kQ2_K;
    const Toy plain;
    const Types types = types_of(plain, file, true);
    EXPECT_EQ(middle(types, "attn_v"), better);
    EXPECT_EQ(layers_with(types, plain, "ffn_down", better), kFirstEighth);
    EXPECT_EQ(middle(types, "ffn_down"), base);
    EXPECT_EQ(middle(types, "attn_k"), base);
    EXPECT_EQ(middle(types, "attn_q"), base);
    EXPECT_EQ(middle(types, "ffn_up"), base);
    EXPECT_EQ(middle(types, "attn_output"), one_bit  ? DType::kIQ2_XXS
                                            : larger ? DType::kIQ3_S
                                                     : base);
    // Groups of four heads and more, or four experts and more.
    EXPECT_EQ(middle(types_of(Toy().kv_heads(8), file, true), "attn_v"), DType::kQ4_K);
    EXPECT_EQ(middle(types_of(Toy().kv_heads(9), file, true), "attn_v"), better);
    EXPECT_EQ(middle(types_of(Toy().experts(4), file, true), "attn_v"), DType::kQ4_K);
    EXPECT_EQ(middle(types_of(Toy().experts(2), file, true), "attn_v"), better);
    const Types eight = types_of(Toy().experts(8), file, true);
    EXPECT_EQ(middle(eight, "attn_v"), DType::kQ4_K);
    EXPECT_EQ(middle(eight, "attn_k"), DType::kQ4_K);
    EXPECT_EQ(middle(eight, "attn_output"), DType::kQ5_K);
    EXPECT_EQ(middle(eight, "ffn_down_exps"), base);
    EXPECT_EQ(front(eight, "ffn_down_exps"), better);
  }
}

// Rule 5.

TEST(Recipe, Values) {
  struct Row {
    FileType file;
    DType narrow, wide;  // for groups of less than four heads, and of four and more
  };
  for (const Row& row : {Row{FileType::kQ2_K, DType::kQ3_K, DType::kQ4_K},
                         Row{FileType::kQ2_K_S, DType::kQ2_K, DType::kQ4_K},
                         Row{FileType::kIQ3_XXS, DType::kIQ3_S, DType::kQ4_K},
                         Row{FileType::kIQ3_XS, DType::kIQ3_S, DType::kQ4_K},
                         Row{FileType::kIQ3_S, DType::kIQ3_S, DType::kQ4_K},
                         Row{FileType::kIQ3_M, DType::kQ4_K, DType::kQ4_K},
                         Row{FileType::kQ3_K_L, DType::kQ5_K, DType::kQ5_K},
                         Row{FileType::kIQ4_NL, DType::kIQ4_NL, DType::kQ5_K},
                         Row{FileType::kIQ4_XS, DType::kIQ4_XS, DType::kQ5_K},
                         Row{FileType::kQ3_K_S, DType::kQ3_K, DType::kQ3_K},
                         Row{FileType::kQ5_K_S, DType::kQ5_K, DType::kQ5_K},
                         Row{FileType::kQ4_0, DType::kQ4_0, DType::kQ4_0}}) {
    EXPECT_EQ(middle(types_of(Toy().kv_heads(16), row.file), "attn_v"), row.narrow)
        << info(row.file).name;
    EXPECT_EQ(middle(types_of(Toy().kv_heads(8), row.file), "attn_v"), row.wide)
        << info(row.file).name;
  }
  EXPECT_EQ(middle(types_of(Toy(), FileType::kIQ3_XXS, true), "attn_v"), DType::kIQ3_XXS);
}

TEST(Recipe, ValuesOfSomeLayersAreHigher) {
  const Toy toy;
  const auto layers = [&](FileType file, DType type) {
    return layers_with(types_of(toy, file), toy, "attn_v", type);
  };
  EXPECT_EQ(layers(FileType::kQ4_K_M, DType::kQ6_K), kMore);
  EXPECT_EQ(layers(FileType::kQ5_K_M, DType::kQ6_K), kMore);
  EXPECT_EQ(layers(FileType::kQ4_K_S, DType::kQ5_K), "0 1 2 3");
  EXPECT_EQ(layers(FileType::kQ3_K_M, DType::kQ5_K), "0 1");
  EXPECT_EQ(middle(types_of(toy, FileType::kQ4_K_M), "attn_v"), DType::kQ4_K);
  EXPECT_EQ(middle(types_of(toy, FileType::kQ5_K_M), "attn_v"), DType::kQ5_K);
  EXPECT_EQ(middle(types_of(toy, FileType::kQ4_K_S), "attn_v"), DType::kQ4_K);
  EXPECT_EQ(middle(types_of(toy, FileType::kQ3_K_M), "attn_v"), DType::kQ4_K);
}

TEST(Recipe, ValuesOfModelsWithEightExpertsAreQ8) {
  for (const FileType file : {FileType::kQ2_K, FileType::kQ4_K_M, FileType::kIQ4_XS})
    EXPECT_EQ(middle(types_of(Toy().experts(8), file), "attn_v"), DType::kQ8_0);
  EXPECT_EQ(middle(types_of(Toy().experts(16), FileType::kQ4_K_M), "attn_v"), DType::kQ4_K);
}

TEST(Recipe, ValuesOfLlama70BAreHigher) {
  const auto value = [](const Toy& toy, FileType file) {
    return middle(types_of(toy, file), "attn_v");
  };
  EXPECT_EQ(value(Toy().layers(80).kv_heads(4), FileType::kQ4_K_S), DType::kQ5_K);
  EXPECT_EQ(value(Toy().layers(80).kv_heads(4), FileType::kQ3_K_S), DType::kQ5_K);
  EXPECT_EQ(value(Toy().layers(80).kv_heads(4), FileType::kQ2_K), DType::kQ5_K);
  EXPECT_EQ(value(Toy().layers(80).kv_heads(4), FileType::kQ6_K), DType::kQ6_K);
  EXPECT_EQ(value(Toy().layers(80), FileType::kQ4_K_S), DType::kQ4_K);  // Llama 65B
  EXPECT_EQ(value(Toy().layers(80).kv_heads(4).architecture("qwen2"), FileType::kQ4_K_S),
            DType::kQ4_K);
}

TEST(Recipe, FusedAndCompressedValuesAreValues) {
  for (const char* name : {"attn_qkv", "attn_kv_b"}) {
    std::vector<gguf::TensorInfo> tensors = {make_tensor("output.weight", {512, 64})};
    for (int layer = 0; layer < 32; ++layer) {
      tensors.push_back(
          make_tensor("blk." + std::to_string(layer) + "." + name + ".weight", {512, 64}));
    }
    const auto choices = choose_types({"phi3", 32, 32, 32, 0}, tensors, {FileType::kQ4_K_M});
    EXPECT_EQ(choices[1 + 6].type, DType::kQ6_K);
    EXPECT_EQ(choices[1 + 10].type, DType::kQ4_K);
  }
}

TEST(Recipe, LayersCountByTheirNumbersWhateverTheOrderOfTheFile) {
  const Toy toy;
  auto tensors = toy.tensors();
  std::reverse(tensors.begin(), tensors.end());
  const auto choices = choose_types(toy.shape, tensors, {FileType::kQ4_K_M});
  const Types expected = types_of(toy, FileType::kQ4_K_M);
  for (std::size_t i = 0; i < tensors.size(); ++i)
    EXPECT_EQ(choices[i].type, expected.at(tensors[i].name)) << tensors[i].name;
}

TEST(Recipe, ValuesOfHybridsCountAmongThemselves) {
  // Attention in every fourth layer only: eight values, i = 0 … 7.
  std::vector<gguf::TensorInfo> tensors;
  for (int layer = 3; layer < 32; layer += 4)
    tensors.push_back(make_tensor("blk." + std::to_string(layer) + ".attn_v.weight", {512, 64}));
  const auto choices = choose_types({"qwen35moe", 32, 16, 4, 64}, tensors, {FileType::kQ4_K_M});
  std::string higher;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].type == DType::kQ6_K) higher += std::to_string(i);
  }
  EXPECT_EQ(higher, "0367");
}

// Rule 6.

TEST(Recipe, KeysAndQueries) {
  const Types xs = types_of(Toy(), FileType::kIQ3_XS, true);
  EXPECT_EQ(middle(xs, "attn_k"), DType::kIQ3_XXS);
  EXPECT_EQ(middle(xs, "attn_q"), DType::kIQ3_XXS);
  const Types xxs = types_of(Toy(), FileType::kIQ3_XXS, true);
  EXPECT_EQ(middle(xxs, "attn_k"), DType::kIQ2_S);
  EXPECT_EQ(middle(xxs, "attn_q"), DType::kIQ2_S);
  const Types eight = types_of(Toy().experts(8), FileType::kIQ3_XXS, true);
  EXPECT_EQ(middle(eight, "attn_k"), DType::kQ8_0);
  EXPECT_EQ(middle(eight, "attn_q"), DType::kIQ2_S);
  EXPECT_EQ(middle(types_of(Toy().experts(8), FileType::kQ4_K_M), "attn_k"), DType::kQ8_0);
  EXPECT_EQ(middle(types_of(Toy(), FileType::kQ4_K_M), "attn_k"), DType::kQ4_K);
}

// Rule 7.

TEST(Recipe, Down) {
  struct Row {
    FileType file;
    bool with_importance;
    DType special;       // in the layers
    std::string layers;  //
    DType otherwise;
  };
  const Toy toy;
  for (const Row& row : {
           Row{FileType::kQ2_K, false, DType::kQ2_K, "", DType::kQ3_K},
           Row{FileType::kQ2_K_S, true, DType::kQ4_K, kFirstEighth, DType::kQ2_K},
           Row{FileType::kIQ3_XXS, false, DType::kQ4_K, kFirstEighth, DType::kQ3_K},
           Row{FileType::kIQ3_XXS, true, DType::kQ4_K, "", DType::kIQ3_XXS},
           Row{FileType::kQ3_K_M, false, DType::kQ5_K, "0 1", DType::kQ4_K},
           Row{FileType::kIQ3_M, false, DType::kQ4_K, kFirstEighth, DType::kIQ3_S},
           Row{FileType::kQ3_K_L, false, DType::kQ3_K, "", DType::kQ5_K},
           Row{FileType::kQ4_K_M, false, DType::kQ6_K, kMore, DType::kQ4_K},
           Row{FileType::kIQ4_NL, false, DType::kQ5_K, kFirstEighth, DType::kIQ4_NL},
           Row{FileType::kIQ4_NL, true, DType::kQ5_K, "", DType::kIQ4_NL},
           Row{FileType::kIQ4_XS, false, DType::kQ5_K, kFirstEighth, DType::kIQ4_XS},
           Row{FileType::kIQ4_XS, true, DType::kQ5_K, "", DType::kIQ4_XS},
           Row{FileType::kQ5_K_M, false, DType::kQ6_K, kMore, DType::kQ5_K},
           Row{FileType::kQ4_K_S, false, DType::kQ5_K, kFirstEighth, DType::kQ4_K},
           Row{FileType::kQ4_0, true, DType::kQ4_1, kFirstEighth, DType::kQ4_0},
           Row{FileType::kQ4_0, false, DType::kQ4_1, "", DType::kQ4_0},
           Row{FileType::kQ5_0, true, DType::kQ5_1, kFirstEighth, DType::kQ5_0},
           Row{FileType::kQ5_0, false, DType::kQ5_1, "", DType::kQ5_0},
           Row{FileType::kQ3_K_S, false, DType::kQ4_K, "", DType::kQ3_K},
           Row{FileType::kQ6_K, false, DType::kQ8_0, "", DType::kQ6_K},
       }) {
    const Types types = types_of(toy, row.file, row.with_importance);
    EXPECT_EQ(layers_with(types, toy, "ffn_down", row.special), row.layers) << info(row.file).name;
    EXPECT_EQ(middle(types, "ffn_down"), row.otherwise) << info(row.file).name;
  }
}

TEST(Recipe, DownOfFalcon) {
  const Toy falcon = Toy().architecture("falcon");
  const Types q3_m = types_of(falcon, FileType::kQ3_K_M);
  EXPECT_EQ(layers_with(q3_m, falcon, "ffn_down", DType::kQ5_K), "0 1");
  EXPECT_EQ(layers_with(q3_m, falcon, "ffn_down", DType::kQ4_K), kMore.substr(4));
  EXPECT_EQ(middle(q3_m, "ffn_down"), DType::kQ3_K);
  const Types q4_m = types_of(falcon, FileType::kQ4_K_M);
  EXPECT_EQ(layers_with(q4_m, falcon, "ffn_down", DType::kQ6_K), "0 1");
  EXPECT_EQ(layers_with(q4_m, falcon, "ffn_down", DType::kQ5_K), kMore.substr(4));
  EXPECT_EQ(middle(q4_m, "ffn_down"), DType::kQ4_K);
  EXPECT_EQ(middle(types_of(falcon, FileType::kQ3_K_L), "ffn_down"), DType::kQ4_K);
  EXPECT_EQ(front(types_of(falcon, FileType::kQ4_K_S), "ffn_down"), DType::kQ4_K);
}

TEST(Recipe, DownOfEightExperts) {
  const Toy eight = Toy().experts(8);
  const Types types = types_of(eight, FileType::kIQ3_M);
  EXPECT_EQ(layers_with(types, eight, "ffn_down_exps", DType::kQ4_K), kMore);
  EXPECT_EQ(middle(types, "ffn_down_exps"), DType::kIQ3_S);
}

TEST(Recipe, DownOfSharedExpertsCountsAsTheLayerItIsIn) {
  Toy toy = Toy().experts(64);
  auto tensors = toy.tensors();
  for (std::int64_t layer = 0; layer < 32; ++layer) {
    tensors.push_back(
        make_tensor("blk." + std::to_string(layer) + ".ffn_down_shexp.weight", {512, 64}));
  }
  const auto choices = choose_types(toy.shape, tensors, {FileType::kQ4_K_M});
  Types types;
  for (std::size_t i = 0; i < tensors.size(); ++i) types[tensors[i].name] = choices[i].type;
  EXPECT_EQ(layers_with(types, toy, "ffn_down_shexp", DType::kQ6_K), kMore);
  EXPECT_EQ(layers_with(types, toy, "ffn_down_exps", DType::kQ6_K), kMore);
}

// Rule 8.

TEST(Recipe, AttentionOutput) {
  const std::map<FileType, DType> table = {
      {FileType::kQ2_K, DType::kQ3_K},   {FileType::kIQ3_XXS, DType::kIQ3_S},
      {FileType::kQ3_K_M, DType::kQ4_K}, {FileType::kQ3_K_L, DType::kQ5_K},
      {FileType::kIQ3_M, DType::kQ4_K},  {FileType::kQ4_K_M, DType::kQ4_K},
      {FileType::kQ3_K_S, DType::kQ3_K}, {FileType::kIQ4_XS, DType::kIQ4_XS}};
  for (const auto& [file, type] : table)
    EXPECT_EQ(middle(types_of(Toy(), file), "attn_output"), type) << info(file).name;
  for (const FileType file :
       {FileType::kQ2_K, FileType::kQ3_K_S, FileType::kQ3_K_M, FileType::kQ4_K_S, FileType::kQ4_K_M,
        FileType::kIQ3_XXS, FileType::kIQ3_XS, FileType::kIQ3_S, FileType::kIQ3_M,
        FileType::kIQ4_NL, FileType::kIQ4_XS}) {
    EXPECT_EQ(middle(types_of(Toy().experts(8), file), "attn_output"), DType::kQ5_K);
  }
  EXPECT_EQ(middle(types_of(Toy().experts(8), FileType::kQ4_0), "attn_output"), DType::kQ4_0);
  EXPECT_EQ(middle(types_of(Toy().experts(8), FileType::kQ6_K), "attn_output"), DType::kQ6_K);
  const Toy falcon = Toy().architecture("falcon");
  EXPECT_EQ(middle(types_of(falcon, FileType::kQ3_K_L), "attn_output"), DType::kQ4_K);
  EXPECT_EQ(middle(types_of(falcon, FileType::kQ3_K_M), "attn_output"), DType::kQ3_K);
}

// Rule 9.

TEST(Recipe, UpAndGate) {
  const Toy toy;
  const Types types = types_of(toy, FileType::kIQ3_XS);
  for (const char* name : {"ffn_up", "ffn_gate"})
    EXPECT_EQ(layers_with(types, toy, name, DType::kIQ3_S), "0 1 2 3 28 29 30 31");
  EXPECT_EQ(middle(types, "ffn_up"), DType::kIQ3_XXS);
  EXPECT_EQ(middle(types_of(toy, FileType::kQ4_K_M), "ffn_up"), DType::kQ4_K);
}

TEST(Recipe, UniformTypesAreUniform) {
  for (const FileType file :
       {FileType::kQ8_0, FileType::kQ6_K, FileType::kQ4_1, FileType::kQ5_1, FileType::kQ5_K_S,
        FileType::kTQ2_0, FileType::kNVFP4, FileType::kQ1_0, FileType::kQ2_0}) {
    const Types types = types_of(Toy(), file);
    for (const auto& [name, type] : types) {
      if (!name.starts_with("blk.") || name.find("norm") != name.npos) continue;
      EXPECT_EQ(type, info(file).base) << info(file).name << " " << name;
    }
  }
}

// Section 5.

TEST(Recipe, RowsThatAreNotWholeBlocksGetTheNextBestType) {
  const std::map<FileType, DType> table = {
      {FileType::kQ2_K, DType::kQ4_0},      {FileType::kQ3_K_S, DType::kQ4_0},
      {FileType::kTQ1_0, DType::kQ4_0},     {FileType::kTQ2_0, DType::kQ4_0},
      {FileType::kQ2_0, DType::kQ4_0},      {FileType::kQ4_K_M, DType::kQ5_0},
      {FileType::kQ5_K_M, DType::kQ5_1},    {FileType::kQ6_K, DType::kQ8_0},
      {FileType::kIQ1_S, DType::kIQ4_NL},   {FileType::kIQ1_M, DType::kIQ4_NL},
      {FileType::kIQ2_XXS, DType::kIQ4_NL}, {FileType::kIQ2_XS, DType::kIQ4_NL},
      {FileType::kIQ2_S, DType::kIQ4_NL},   {FileType::kIQ3_XXS, DType::kIQ4_NL},
      {FileType::kIQ3_S, DType::kIQ4_NL},   {FileType::kIQ4_XS, DType::kIQ4_NL},
      {FileType::kQ1_0, DType::kF16},       {FileType::kNVFP4, DType::kF16},
      {FileType::kQ8_0, DType::kQ8_0},      {FileType::kQ4_0, DType::kQ4_0}};
  for (const auto& [file, type] : table) {
    const Toy toy = Toy().wide(96);
    EXPECT_EQ(middle(types_of(toy, file), "ffn_up"), type) << info(file).name;
    EXPECT_EQ(middle(types_of(Toy().wide(80), file), "ffn_up"), DType::kF16) << info(file).name;
  }
  const Toy toy = Toy().wide(96);
  const auto choices = choose_types(toy.shape, toy.tensors(), {FileType::kIQ2_XXS});
  EXPECT_TRUE(choices[2].replaced);
  EXPECT_FALSE(choices[2].needs_importance);  // IQ4_NL does without
}

// Section 6.

TEST(Recipe, SomeTypesNeedImportance) {
  const auto needed = [](FileType file) {
    const Toy toy;
    const auto tensors = toy.tensors();
    const auto choices = choose_types(toy.shape, tensors, {file, false, true, {}});
    std::string names;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const std::string& name = tensors[i].name;
      if (choices[i].needs_importance && (name.starts_with("blk.10.") || !name.starts_with("blk.")))
        names += name.substr(name.starts_with("blk.") ? 7 : 0) + " ";
    }
    return names;
  };
  EXPECT_EQ(needed(FileType::kIQ2_XXS),
            "attn_q.weight attn_k.weight attn_output.weight ffn_gate.weight ffn_up.weight "
            "ffn_down.weight ");
  EXPECT_EQ(needed(FileType::kIQ3_XS),
            "attn_q.weight attn_k.weight ffn_gate.weight ffn_up.weight ");
  EXPECT_EQ(needed(FileType::kQ2_K_S),
            "attn_q.weight attn_k.weight attn_v.weight attn_output.weight ffn_gate.weight "
            "ffn_up.weight ffn_down.weight ");
  EXPECT_EQ(needed(FileType::kQ2_K), "");
  EXPECT_EQ(needed(FileType::kQ4_K_M), "");
  EXPECT_EQ(needed(FileType::kIQ4_XS), "");
}

// Our own.

TEST(Recipe, ExpertsAtTwoBits) {
  Toy toy = Toy().experts(64).layers(48);
  auto tensors = toy.tensors();
  tensors.push_back(make_tensor("blk.5.ffn_up_shexp.weight", {512, 64}));
  for (const bool importance : {false, true}) {
    const auto choices =
        choose_types(toy.shape, tensors, {FileType::kQ2_EXPERTS, false, importance, {}});
    Types types;
    for (std::size_t i = 0; i < tensors.size(); ++i) types[tensors[i].name] = choices[i].type;
    EXPECT_EQ(types.at("output.weight"), DType::kQ8_0);
    EXPECT_EQ(types.at("token_embd.weight"), DType::kQ8_0);
    EXPECT_EQ(types.at("blk.5.ffn_up_shexp.weight"), DType::kQ8_0);
    EXPECT_EQ(middle(types, "attn_q"), DType::kQ8_0);
    EXPECT_EQ(middle(types, "ffn_gate_inp"), DType::kF16);
    EXPECT_EQ(middle(types, "ffn_down_exps"), DType::kQ2_K);
    EXPECT_EQ(layers_with(types, toy, "ffn_down_exps", DType::kQ3_K), "0 1 2 45 46 47");
    EXPECT_EQ(middle(types, "ffn_up_exps"), importance ? DType::kIQ2_XXS : DType::kQ2_K);
    EXPECT_EQ(front(types, "ffn_gate_exps"), importance ? DType::kIQ3_XXS : DType::kQ3_K);
  }
  EXPECT_THROW((void)types_of(Toy(), FileType::kQ2_EXPERTS), Error);
}

TEST(Recipe, PureIsOneType) {
  const Types types = types_of(Toy(), Recipe{FileType::kQ4_K_M, true, false, {}});
  for (const auto& [name, type] : types)
    EXPECT_EQ(type, name.find("norm") == name.npos ? DType::kQ4_K : DType::kF32);
  EXPECT_THROW((void)types_of(Toy(), Recipe{FileType::kCopy, true, false, {}}), Error);
}

// --tensor-type.

TEST(TypeOverrides, PatternsAreWholePartsOfNames) {
  EXPECT_TRUE(pattern_matches("ffn_down", "blk.3.ffn_down.weight"));
  EXPECT_FALSE(pattern_matches("ffn_down", "blk.3.ffn_down_exps.weight"));
  EXPECT_TRUE(pattern_matches("ffn_down*", "blk.3.ffn_down_exps.weight"));
  EXPECT_TRUE(pattern_matches("ffn_*_exps", "blk.3.ffn_down_exps.weight"));
  EXPECT_TRUE(pattern_matches("blk.1", "blk.1.attn_q.weight"));
  EXPECT_FALSE(pattern_matches("blk.1", "blk.10.attn_q.weight"));
  EXPECT_TRUE(pattern_matches("blk.1*", "blk.10.attn_q.weight"));
  EXPECT_TRUE(pattern_matches("blk.*.attn_v", "blk.10.attn_v.weight"));
  EXPECT_TRUE(pattern_matches("output.weight", "output.weight"));
  EXPECT_TRUE(pattern_matches("output", "output.weight"));
  EXPECT_FALSE(pattern_matches("output.weight", "blk.0.attn_output.weight"));
  EXPECT_TRUE(pattern_matches("*", "anything"));
  EXPECT_FALSE(pattern_matches("", "output.weight"));
  EXPECT_TRUE(pattern_matches("*a*b*", "xxaxxabx.c"));
  EXPECT_FALSE(pattern_matches("*a*b", "xxaxxabx"));
}

TEST(TypeOverrides, TheLastThatMatchesWins) {
  Recipe recipe{FileType::kQ4_K_M, false, false, {}};
  for (const char* text : {"attn_*=Q8_0", "attn_v=q6_k", "blk.3=copy", "token_embd=F32"})
    recipe.overrides.push_back(parse_type_override(text));
  const Types types = types_of(Toy(), recipe);
  EXPECT_EQ(middle(types, "attn_q"), DType::kQ8_0);
  EXPECT_EQ(middle(types, "attn_v"), DType::kQ6_K);
  EXPECT_EQ(types.at("blk.3.attn_v.weight"), DType::kF16);
  EXPECT_EQ(types.at("blk.3.ffn_up.weight"), DType::kF16);
  EXPECT_EQ(types.at("token_embd.weight"), DType::kF32);
  EXPECT_EQ(middle(types, "ffn_up"), DType::kQ4_K);
  // Rows that do not fit get the next best here, too.
  recipe.overrides = {parse_type_override("ffn_up=IQ4_XS")};
  EXPECT_EQ(middle(types_of(Toy().wide(96), recipe), "ffn_up"), DType::kIQ4_NL);
}

TEST(TypeOverrides, RefusesWhatHasNoEffect) {
  const auto error_of = [](const char* text) {
    try {
      (void)types_of(Toy(), {FileType::kQ4_K_M, false, false, {parse_type_override(text)}});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kUsage);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of("ffn_dwn=Q6_K"), "--tensor-type: the model has no tensor called 'ffn_dwn'");
  EXPECT_NE(error_of("attn_norm=Q6_K").find("no weights of another type"), std::string::npos);
  EXPECT_NE(error_of("ffn_down").find("not PATTERN=TYPE"), std::string::npos);
  EXPECT_NE(error_of("=Q6_K").find("not PATTERN=TYPE"), std::string::npos);
  EXPECT_NE(error_of("ffn_down=Q9").find("'Q9' is not a type that can be made"), std::string::npos);
  EXPECT_NE(error_of("ffn_down=Q8_K").find("'Q8_K' is not"), std::string::npos);
  EXPECT_NE(error_of("ffn_down=I32").find("'I32' is not"), std::string::npos);
}

TEST(ModelShape, IsReadFromMetadata) {
  gguf::Writer writer;
  writer.set("general.architecture", "lfm2moe");
  writer.set("lfm2moe.block_count", 24u);
  writer.set("lfm2moe.attention.head_count", 32u);
  writer.set_array("lfm2moe.attention.head_count_kv", std::vector<std::int32_t>{0, 0, 8, 0});
  writer.set("lfm2moe.expert_count", 32u);
  const std::string bytes = writer.bytes();
  const gguf::File file = gguf::File::from_bytes(std::as_bytes(std::span(bytes)));
  const ModelShape shape = model_shape(file.metadata());
  EXPECT_EQ(shape.architecture, "lfm2moe");
  EXPECT_EQ(shape.layers, 24);
  EXPECT_EQ(shape.heads, 32);
  EXPECT_EQ(shape.kv_heads, 8);
  EXPECT_EQ(shape.experts, 32);
}

}  // namespace
}  // namespace hearth::model::quantize
