// What a stranger sends to the server: heads and bodies, cut anywhere.
#include "serve/http/message.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using hearth::serve::BodyDecoder;
using hearth::serve::ParsedHead;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t step = data[0] % 64 + 1;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::size_t searched = 0, fresh = 0;
  std::optional<std::size_t> end;
  for (std::size_t cut = step; !end && cut < input.size() + step; cut += step)
    end = hearth::serve::find_head_end(input.substr(0, cut), searched);
  // The same end is found whether the bytes come at once or in pieces.
  if (hearth::serve::find_head_end(input, fresh) != end) std::abort();
  if (!end) return 0;
  ParsedHead head;
  if (hearth::serve::parse_head(input.substr(0, *end), {}, head)) return 0;
  for (const std::string& segment : head.request.segments) {
    if (segment.empty() || segment == "." || segment == ".." ||
        segment.find('\0') != std::string::npos)
      std::abort();
  }
  BodyDecoder decoder(head.framing);
  std::string body;
  std::string_view rest = input.substr(*end);
  while (!rest.empty() && !decoder.done()) {
    std::string_view piece = rest.substr(0, step);
    const std::size_t before = piece.size();
    if (decoder.decode(piece, 1000, body)) return 0;
    if (piece.size() == before) std::abort();  // no progress
    rest.remove_prefix(before - piece.size());
  }
  if (body.size() > input.size()) std::abort();
  return 0;
}
