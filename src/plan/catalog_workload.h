// From a catalog's numbers to bytes and multiply-adds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plan/catalog.h"
#include "plan/uses.h"
#include "plan/workload.h"

namespace hearth::plan {

/// One format a model can be had in.
struct Quantization {
  std::string name;
  double bytes = 0;
  bool exact = false;   // false: rounded, or worked out
  bool listed = false;  // the catalog knows the file
  double bits = 0;      // per weight
  double loss = 0;      // percent of quality
};

/// The formats of a model, best first: those the catalog lists, and the usual ones of repositories
/// (their size worked out from the bits of body and output matrix); of a model that was published
/// in a format of few bits only that one. Empty when the number of parameters is unknown and no
/// file is listed.
[[nodiscard]] std::vector<Quantization> quantizations(const CatalogModel& model, const Uses& uses);

/// Bytes and multiply-adds of a model in a format. Matrices of layers are taken to have equal bits.
/// Unknown shapes leave KV and attention at 0 (has_kv_numbers() tells).
[[nodiscard]] Workload catalog_workload(const CatalogModel& model, const Quantization& quant,
                                        const Uses& uses);

/// Whether the catalog knows what keys and values take.
[[nodiscard]] bool has_kv_numbers(const CatalogModel& model) noexcept;

/// Parameters that one token passes through, from the shape where it is known, else as published.
[[nodiscard]] double active_parameters(const CatalogModel& model) noexcept;

}  // namespace hearth::plan
