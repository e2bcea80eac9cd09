#include "model/families/recurrent_mixers.h"

#include "support/error.h"

namespace hearth::model {

using namespace spec;

namespace {

// More than any model has; products of two such sizes cannot overflow.
constexpr std::int64_t kMostChannels = std::int64_t{1} << 24;

[[noreturn]] void throw_uneven(const FamilyReader& reader, const std::string& problem) {
  throw Error(
      "the state-space layers of this '" + printable(reader.architecture()) + "' model " + problem,
      "the file is damaged or of an unknown kind");
}

}  // namespace

std::int64_t conv_taps(const FamilyReader& reader, std::string_view name) {
  return reader.integer_in(name, 2, kMaxTaps);
}

std::string any_vector(const FamilyReader& reader, const std::string& name, std::int64_t size) {
  const gguf::TensorInfo* tensor = reader.file().find_tensor(name);
  const bool turned = tensor != nullptr && tensor->shape[0] == 1;
  return turned ? reader.vector(name, 1, size) : reader.vector(name, size);
}

Mamba1 mamba1(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  Mamba1 m;
  m.conv_taps = conv_taps(reader, "ssm.conv_kernel");
  m.inner = reader.integer_in("ssm.inner_size", 1, kMostChannels);
  m.state = reader.integer_in("ssm.state_size", 1, kMaxStateSize);
  m.dt_rank = reader.integer_in("ssm.time_step_rank", 1, kMostChannels);
  m.in = reader.linear(name("ssm_in"), reader.width(), 2 * m.inner);
  m.conv = reader.vector(name("ssm_conv1d.weight"), m.conv_taps, m.inner);
  m.conv_bias = reader.vector(name("ssm_conv1d.bias"), m.inner);
  m.x = reader.linear(name("ssm_x"), m.inner, m.dt_rank + 2 * m.state);
  m.dt = reader.linear(name("ssm_dt"), m.dt_rank, m.inner);
  m.a = reader.vector(name("ssm_a"), m.state, m.inner);
  m.d = any_vector(reader, name("ssm_d"), m.inner);
  m.output = reader.linear(name("ssm_out"), m.inner, reader.width());
  return m;
}

Mamba2 mamba2(const FamilyReader& reader, std::int64_t layer) {
  const auto name = [layer](std::string_view part) {
    return FamilyReader::layer_name(layer, part);
  };
  Mamba2 m;
  m.conv_taps = conv_taps(reader, "ssm.conv_kernel");
  m.inner = reader.integer_in("ssm.inner_size", 1, kMostChannels);
  m.state = reader.integer_in("ssm.state_size", 1, kMaxStateSize);
  m.heads = reader.integer_in("ssm.time_step_rank", 1, m.inner);
  m.groups = reader.integer_in("ssm.group_count", 1, m.heads);
  if (m.inner % m.heads != 0 || m.heads % m.groups != 0) {
    throw_uneven(reader, "do not divide evenly into heads and groups");
  }
  if (m.inner / m.heads > kMaxStateSize) throw_uneven(reader, "have heads that are too large");
  const std::int64_t convolved = m.inner + 2 * m.groups * m.state;
  m.in = reader.linear(name("ssm_in"), reader.width(), m.inner + convolved + m.heads);
  m.conv = reader.vector(name("ssm_conv1d.weight"), m.conv_taps, convolved);
  if (reader.has(name("ssm_conv1d.bias"))) {
    m.conv_bias = reader.vector(name("ssm_conv1d.bias"), convolved);
  }
  m.dt_bias = any_vector(reader, name("ssm_dt.bias"), m.heads);
  m.a = any_vector(reader, name("ssm_a"), m.heads);
  m.d = any_vector(reader, name("ssm_d"), m.heads);
  if (reader.has(name("ssm_norm.weight"))) {
    m.norm = reader.norm(NormKind::kRms, name("ssm_norm"), m.inner / m.groups, m.groups);
  }
  m.output = reader.linear(name("ssm_out"), m.inner, reader.width());
  return m;
}

}  // namespace hearth::model
