// Makes adapters with random numbers, and the models that they are equal to when merged.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "golden_case.h"
#include "model/loaded_model.h"
#include "quant/quant.h"
#include "shared_dir.h"

namespace hearth::testing {

inline std::vector<float> decoded_tensor(const gguf::File& file, const gguf::TensorInfo& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  quant::decode(tensor.dtype, file.data(tensor), values);
  return values;
}

/// The change of one tensor: A [matrices][rank][in] and B [matrices][out][rank]; of an embedding
/// table, A [tokens][rank] and B [width][rank].
struct Change {
  std::int64_t in = 0, out = 0, rank = 0, matrices = 1;
  bool embedding = false;
  std::vector<float> a, b;

  /// k B A in the order of the tensor's values.
  [[nodiscard]] std::vector<float> delta(double k) const {
    std::vector<float> result(static_cast<std::size_t>(in * out * matrices));
    for (std::int64_t m = 0; m < matrices; ++m) {
      for (std::int64_t o = 0; o < out; ++o) {
        for (std::int64_t i = 0; i < in; ++i) {
          double sum = 0;
          for (std::int64_t r = 0; r < rank; ++r) {
            sum += embedding
                       ? double{at(b, i * rank + r)} * at(a, o * rank + r)
                       : double{at(b, (m * out + o) * rank + r)} * at(a, (m * rank + r) * in + i);
          }
          result[static_cast<std::size_t>((m * out + o) * in + i)] = static_cast<float>(k * sum);
        }
      }
    }
    return result;
  }
  static float at(const std::vector<float>& values, std::int64_t index) {
    return values[static_cast<std::size_t>(index)];
  }
};

using Changes = std::map<std::string, Change>;

inline std::vector<float> random_floats(std::int64_t count, std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-0.15F, 0.15F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = uniform(random);
  return values;
}

inline Change random_change(std::int64_t in, std::int64_t out, std::int64_t matrices,
                            std::int64_t rank, bool embedding, std::mt19937& random) {
  Change change{in, out, rank, matrices, embedding, {}, {}};
  change.a = random_floats(rank * (embedding ? out : in) * matrices, random);
  change.b = random_floats(rank * (embedding ? in : out) * matrices, random);
  return change;
}

/// Changes of all tensors of `file` whose names contain one of `parts`.
inline Changes random_changes(const gguf::File& file, const std::set<std::string>& parts,
                              std::int64_t rank, unsigned seed = 1) {
  std::mt19937 random(seed);
  Changes changes;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    const bool wanted = std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
      return tensor.name.find(part) != std::string::npos;
    });
    if (!wanted || tensor.dimensions < 2) continue;
    changes.emplace(tensor.name, random_change(tensor.shape[0], tensor.shape[1], tensor.shape[2],
                                               rank, tensor.name == "token_embd.weight", random));
  }
  return changes;
}

inline std::vector<std::int64_t> gguf_shape(std::int64_t columns, std::int64_t rows,
                                            std::int64_t matrices) {
  return matrices == 1 ? std::vector<std::int64_t>{columns, rows}
                       : std::vector<std::int64_t>{columns, rows, matrices};
}

/// The keys of a GGUF adapter.
inline gguf::Writer adapter_writer(std::string_view architecture, float alpha) {
  gguf::Writer writer;
  writer.set("general.type", "adapter");
  writer.set("general.architecture", architecture);
  writer.set("adapter.type", "lora");
  writer.set("adapter.lora.alpha", alpha);
  return writer;
}

inline void add_changes(gguf::Writer& writer, const Changes& changes) {
  for (const auto& [name, c] : changes) {
    if (c.embedding) {
      writer.add_floats(name + ".lora_a", {c.rank, c.out}, c.a);
      writer.add_floats(name + ".lora_b", {c.rank, c.in}, c.b);
    } else {
      writer.add_floats(name + ".lora_a", gguf_shape(c.in, c.rank, c.matrices), c.a);
      writer.add_floats(name + ".lora_b", gguf_shape(c.rank, c.out, c.matrices), c.b);
    }
  }
}

inline void write_adapter(const std::filesystem::path& path, const gguf::File& model, float alpha,
                          const Changes& changes) {
  gguf::Writer writer =
      adapter_writer(model.metadata().get_string("general.architecture").value(), alpha);
  add_changes(writer, changes);
  writer.write(path);
}

/// The model with W + sum k B A in F32 for every change. `rename`: tensors that are written under
/// another name besides (a tied output matrix).
inline void write_merged(const std::filesystem::path& path, const gguf::File& model,
                         const std::vector<std::pair<Changes, double>>& merged,
                         const std::map<std::string, std::string>& also = {}) {
  gguf::Writer writer;
  writer.copy(model.metadata());
  const auto add = [&](const gguf::TensorInfo& tensor, const std::string& name) {
    const std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.dimensions);
    bool changed = false;
    std::vector<float> values;
    for (const auto& [changes, k] : merged) {
      const auto found = changes.find(name);
      if (found == changes.end()) continue;
      if (!changed) values = decoded_tensor(model, tensor);
      changed = true;
      const std::vector<float> delta = found->second.delta(k);
      ASSERT_EQ(delta.size(), values.size());
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += delta[i];
    }
    if (changed) {
      writer.add_floats(name, shape, values);
    } else {
      writer.add_tensor(name, tensor.dtype, shape, model.data(tensor));
    }
  };
  for (const gguf::TensorInfo& tensor : model.tensors()) {
    add(tensor, tensor.name);
    if (also.contains(tensor.name)) add(tensor, also.at(tensor.name));
  }
  writer.write(path);
}

/// A loaded model in exact arithmetic whose passes give the logits of all their rows.
inline std::unique_ptr<model::LoadedModel> load_exactly(const std::filesystem::path& path,
                                                        bool exact = true) {
  spec::Setup setup;
  setup.model = path;
  setup.context = 64;
  setup.sequences = 2;
  setup.threads = 2;
  setup.exact = exact;
  setup.kv_type = tensor::DType::kF32;
  setup.batch_rows = 16;
  return model::LoadedModel::load(setup, {}, {.logit_rows = 16});
}

inline const std::vector<std::int32_t> kTokens = {1, 17, 5, 99, 42, 8, 23, 64, 3, 71, 12};

/// Logits of kTokens: most in one pass, the last three one by one.
inline std::vector<float> logits_of(model::LoadedModel& model,
                                    const model::AdapterSet* adapters = nullptr) {
  const auto sequence = model.new_sequence();
  std::vector<float> all;
  for (std::size_t begin = 0; begin < kTokens.size();) {
    const std::size_t count = begin == 0 ? kTokens.size() - 3 : 1;
    std::vector<model::BatchRow> rows;
    for (std::size_t i = begin; i < begin + count; ++i)
      rows.push_back({.sequence = sequence.get(), .token = kTokens[i], .wants_logits = true});
    const std::span<const float> logits = model.run(rows, adapters);
    all.insert(all.end(), logits.begin(), logits.end());
    begin += count;
  }
  return all;
}

}  // namespace hearth::testing
