// Attention over keys and values of which a part is on disk.
#include <algorithm>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::AttendArguments;
using state::PagePart;
using state::PageStream;
using tensor::Arena;
using tensor::DType;
using tensor::Tensor;

namespace {

/// Rows [first, first + count) of what `a` is about.
AttendArguments rows_of(const AttendArguments& a, std::int64_t first, std::int64_t count) {
  AttendArguments part = a;
  for (Tensor* tensor : {&part.q, &part.out, &part.row_begin, &part.row_end,
                         &part.rows.row_sequence, &part.rows.row_cell, &part.part.running}) {
    *tensor = tensor->rows(first, count);
  }
  return part;
}

/// All parts of one sequence, whose rows `a` is about.
void attend_parts(Pass& pass, std::size_t memory, std::size_t group, std::size_t segment,
                  AttendArguments a) {
  PageStream& stream = *pass.memory.stream();
  a.part.first = true;
  stream.for_parts(segment, group, [&](const PagePart& part, bool last) {
    AttendArguments each = a;
    each.part.begin = part.first * state::kPageCells;
    each.part.end = part.end * state::kPageCells;
    each.part.last = last;
    if (part.staged) {
      const PageStream::Slot slot = stream.take(memory, part);
      (a.coded_keys ? each.coded_keys : each.keys) = slot.keys;
      (a.coded_keys ? each.coded_values : each.values) = slot.values;
    }
    pass.backend.attend(each);
    if (part.staged) stream.release();
    a.part.first = false;
  });
}

}  // namespace

void attend_memory(Pass& pass, spec::MemoryIndex memory, std::int64_t first_row,
                   const AttendArguments& a) {
  const std::optional<std::size_t> framed = memory < 0 ? std::nullopt : pass.memory.framed(memory);
  if (!framed) {
    pass.backend.attend(a);
    return;
  }
  const Arena::Scope scope(pass.arena);
  AttendArguments in_parts = a;
  // Also where nothing is read: a plan that was made with an empty sequence holds for long ones.
  in_parts.part.running =
      pass.arena.allocate(DType::kF32, {a.q.shape[0], a.q.shape[1], 2 + a.out.shape[2]});
  const PageStream& stream = *pass.memory.stream();
  const std::size_t group = pass.memory.group_of(memory);
  if (!stream.staged(group)) {
    pass.backend.attend(a);
    return;
  }
  for (std::size_t i = 0; i < stream.segments().size(); ++i) {
    const PageStream::Segment& segment = stream.segments()[i];
    const std::int64_t begin = std::max(segment.begin, first_row);
    const std::int64_t end = std::min(segment.end, first_row + a.q.shape[0]);
    if (begin >= end) continue;
    attend_parts(pass, *framed, group, i, rows_of(in_parts, begin - first_row, end - begin));
  }
}

}  // namespace hearth::model
