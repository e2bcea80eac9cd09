// What the hub reads from files and servers: references, manifests, notes of downloads, lists of
// repositories, and header fields. The first byte picks which. Whatever the bytes: an Error, or
// something that is written and read again as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "hub/huggingface.h"
#include "hub/manifest.h"
#include "hub/part_file.h"
#include "hub/reference.h"
#include "hub/transfer.h"
#include "support/error.h"

namespace {

using namespace hearth::hub;

void require(bool condition) {
  if (!condition) std::abort();
}

void read_reference(std::string_view text) {
  const Reference reference = parse_reference(text);
  if (std::holds_alternative<FileReference>(reference)) return;
  const std::string full = to_text(reference);
  require(to_text(parse_reference(full)) == full);
}

void read_manifest(std::string_view text) {
  const Manifest manifest = parse_manifest(text, "fuzz");
  require(is_safe_name(manifest.name));
  const std::string again = to_text(manifest);
  require(to_text(parse_manifest(again, "fuzz")) == again);
}

void read_notes(std::string_view text) {
  const PartNotes notes = parse_part_notes(text, "fuzz");
  require(notes.done_bytes() <= notes.size);
  require(parse_part_notes(to_text(notes), "fuzz").done == notes.done);
}

void read_list(std::string_view text) {
  std::vector<RemoteFile> files;
  read_tree(text, files);
  for (const Candidate& candidate : group_candidates(files)) require(!candidate.files.empty());
}

void read_fields(std::string_view text) {
  if (const auto range = parse_content_range(text))
    require(range->begin < range->end && range->end <= range->total);
  require(parse_retry_after(std::string(text), 0).count() >= 0);
  const std::string name = safe_name(text);
  require(name.empty() || is_safe_name(name));
  (void)quant_of_file_name(text);
  (void)split_place(text);
  (void)origin_of(std::string(text.substr(0, text.find('\0'))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr void (*kReaders[])(std::string_view) = {read_reference, read_manifest, read_notes,
                                                    read_list, read_fields};
  try {
    kReaders[data[0] % 5](text);
  } catch (const hearth::Error&) {
  }
  return 0;
}
