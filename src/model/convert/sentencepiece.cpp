#include "model/convert/sentencepiece.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "support/error.h"
#include "support/utf8.h"

namespace hearth::model::convert {
namespace {

constexpr std::size_t kMaxPieces = std::size_t{1} << 24;

/// One field of a message: its number and its value (the encoding guide of protocol buffers).
struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  // varints and fixed-width numbers
  std::string_view bytes;   // length-delimited fields
  int wire = 0;
};

class MessageReader {
 public:
  MessageReader(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(&name) {}

  /// The next field, or nothing at the end.
  std::optional<Field> next() {
    if (bytes_.empty()) return std::nullopt;
    Field field;
    const std::uint64_t tag = varint();
    field.number = tag >> 3;
    field.wire = static_cast<int>(tag & 7);
    switch (field.wire) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed<std::uint64_t>();
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed<std::uint32_t>();
        break;
      default:
        fail("has a field of an unknown kind");
    }
    if (field.number == 0) fail("has a field without a number");
    return field;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("'{}' {}", printable(*name_, 300), what),
                "it is no SentencePiece model, or damaged: fetch it again");
  }

 private:
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size()) fail("ends in the middle of a field");
    const std::string_view taken = bytes_.substr(0, static_cast<std::size_t>(count));
    bytes_.remove_prefix(taken.size());
    return taken;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    fail("has a number that does not end");
  }

  template <class Number>
  Number fixed() {
    Number value;
    std::memcpy(&value, take(sizeof(value)).data(), sizeof(value));
    return value;
  }

  std::string_view bytes_;
  const std::string* name_;
};

SentencePiece parse_piece(std::string_view bytes, const std::string& name) {
  SentencePiece piece;
  MessageReader reader(bytes, name);
  while (const std::optional<Field> field = reader.next()) {
    if (field->number == 1 && field->wire == 2) {
      piece.text = field->bytes;
    } else if (field->number == 2 && field->wire == 5) {
      const auto bits = static_cast<std::uint32_t>(field->value);
      std::memcpy(&piece.score, &bits, sizeof(bits));
    } else if (field->number == 3 && field->wire == 0) {
      if (field->value < 1 || field->value > 6) reader.fail("has a piece of an unknown type");
      piece.type = static_cast<std::int32_t>(field->value);
    }
  }
  if (std::isnan(piece.score)) reader.fail("has a piece whose score is not a number");
  if (find_invalid_utf8(piece.text) != std::string_view::npos)
    reader.fail("has a piece that is not UTF-8");
  return piece;
}

void parse_trainer(std::string_view bytes, const std::string& name, SentencePieceModel& model) {
  MessageReader reader(bytes, name);
  while (const std::optional<Field> field = reader.next()) {
    if (field->number != 3 || field->wire != 0) continue;  // model_type
    if (field->value < 1 || field->value > 4) reader.fail("is of an unknown model_type");
    model.kind = static_cast<SentencePieceModel::Kind>(field->value);
  }
}

void parse_normalizer(std::string_view bytes, const std::string& name, SentencePieceModel& model) {
  MessageReader reader(bytes, name);
  while (const std::optional<Field> field = reader.next()) {
    if (field->number == 2 && field->wire == 2) model.precompiled_charsmap = field->bytes;
    if (field->number == 3 && field->wire == 0) model.add_dummy_prefix = field->value != 0;
    if (field->number == 4 && field->wire == 0) model.remove_extra_whitespaces = field->value != 0;
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view bytes, const std::string& name) {
  SentencePieceModel model;
  MessageReader reader(bytes, name);
  while (const std::optional<Field> field = reader.next()) {
    if (field->wire != 2) continue;
    if (field->number == 1) {
      if (model.pieces.size() == kMaxPieces) reader.fail("has too many pieces");
      model.pieces.push_back(parse_piece(field->bytes, name));
    } else if (field->number == 2) {
      parse_trainer(field->bytes, name, model);
    } else if (field->number == 3) {
      parse_normalizer(field->bytes, name, model);
    }
  }
  if (model.pieces.empty()) reader.fail("has no pieces");
  return model;
}

}  // namespace hearth::model::convert
