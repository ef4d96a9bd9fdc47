#include "store/placement.h"

#include <algorithm>

#include "base/random.h"
#include "wire/ids.h"

namespace gd2fs {
namespace {

// Whether the inode was there when the drive was given up: then it may have had bytes on it. A
// cluster that is not on the list was made later.
bool made_before(const Placement::Member& forgotten, uint64_t inode) {
  return std::ranges::any_of(forgotten.inode_ends, [&](uint64_t end) {
    return cluster_of_inode(end - 1) == cluster_of_inode(inode) && inode < end;
  });
}

}  // namespace

void Placement::set_members(std::vector<Member> members) {
  members_ = std::move(members);
  std::sort(members_.begin(), members_.end(),
            [](const Member& a, const Member& b) { return a.uuid < b.uuid; });
  count();
}

void Placement::count() {
  missing_ = incomplete_ = forgotten_ = 0;
  for (const Member& member : members_) {
    missing_ += !member.present && !member.forgotten();
    incomplete_ += member.present && member.incomplete;
    forgotten_ += member.forgotten();
  }
}

void Placement::set_incomplete(uint16_t drive) {
  for (Member& member : members_) {
    if (member.present && member.drive == drive) member.incomplete = true;
  }
  count();
}

bool Placement::forget(const DriveUuid& uuid, uint64_t below, std::vector<uint64_t> inode_ends) {
  const auto member = std::ranges::find(members_, uuid, &Member::uuid);
  if (member == members_.end() || member->present) return false;
  member->forgotten_below = below;
  member->inode_ends = std::move(inode_ends);
  count();
  return true;
}

void Placement::set_overflows(std::set<std::pair<uint64_t, uint64_t>> seen) {
  for (const Member& lost : members_) {
    if (!lost.forgotten()) continue;
    for (const Member& home : members_) {
      const std::pair known(home.uuid.tag(), lost.uuid.tag());
      if (scattered_ || overflows_.contains(known)) seen.insert(known);
    }
  }
  overflows_ = std::move(seen);
  scattered_ = false;
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
           return !member.present && !member.forgotten() && may_hold(member, key);
         });
}

bool Placement::hole_is_unknown(const ChunkKey& key, uint16_t on, uint64_t oldest_version) const {
  if (missing_ + incomplete_ + forgotten_ == 0) return false;
  return std::any_of(members_.begin(), members_.end(), [&](const Member& member) {
    if (member.forgotten()) {
      // What was elsewhere before is all there.
      const bool was_elsewhere = on != kMissing && oldest_version < member.forgotten_below;
      return !was_elsewhere && made_before(member, key.inode) && may_hold(member, key);
    }
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
    if (!known.forgotten()) continue;
    LogRecord lost = LogRecord::of(LogRecord::Kind::forgotten, known.forgotten_below);
    lost.uuid = known.uuid;
    for (const uint64_t end : known.inode_ends) {
      lost.b = end;
      out->push_back(lost);
    }
    lost.b = 0;  // last: it counts once all of them are there
    out->push_back(lost);
  }
  for (const auto& [home, to] : overflows_) {
    out->push_back(LogRecord::of(LogRecord::Kind::overflow, home, to));
  }
  if (scattered_) out->push_back(LogRecord::of(LogRecord::Kind::scattered));
}

}  // namespace gd2fs
