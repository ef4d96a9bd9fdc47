#include "meta/dump_line.h"

#include <limits>

#include "meta/keys.h"
#include "meta/records.h"

namespace gd2fs {

namespace {

constexpr std::string_view kTypes[] = {"none", "file", "directory"};
constexpr std::string_view kDurabilities[] = {"disk", "memory"};

// Each visit() below names the fields of a record once; these two walk them out and in.
class Out {
 public:
  static constexpr bool kReads = false;
  explicit Out(std::string_view kind) { line_.add_bytes("kind", kind); }
  template <class T>
    requires std::is_unsigned_v<T>
  void operator()(std::string_view name, const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      line_.add_bool(name, value);
    } else {
      line_.add_u64(name, value);
    }
  }
  void operator()(std::string_view name, const int64_t& value) { line_.add_i64(name, value); }
  void operator()(std::string_view name, const std::string& value) { line_.add_bytes(name, value); }
  void operator()(std::string_view name, const FileType& value) {
    line_.add_bytes(name, kTypes[static_cast<size_t>(value)]);
  }
  void operator()(std::string_view name, const Durability& value) {
    line_.add_bytes(name, kDurabilities[static_cast<size_t>(value)]);
  }
  // Left out where nearly all records have nothing.
  void operator()(std::string_view name, const std::string& value, bool) {
    if (!value.empty()) line_.add_bytes(name, value);
  }
  void operator()(std::string_view name, const uint8_t& value, bool) {
    if (value != 0) line_.add_u64(name, value);
  }
  Status status() const { return {}; }
  std::string text() const { return line_.text(); }

 private:
  JsonLine line_;
};

class In {
 public:
  static constexpr bool kReads = true;
  explicit In(const JsonLine& line) : line_(line) {}
  template <class T>
    requires std::is_unsigned_v<T>
  void operator()(std::string_view name, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      store(value, line_.boolean(name));
    } else {
      auto read = line_.u64(name, std::numeric_limits<T>::max());
      if (read) value = static_cast<T>(*read);
      note(read);
    }
  }
  void operator()(std::string_view name, int64_t& value) { store(value, line_.i64(name)); }
  void operator()(std::string_view name, std::string& value) {
    store(value, line_.bytes(name));
    // The longest that a record can hold.
    if (value.size() > UINT16_MAX) status_ = Status(StatusCode::invalid, "a string too long");
  }
  void operator()(std::string_view name, FileType& value) { word(name, kTypes, value); }
  void operator()(std::string_view name, Durability& value) { word(name, kDurabilities, value); }
  void operator()(std::string_view name, std::string& value, bool) {
    if (line_.has(name) || line_.has(std::string(name) + "_hex")) (*this)(name, value);
  }
  void operator()(std::string_view name, uint8_t& value, bool) {
    if (line_.has(name)) (*this)(name, value);
  }
  const Status& status() const { return status_; }

 private:
  template <class T>
  void note(const Result<T>& result) {
    if (!result && status_.ok()) status_ = result.error();
  }
  template <class T>
  void store(T& value, Result<T> read) {
    note(read);
    if (read) value = std::move(*read);
  }
  template <class Word, size_t N>
  void word(std::string_view name, const std::string_view (&words)[N], Word& value) {
    auto text = line_.bytes(name);
    note(text);
    if (!text) return;
    for (size_t i = 0; i < N; ++i) {
      if (*text == words[i]) {
        value = static_cast<Word>(i);
        return;
      }
    }
    if (status_.ok()) status_ = Status(StatusCode::invalid, "unknown " + std::string(name));
  }
  const JsonLine& line_;
  Status status_;
};

template <class V>
void visit(V& v, FormatRecord& r) {
  v("format", r.format);
}
template <class V>
void visit(V& v, CounterRecord& r) {
  v("next", r.next);
}
template <class V>
void visit(V& v, ClusterNameRecord& r) {
  v("cluster", r.cluster);
}
template <class V>
void visit(V& v, ClusterRecord& r) {
  Cluster& c = r.cluster;
  v("name", c.name);
  v("chunk_log2", c.policy.chunk_log2);
  v("quota_bytes", c.policy.quota_bytes);
  v("durability", c.policy.durability);
  v("namespace_epoch", c.namespace_epoch);
  v("token", c.token);
  v("previous_token", c.previous_token);
  v("created_us", c.created_us);
  v("rest", r.rest, true);
}
template <class V>
void visit(V& v, DentryRecord& r) {
  v("type", r.type);
  v("inode", r.inode);
  v("holds", r.holds);
  if (r.holds == 0) return;
  v("was_type", r.was_type);
  v("was_inode", r.was_inode);
}
template <class V>
void visit(V& v, InodeRecord& r) {
  v("type", r.type);
  v("unlinked", r.unlinked);
  v("chunk_log2", r.chunk_log2);
  v("layout_version", r.layout_version);
  v("generation", r.generation);
  v("size_bytes", r.size_bytes);
  v("reserved_bytes", r.reserved_bytes);
  v("mtime_us", r.mtime_us);
  v("ctime_us", r.ctime_us);
  v("pending_generation", r.pending_generation);
  v("parent", r.parent);
  v("name", r.name);
  v("attributes", r.attributes, true);
  v("rest", r.rest, true);
}
template <class V>
void visit(V& v, UsageRecord& r) {
  v("files", r.files);
  v("directories", r.directories);
  v("size_bytes", r.size_bytes);
  v("reserved_bytes", r.reserved_bytes);
  v("granted_bytes", r.granted_bytes);
}
template <class V>
void visit(V& v, IntentRecord& r) {
  Intent& i = r.intent;
  v("keep_bytes", i.keep_bytes);
  v("chunk_log2", i.chunk_log2);
  v("unlinked", i.unlinked);
  v("namespace_epoch", i.namespace_epoch);
  v("settled", i.settled);
  uint8_t held = static_cast<uint8_t>(r.held.size());
  v("held", held);
  if constexpr (V::kReads) r.held.resize(held);
  for (size_t k = 0; k < r.held.size(); ++k) {
    v("held" + std::to_string(k) + "_parent", r.held[k].parent);
    v("held" + std::to_string(k) + "_name", r.held[k].name);
  }
}
template <class V>
void visit(V& v, AnswerRecord& r) {
  v("sequence", r.sequence);
  v("operation", r.operation);
  v("arguments_crc", r.arguments_crc);
  v("time_us", r.time_us);
  uint8_t code = static_cast<uint8_t>(r.status.code());
  auto errno_value = static_cast<uint16_t>(r.status.errno_value());
  std::string text(r.status.text());
  v("code", code);
  v("errno", errno_value);
  v("text", text);
  if constexpr (V::kReads) {
    if (code != 0 && code < kStatusCodes) {
      r.status = Status(static_cast<StatusCode>(code), text, errno_value);
    }
  }
  InodeInfo& i = r.info;
  v("inode", i.inode);
  v("type", i.type);
  v("generation", i.generation);
  v("size_bytes", i.size_bytes);
  v("reserved_bytes", i.reserved_bytes);
  v("chunk_log2", i.chunk_log2);
  v("layout_version", i.layout_version);
  v("mtime_us", i.mtime_us);
  v("ctime_us", i.ctime_us);
  v("namespace_epoch", i.namespace_epoch);
  uint8_t attributes = i.pinned ? InodeRecord::kPinned : 0;
  v("attributes", attributes, true);
  if constexpr (V::kReads) i.pinned = (attributes & InodeRecord::kPinned) != 0;
  uint8_t intents = static_cast<uint8_t>(r.intents.size());
  v("intents", intents);
  if constexpr (V::kReads) r.intents.resize(intents);
  for (size_t k = 0; k < r.intents.size(); ++k) {
    v("intent" + std::to_string(k) + "_inode", r.intents[k].inode);
    v("intent" + std::to_string(k) + "_generation", r.intents[k].generation);
  }
}
template <class V>
void visit(V& v, TagFloorRecord& r) {
  v("sequence", r.sequence);
  v("time_us", r.time_us);
}

template <class Record>
Result<std::string> write(Out out, const KeyValue& kv) {
  GD2FS_ASSIGN(Record record, Record::decode(kv.key, kv.value));
  visit(out, record);
  return out.text();
}

template <class Record>
Result<KeyValue> read(const JsonLine& line, const Status& key_status, std::string key) {
  GD2FS_TRY(key_status);
  Record record;
  In in(line);
  visit(in, record);
  GD2FS_TRY(in.status());
  if (key.size() > MetaTransaction::kKeyMaxBytes)
    return fail(StatusCode::invalid, "a name too long");
  std::string value = record.encode(key);
  // What was written is what a reader believes.
  GD2FS_ASSIGN([[maybe_unused]] const Record again, Record::decode(key, value));
  return KeyValue{std::move(key), std::move(value)};
}

}  // namespace

Result<std::string> record_to_line(const KeyValue& record) {
  const std::string& key = record.key;
  if (key.empty()) return fail(StatusCode::corrupt, "an empty key");
  switch (key.front()) {
    case kFormatTable:
      return write<FormatRecord>(Out("format"), record);
    case kClusterTable: {
      GD2FS_ASSIGN(const uint16_t cluster, parse_cluster_key(key));
      Out out("cluster");
      out("id", cluster);
      return write<ClusterRecord>(std::move(out), record);
    }
    case kClusterNameTable: {
      GD2FS_ASSIGN(const std::string name, parse_cluster_name_key(key));
      Out out("cluster_name");
      out("name", name);
      return write<ClusterNameRecord>(std::move(out), record);
    }
    case kDentryTable: {
      GD2FS_ASSIGN(const DentryKey id, parse_dentry_key(key));
      Out out("name");
      out("parent", id.parent);
      out("name", id.name);
      return write<DentryRecord>(std::move(out), record);
    }
    case kInodeTable: {
      GD2FS_ASSIGN(const uint64_t inode, parse_inode_key(key));
      Out out("inode");
      out("inode", inode);
      return write<InodeRecord>(std::move(out), record);
    }
    case kCounterTable: {
      GD2FS_ASSIGN(const uint16_t cluster, parse_counter_key(key));
      Out out("counter");
      out("cluster", cluster);
      return write<CounterRecord>(std::move(out), record);
    }
    case kTagTable: {
      GD2FS_ASSIGN(const TagKey id, parse_tag_key(key));
      Out out(id.floor ? "answer_floor" : "answer");
      out("client", id.incarnation);
      if (id.floor) return write<TagFloorRecord>(std::move(out), record);
      out("slot", id.slot);
      return write<AnswerRecord>(std::move(out), record);
    }
    case kUsageTable: {
      GD2FS_ASSIGN(const UsageKey id, parse_usage_key(key));
      Out out("usage");
      out("cluster", id.cluster);
      out("shard", id.shard);
      return write<UsageRecord>(std::move(out), record);
    }
    case kIntentTable: {
      GD2FS_ASSIGN(const IntentKey id, parse_intent_key(key));
      Out out("intent");
      out("inode", id.inode);
      out("generation", id.generation);
      return write<IntentRecord>(std::move(out), record);
    }
    default:
      return fail(StatusCode::corrupt, "key " + printable_key(key) + " is of no known table");
  }
}

Result<KeyValue> line_to_record(const JsonLine& line) {
  GD2FS_ASSIGN(const std::string kind, line.bytes("kind"));
  In in(line);
  uint16_t cluster = 0;
  uint64_t inode = 0;
  uint64_t other = 0;
  uint8_t small = 0;
  std::string name;
  if (kind == "format") return read<FormatRecord>(line, in.status(), format_key());
  if (kind == "cluster") {
    in("id", cluster);
    return read<ClusterRecord>(line, in.status(), cluster_key(cluster));
  }
  if (kind == "cluster_name") {
    in("name", name);
    return read<ClusterNameRecord>(line, in.status(), cluster_name_key(name));
  }
  if (kind == "name") {
    in("parent", inode);
    in("name", name);
    return read<DentryRecord>(line, in.status(), dentry_key(inode, name));
  }
  if (kind == "inode") {
    in("inode", inode);
    return read<InodeRecord>(line, in.status(), inode_key(inode));
  }
  if (kind == "counter") {
    in("cluster", cluster);
    return read<CounterRecord>(line, in.status(), counter_key(cluster));
  }
  if (kind == "answer") {
    in("client", other);
    in("slot", small);
    return read<AnswerRecord>(line, in.status(), tag_slot_key(other, small));
  }
  if (kind == "answer_floor") {
    in("client", other);
    return read<TagFloorRecord>(line, in.status(), tag_floor_key(other));
  }
  if (kind == "usage") {
    in("cluster", cluster);
    in("shard", small);
    return read<UsageRecord>(line, in.status(), usage_key(cluster, small));
  }
  if (kind == "intent") {
    in("inode", inode);
    in("generation", other);
    return read<IntentRecord>(line, in.status(), intent_key(inode, other));
  }
  return fail(StatusCode::invalid, "unknown kind " + kind);
}

}  // namespace gd2fs
