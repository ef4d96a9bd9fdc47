#include "store/log_record.h"

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"

namespace gd2fs {
namespace {

constexpr uint32_t kFrameMagic = 0x474F4C47;  // "GLOG"

template <class T>
void put(std::string* out, T value) {
  char bytes[sizeof value];
  store_le(bytes, value);
  out->append(bytes, sizeof value);
}

// Takes numbers from the front; `ok` turns false when it runs short.
struct Reader {
  ConstBytes left;
  bool ok = true;

  template <class T>
  T get() {
    if (left.size() < sizeof(T)) {
      ok = false;
      return T{};
    }
    const T value = load_le<T>(left.data());
    left = left.subspan(sizeof(T));
    return value;
  }
  void get_bytes(Bytes out) {
    if (left.size() < out.size()) {
      ok = false;
      return;
    }
    std::copy_n(left.begin(), out.size(), out.begin());
    left = left.subspan(out.size());
  }
};

void encode_body(const LogRecord& record, std::string* body) {
  switch (record.kind) {
    case LogRecord::Kind::identity:
      put(body, record.a);
      [[fallthrough]];
    case LogRecord::Kind::member:
      body->append(reinterpret_cast<const char*>(record.uuid.bytes.data()),
                   record.uuid.bytes.size());
      return;
    case LogRecord::Kind::forgotten:
      body->append(reinterpret_cast<const char*>(record.uuid.bytes.data()),
                   record.uuid.bytes.size());
      put(body, record.a);
      put(body, record.b);
      return;
    case LogRecord::Kind::fence:
      put(body, record.fence.inode);
      put(body, record.fence.generation);
      put(body, record.fence.keep_bytes);
      put(body, record.fence.floor_version);
      put(body, record.fence.chunk_log2);
      put(body, static_cast<uint8_t>(record.fence.unlinked ? 1 : 0));
      return;
    case LogRecord::Kind::tag:
      put(body, record.tag.tag.incarnation);
      put(body, record.tag.tag.sequence);
      put(body, record.tag.tag.low);
      put(body, record.tag.key.inode);
      put(body, record.tag.key.chunk);
      put(body, record.tag.version);
      return;
    case LogRecord::Kind::epoch_start:
    case LogRecord::Kind::file_created:
    case LogRecord::Kind::file_removed:
    case LogRecord::Kind::watermark:
    case LogRecord::Kind::clean_close:
    case LogRecord::Kind::incomplete:
    case LogRecord::Kind::overflow:
    case LogRecord::Kind::scattered:
      put(body, record.a);
      put(body, record.b);
      return;
  }
}

bool plausible(const LogRecord& record) {
  switch (record.kind) {
    case LogRecord::Kind::file_created:
    case LogRecord::Kind::file_removed:
      return record.a < kSlotClasses && record.b <= kDataFileNumberMax;
    case LogRecord::Kind::fence:
      return record.fence.chunk_log2 >= kChunkLog2Min && record.fence.chunk_log2 <= kChunkLog2Max;
    case LogRecord::Kind::epoch_start:
      return record.a < (uint64_t{1} << (64 - kVersionCounterBits));
    default:
      return true;
  }
}

bool parse_body(LogRecord::Kind kind, ConstBytes body, LogRecord* record) {
  Reader reader{.left = body};
  uint8_t flag = 0;
  record->kind = kind;
  switch (kind) {
    case LogRecord::Kind::identity:
      record->a = reader.get<uint64_t>();
      [[fallthrough]];
    case LogRecord::Kind::member:
      reader.get_bytes(record->uuid.bytes);
      break;
    case LogRecord::Kind::forgotten:
      reader.get_bytes(record->uuid.bytes);
      record->a = reader.get<uint64_t>();
      record->b = reader.get<uint64_t>();
      break;
    case LogRecord::Kind::fence:
      record->fence.inode = reader.get<uint64_t>();
      record->fence.generation = reader.get<uint64_t>();
      record->fence.keep_bytes = reader.get<uint64_t>();
      record->fence.floor_version = reader.get<uint64_t>();
      record->fence.chunk_log2 = reader.get<uint8_t>();
      flag = reader.get<uint8_t>();
      record->fence.unlinked = flag != 0;
      break;
    case LogRecord::Kind::tag:
      record->tag.tag.incarnation = reader.get<uint64_t>();
      record->tag.tag.sequence = reader.get<uint64_t>();
      record->tag.tag.low = reader.get<uint64_t>();
      record->tag.key.inode = reader.get<uint64_t>();
      record->tag.key.chunk = reader.get<uint32_t>();
      record->tag.version = reader.get<uint64_t>();
      break;
    case LogRecord::Kind::epoch_start:
    case LogRecord::Kind::file_created:
    case LogRecord::Kind::file_removed:
    case LogRecord::Kind::watermark:
    case LogRecord::Kind::clean_close:
    case LogRecord::Kind::incomplete:
    case LogRecord::Kind::overflow:
    case LogRecord::Kind::scattered:
      record->a = reader.get<uint64_t>();
      record->b = reader.get<uint64_t>();
      break;
    default:
      return false;
  }
  return reader.ok && reader.left.empty() && flag <= 1 && plausible(*record);
}

bool parse_payload(ConstBytes payload, std::vector<LogRecord>* records) {
  Reader reader{.left = payload};
  while (!reader.left.empty()) {
    const auto kind = static_cast<LogRecord::Kind>(reader.get<uint8_t>());
    const auto length_bytes = reader.get<uint16_t>();
    if (!reader.ok || reader.left.size() < length_bytes) return false;
    LogRecord record;
    if (!parse_body(kind, reader.left.first(length_bytes), &record)) return false;
    records->push_back(record);
    reader.left = reader.left.subspan(length_bytes);
  }
  return true;
}

// Header: magic u32, version u16, 0 u16, number u64, payload bytes u32, 0 u64, crc u32 at 28 over
// the header before it and the payload.
uint32_t frame_crc(ConstBytes header, ConstBytes payload) {
  return crc32c_extend(crc32c(header.first(28)), payload);
}

// The payload of a whole frame at the front of `bytes`.
bool parse_frame(ConstBytes bytes, uint64_t* number, ConstBytes* payload) {
  if (bytes.size() < kLogFrameHeaderBytes || load_le<uint32_t>(bytes.data()) != kFrameMagic) {
    return false;
  }
  const auto length_bytes = load_le<uint32_t>(&bytes[16]);
  if (length_bytes > kLogFrameMaxBytes || length_bytes > bytes.size() - kLogFrameHeaderBytes) {
    return false;
  }
  *payload = bytes.subspan(kLogFrameHeaderBytes, length_bytes);
  *number = load_le<uint64_t>(&bytes[8]);
  return load_le<uint32_t>(&bytes[28]) == frame_crc(bytes, *payload) &&
         load_le<uint16_t>(&bytes[4]) == kStoreFormatVersion;
}

}  // namespace

void encode_log_record(const LogRecord& record, std::string* payload) {
  std::string body;
  encode_body(record, &body);
  put(payload, static_cast<uint8_t>(record.kind));
  put(payload, static_cast<uint16_t>(body.size()));
  *payload += body;
}

std::string encode_log_frame(uint64_t number, std::string_view payload) {
  CHECK(payload.size() <= kLogFrameMaxBytes);
  std::string frame;
  put(&frame, kFrameMagic);
  put(&frame, kStoreFormatVersion);
  put(&frame, uint16_t{0});
  put(&frame, number);
  put(&frame, static_cast<uint32_t>(payload.size()));
  put(&frame, uint64_t{0});
  put(&frame,
      frame_crc(as_bytes(frame.data(), frame.size()), as_bytes(payload.data(), payload.size())));
  frame += payload;
  frame.resize(align_up(frame.size(), kLogAlignBytes));
  return frame;
}

LogContent parse_log(ConstBytes file) {
  LogContent content;
  bool any = false;
  uint64_t number = 0;
  ConstBytes payload;
  for (uint64_t at = 0; at < file.size();) {
    if (!parse_frame(file.subspan(at), &number, &payload)) {
      at += kLogAlignBytes;  // the other copy, if this one is damaged
      continue;
    }
    const bool second_copy = any && number + 1 == content.next_number;
    if (any && number != content.next_number && !second_copy) {
      content.damaged = true;
      break;
    }
    if (!second_copy && !parse_payload(payload, &content.records)) {
      content.damaged = true;
      break;
    }
    any = true;
    content.next_number = number + 1;
    at += align_up(kLogFrameHeaderBytes + payload.size(), kLogAlignBytes);
    content.end_bytes = at;
  }
  return content;
}

}  // namespace gd2fs
