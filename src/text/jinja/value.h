// The values of a template: Python's types as far as templates can meet them. Strings keep, per run
// of bytes, whether the template or the data wrote them (text::Origin), through every operation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/bigint.h"
#include "text/prompt.h"

namespace hearth::text::jinja {

class Interpreter;
class Object;
class Value;

/// Counts the bytes of one rendering's values and frees what they hold at its end, cycles included.
/// Must outlive the values made with it. Not thread-safe.
class Heap {
 public:
  explicit Heap(std::size_t limit);
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  ~Heap();

  /// Throws std::length_error when the limit would be exceeded.
  void charge(std::size_t bytes);
  void release(std::size_t bytes) noexcept { live_ -= bytes; }
  /// Throws like charge() if `bytes` more would not fit.
  void require(std::size_t bytes) const;
  /// Destroys `object` without recursion, however deeply what it refers to is nested.
  void bury(std::shared_ptr<Object>&& object) noexcept;

 private:
  friend class Container;
  std::size_t limit_;
  std::size_t live_ = 0;
  bool digging_ = false;
  std::vector<std::shared_ptr<Object>> graveyard_;
  class Container* first_ = nullptr;
};

/// Anything a Value refers to. `heap` is null for constants that belong to the parsed template.
class Object {
 public:
  explicit Object(Heap* heap) : heap_(heap) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object();

  [[nodiscard]] Heap* heap() const noexcept { return heap_; }
  /// Accounts for `bytes` in all. Throws std::length_error at the heap's limit.
  void set_size(std::size_t bytes);
  /// Whether this may refer to other objects.
  [[nodiscard]] bool nests() const noexcept { return nests_; }

 protected:
  bool nests_ = false;

 private:
  Heap* heap_;
  std::size_t size_ = 0;
};

/// A shared pointer whose last copy hands objects that may be nested to the heap, which destroys
/// them one by one.
class Reference {
 public:
  Reference() = default;
  explicit Reference(std::shared_ptr<Object> object) : object_(std::move(object)) {}
  Reference(const Reference&) = default;
  Reference(Reference&&) noexcept = default;
  Reference& operator=(Reference other) noexcept {
    object_.swap(other.object_);
    return *this;
  }
  ~Reference() {
    if (object_ != nullptr && object_->nests() && object_.use_count() == 1) {
      object_->heap()->bury(std::move(object_));
    }
  }
  [[nodiscard]] const std::shared_ptr<Object>& get() const noexcept { return object_; }

 private:
  std::shared_ptr<Object> object_;
};

/// A string. `runs` partitions `bytes` (well-formed UTF-8): run i ends at runs[i].end; adjacent
/// runs differ in origin.
class String final : public Object {
 public:
  struct Run {
    std::size_t end;
    Origin origin;
  };

  String(Heap* heap, std::string text, std::vector<Run> text_runs, bool is_markup);
  String(Heap* heap, std::string text, Origin origin);

  /// Number of code points.
  [[nodiscard]] std::size_t length() const noexcept { return length_; }
  [[nodiscard]] bool ascii() const noexcept { return length_ == bytes.size(); }
  /// Byte offset of code point `index` (0..length()).
  [[nodiscard]] std::size_t offset_of(std::size_t index) const noexcept;
  /// Code point index of byte offset `offset`.
  [[nodiscard]] std::size_t index_of(std::size_t offset) const noexcept;
  [[nodiscard]] Origin origin_at(std::size_t offset) const noexcept;

  std::string bytes;
  std::vector<Run> runs;
  /// markupsafe.Markup: text that is already escaped.
  bool markup = false;

 private:
  std::size_t length_;
};
using StringPtr = std::shared_ptr<const String>;

enum class Kind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kBigInt,
  kString,
  kBytes,
  kList,
  kTuple,
  kDict,
  kView,
  kRange,
  kNamespace,
  kGenerator,
  kFunction,
  kMacro,
  kLoop,
  kCycler,
};

/// A reference to a value (Python semantics: copies share lists and dicts). Values other than
/// strings have one origin: that of what they were computed from.
class Value {
 public:
  Value() = default;  // undefined, without explanation
  static Value none(Origin origin = Origin::kTemplate) { return Value(Kind::kNone, origin); }
  static Value boolean(bool value, Origin origin = Origin::kTemplate);
  static Value integer(std::int64_t value, Origin origin = Origin::kTemplate);
  static Value real(double value, Origin origin = Origin::kTemplate);
  template <typename T>
  static Value object(Kind kind, std::shared_ptr<T> object, Origin origin = Origin::kTemplate) {
    Value value(kind, origin);
    value.object_ = Reference(std::const_pointer_cast<std::remove_const_t<T>>(std::move(object)));
    return value;
  }
  static Value string(StringPtr string) { return object(Kind::kString, std::move(string)); }

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] Origin origin() const noexcept { return origin_; }
  void set_origin(Origin origin) noexcept { origin_ = origin; }
  [[nodiscard]] bool is(Kind kind) const noexcept { return kind_ == kind; }
  [[nodiscard]] bool is_undefined() const noexcept { return kind_ == Kind::kUndefined; }
  [[nodiscard]] bool is_none() const noexcept { return kind_ == Kind::kNone; }
  [[nodiscard]] bool is_string() const noexcept { return kind_ == Kind::kString; }
  /// bool, int or big int, as Python's int.
  [[nodiscard]] bool is_integral() const noexcept {
    return kind_ == Kind::kInt || kind_ == Kind::kBool || kind_ == Kind::kBigInt;
  }
  [[nodiscard]] bool is_number() const noexcept { return is_integral() || kind_ == Kind::kFloat; }
  [[nodiscard]] bool is_sequence() const noexcept {
    return kind_ == Kind::kList || kind_ == Kind::kTuple;
  }

  [[nodiscard]] bool as_bool() const noexcept { return integer_ != 0; }    // kBool
  [[nodiscard]] std::int64_t as_int() const noexcept { return integer_; }  // kInt, kBool
  [[nodiscard]] double as_float() const noexcept { return real_; }         // kFloat
  [[nodiscard]] const String& str() const noexcept {
    return static_cast<const String&>(*object_.get());
  }
  [[nodiscard]] StringPtr string_ptr() const {
    return std::static_pointer_cast<const String>(object_.get());
  }
  /// The object, whose type the kind tells.
  template <typename T>
  [[nodiscard]] T& as() const noexcept {
    return static_cast<T&>(*object_.get());
  }
  template <typename T>
  [[nodiscard]] std::shared_ptr<T> ptr() const {
    return std::static_pointer_cast<T>(object_.get());
  }
  [[nodiscard]] const Object* identity() const noexcept { return object_.get().get(); }

 private:
  Value(Kind kind, Origin origin) : kind_(kind), origin_(origin) {}

  Kind kind_ = Kind::kUndefined;
  Origin origin_ = Origin::kTemplate;
  union {
    std::int64_t integer_ = 0;
    double real_;
  };
  Reference object_;
};

/// What an undefined value says when it is used: "'x' is undefined".
class UndefinedInfo final : public Object {
 public:
  UndefinedInfo(Heap* heap, std::string text) : Object(heap), message(std::move(text)) {}
  std::string message;
};

class BigIntObject final : public Object {
 public:
  BigIntObject(Heap* heap, BigInt number) : Object(heap), value(std::move(number)) {}
  BigInt value;
};

class Bytes final : public Object {
 public:
  Bytes(Heap* heap, std::string content) : Object(heap), bytes(std::move(content)) {
    set_size(bytes.size());
  }
  std::string bytes;
};

class Range final : public Object {
 public:
  Range(Heap* heap, std::int64_t first, std::int64_t last, std::int64_t stride);
  /// Element `index`; wraps around (only past the end) instead of overflowing.
  [[nodiscard]] std::int64_t at(std::int64_t index) const noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(start) +
                                     static_cast<std::uint64_t>(index) *
                                         static_cast<std::uint64_t>(step));
  }
  std::int64_t start, stop, step, length;
};

/// An object that may be part of a reference cycle; the heap knows all of them.
class Container : public Object, public std::enable_shared_from_this<Container> {
 public:
  explicit Container(Heap& heap);
  ~Container() override;
  /// Lets go of everything this refers to.
  virtual void clear() noexcept = 0;

 private:
  friend class Heap;
  Container* previous_ = nullptr;
  Container* next_ = nullptr;
};

/// A list or a tuple.
class List final : public Container {
 public:
  explicit List(Heap& heap) : Container(heap) {}
  ~List() override { clear(); }
  void clear() noexcept override;
  void push(Value value);
  /// Accounts for the present size after a change.
  void resized() { set_size(items.capacity() * sizeof(Value)); }
  std::vector<Value> items;
  /// A tuple made by groupby: its elements are also the attributes `grouper` and `list`.
  bool group = false;
};

/// A dict in insertion order. Keys must be hashable (see dict_key).
class Dict final : public Container {
 public:
  struct Entry {
    Value key;
    Value value;
  };
  explicit Dict(Heap& heap) : Container(heap) {}
  ~Dict() override { clear(); }
  void clear() noexcept override;
  [[nodiscard]] const Value* find(const Value& key) const;
  [[nodiscard]] const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
  /// Removes the entry; false when absent.
  bool erase(const Value& key);
  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  static constexpr std::size_t kIndexFrom = 8;
  [[nodiscard]] std::size_t position(const Value& key) const;
  void reindex();

  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t>
      index_;  // by dict_key, once there are kIndexFrom entries
  std::size_t key_bytes_ = 0;
};

/// A text that is equal for equal keys (1, 1.0 and true are) and different otherwise. Throws
/// std::invalid_argument naming the type when `key` is not hashable.
[[nodiscard]] std::string dict_key(const Value& key);

/// dict.keys(), dict.values(), dict.items(): live views.
class View final : public Container {
 public:
  enum class What : std::uint8_t { kKeys, kValues, kItems };
  View(Heap& heap, Value viewed, What which)
      : Container(heap), dict(std::move(viewed)), what(which) {}
  void clear() noexcept override { dict = Value(); }
  Value dict;
  What what;
};

/// namespace(...): the one kind of object whose attributes templates may set.
class Namespace final : public Container {
 public:
  explicit Namespace(Heap& heap, std::shared_ptr<Dict> dict)
      : Container(heap), attributes(std::move(dict)) {}
  void clear() noexcept override { attributes.reset(); }
  std::shared_ptr<Dict> attributes;
};

/// A lazy, one-time sequence, as filters like map return.
class Generator final : public Container {
 public:
  using Next = std::function<bool(Value&)>;
  Generator(Heap& heap, Next function) : Container(heap), next(std::move(function)) {}
  void clear() noexcept override { next = nullptr; }
  Next next;
};

/// The arguments of a call. The same name does not occur twice in `keyword`.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

/// A built-in function or a bound method.
class Function final : public Container {
 public:
  using Body = std::function<Value(Interpreter&, Arguments&)>;
  Function(Heap& heap, std::string function_name, Body function)
      : Container(heap), name(std::move(function_name)), body(std::move(function)) {}
  void clear() noexcept override { body = nullptr; }
  std::string name;
  Body body;
};

/// Builds a string with provenance. Throws std::length_error beyond `limit` bytes.
class StringBuilder {
 public:
  StringBuilder(Heap& heap, std::size_t limit) : heap_(heap), limit_(limit) {}

  void append(std::string_view text, Origin origin);
  void append(const String& text) { append(text, 0, text.bytes.size()); }
  /// Bytes [begin, end) of `text`, with their origins.
  void append(const String& text, std::size_t begin, std::size_t end);
  void append_repeated(const String& text, std::size_t times);
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }
  /// The string; the builder is empty afterwards.
  [[nodiscard]] StringPtr finish(bool markup = false);

 private:
  void reserve(std::size_t more);

  Heap& heap_;
  std::size_t limit_;
  std::string bytes_;
  std::vector<String::Run> runs_;
};

/// Python's name of the type, for messages: "str", "int", "dict", "NoneType" …
[[nodiscard]] std::string_view type_name(const Value& value);

[[nodiscard]] inline Origin either(Origin a, Origin b) {
  return a == Origin::kData || b == Origin::kData ? Origin::kData : Origin::kTemplate;
}

}  // namespace hearth::text::jinja
