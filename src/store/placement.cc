#include "store/placement.h"

#include <algorithm>

#include "base/random.h"

namespace gd2fs {

void Placement::set_members(std::vector<Member> members) {
  members_ = std::move(members);
  std::sort(members_.begin(), members_.end(),
            [](const Member& a, const Member& b) { return a.uuid < b.uuid; });
  missing_ = static_cast<size_t>(
      std::count_if(members_.begin(), members_.end(), [](const Member& m) { return !m.present; }));
  incomplete_ = static_cast<size_t>(std::count_if(
      members_.begin(), members_.end(), [](const Member& m) { return m.present && m.incomplete; }));
}

void Placement::set_incomplete(uint16_t drive) {
  for (Member& member : members_) {
    if (!member.present || member.drive != drive || member.incomplete) continue;
    member.incomplete = true;
    ++incomplete_;
  }
}

// Part of the format, in a way: it must give the same answer for ever. The tests hold golden
// values.
const Placement::Member& Placement::home_member(const ChunkKey& key) const {
  return members_[(mix64(key.inode) + key.chunk) % members_.size()];
}

uint16_t Placement::home(const ChunkKey& key) const {
  const Member& member = home_member(key);
  return member.present ? member.drive : kMissing;
}

bool Placement::may_hold(const Member& member, const ChunkKey& key) const {
  const Member& home = home_member(key);
  return scattered_ || home.uuid == member.uuid ||
         overflows_.contains({home.uuid.tag(), member.uuid.tag()});
}

bool Placement::may_be_missing(const ChunkKey& key) const {
  return missing_ != 0 && std::any_of(members_.begin(), members_.end(), [&](const Member& member) {
           return !member.present && may_hold(member, key);
         });
}

bool Placement::hole_is_unknown(const ChunkKey& key, uint16_t on) const {
  if (missing_ == 0 && incomplete_ == 0) return false;
  return std::any_of(members_.begin(), members_.end(), [&](const Member& member) {
    if (on != kMissing) return member.present && member.incomplete && member.drive == on;
    return (!member.present || member.incomplete) && may_hold(member, key);
  });
}

bool Placement::needs_overflow(const ChunkKey& key, uint16_t to, LogRecord* record) const {
  const Member& home = home_member(key);
  for (const Member& member : members_) {
    if (!member.present || member.drive != to) continue;
    if (may_hold(member, key)) return false;
    *record = LogRecord::of(LogRecord::Kind::overflow, home.uuid.tag(), member.uuid.tag());
    return true;
  }
  return false;
}

void Placement::records(std::vector<LogRecord>* out) const {
  for (const Member& known : members_) {
    LogRecord member = LogRecord::of(LogRecord::Kind::member);
    member.uuid = known.uuid;
    out->push_back(member);
  }
  for (const auto& [home, to] : overflows_) {
    out->push_back(LogRecord::of(LogRecord::Kind::overflow, home, to));
  }
  if (scattered_) out->push_back(LogRecord::of(LogRecord::Kind::scattered));
}

std::vector<DriveUuid> Placement::uuids() const {
  std::vector<DriveUuid> uuids;
  uuids.reserve(members_.size());
  for (const Member& member : members_) uuids.push_back(member.uuid);
  return uuids;
}

}  // namespace gd2fs
