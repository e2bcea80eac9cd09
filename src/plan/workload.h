// What running a model asks of a machine: bytes and multiply-adds, however they are known (counted
// by running the layer code over a header, or computed from a catalog's numbers). Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace hearth::plan {

/// A format of keys and values: factors of the bytes in F16, and bytes that one sequence takes
/// whatever its context (pages that are not coded yet).
struct KvCost {
  double per_token = 1, window = 1, fixed = 0;
};

struct Workload {
  std::string model, quant;
  /// "counted": from a header, by the engine's own layer code; "computed": from published numbers.
  std::string source;
  double parameters = 0, active_parameters = 0;
  bool mixture = false;
  int layers = 0;
  /// Of `layers`, those that keep a state instead of keys and values and are as much work as
  /// attention (not short convolutions). Half a layer where blocks hold less than a whole one.
  double recurrent_layers = 0;
  /// How many plain transformer layers' worth of small operations decoding a token takes, where
  /// that differs from layers + recurrent_layers; 0: it does not.
  double steps = 0;
  std::int64_t trained_context = 0;

  double weight_bytes = 0;         // of the file's tensors
  double active_bytes = 0;         // of them, what decoding one token reads
  double expert_bytes = 0;         // of weight_bytes: routed experts
  double active_expert_bytes = 0;  // of active_bytes
  /// Bytes that decoding one token reads (active_bytes) and multiply-adds of one prompt token, by
  /// the format of the weights. Empty where the format is not known.
  std::map<std::string, double> bytes_by_format, multiply_adds_by_format;
  /// Multiply-adds by weights for one token of a prompt.
  double multiply_adds = 0;

  /// Keys and values, in bytes of KV format F16: added by every token for memories without window,
  /// and of memories that keep a window, how much a token adds until the window is full.
  double kv_bytes_per_token = 0;
  double window_bytes_per_token = 0;
  std::int64_t window = 0;
  /// By the name of the format (spec::KvFormat::name); of counted workloads.
  std::map<std::string, KvCost> kv_costs;
  double state_bytes = 0;  // recurrent state of one sequence
  /// Multiply-adds of attention for one token, per cell it looks at (all layers without window; the
  /// same of windowed layers).
  double attention_multiply_adds = 0, window_multiply_adds = 0;

  // The rest is exact in counted workloads and guessed in computed ones (see catalog_workload.cpp).
  double vocabulary = 0;  // logits of a token
  /// Of multiply_adds_by_format, by routed experts; and which share of a prompt's rows meets one of
  /// them.
  std::map<std::string, double> expert_multiply_adds_by_format;
  double expert_share = 0;
  /// Of bytes_by_format, what a prompt reads only once, for its last token: the output matrix.
  std::map<std::string, double> last_bytes_by_format;
  /// Operations of decoding one token: all, products with weights, attentions.
  double operations = 0, products = 0, attentions = 0;
  /// For one token of a prompt: values that operations besides products write, that are put into
  /// the KV memory, that attention results in; multiply-adds of recurrent mixers.
  double row_values = 0, stored_values = 0, attention_values = 0, scan_multiply_adds = 0;
  /// Bytes of KV format F16 that decoding one token reads per cell it looks at; like
  /// attention_multiply_adds. Not kv_bytes_per_token where layers share a memory.
  double kv_read_bytes = 0, window_read_bytes = 0;
  /// What the engine allocates besides KV: weights in the layout its kernels want, recurrent state
  /// (of one sequence, snapshots included), buffers for passes of 512 rows and logits.
  double packed_bytes = 0, state_memory_bytes = 0, buffer_bytes = 0;
};

}  // namespace hearth::plan
