// SlotMap: which slots of one drive's data files are taken, and which still hold an old descriptor.
// Pure bookkeeping in RAM; who does the I/O is the Drive.
//
// A slot is taken from the moment it is reserved until whatever held it is gone for good: the index
// transaction that drops its extent is durable and no transfer uses it. The descriptor of a dropped
// extent stays on the drive until it is wiped or durably overwritten; drops are numbered, so that
// the fences can tell when nothing older than them can be found any more (settled_drops()).
//
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "store/format.h"

namespace gd2fs {

struct Slot {
  uint16_t file = 0;  // position in the table
  uint16_t slot = 0;
  friend auto operator<=>(const Slot&, const Slot&) = default;
};

class SlotMap {
 public:
  static constexpr size_t kFilesMax = 65535;

  struct File {
    uint8_t slot_class = 0;
    uint32_t number = 0;
    uint32_t slots = 0;
    uint32_t used = 0;
    uint32_t search_from = 0;  // no free slot below
    bool present = false;      // false: a free position of the table
    bool retired = false;      // on its way out: nothing is taken from it any more
    std::vector<bool> taken;
  };

  // Its position; nullopt at files_max. All slots free and clean.
  std::optional<uint16_t> add_file(uint8_t slot_class, uint32_t number, uint32_t slots);
  // Nothing is taken from it any more: it is lost, or about to be removed.
  void retire_file(uint16_t position);
  void remove_file(uint16_t position);  // retired and empty, and gone durably
  const File& file(uint16_t position) const { return files_[position]; }
  size_t file_positions() const { return files_.size(); }
  std::optional<uint16_t> find_file(uint8_t slot_class, uint32_t number) const;
  uint32_t next_number(uint8_t slot_class) const { return next_number_[slot_class]; }
  void skip_number(uint8_t slot_class, uint32_t number);  // was used once: not again

  // A free slot of this class, else of the next bigger one that has any; lowest file first, so that
  // the others run empty.
  std::optional<Slot> take(uint8_t slot_class);
  bool take_this(Slot slot);  // false if it is taken or does not exist
  void free(Slot slot);
  void free_all();  // at start-up, to begin again
  bool is_taken(Slot slot) const { return files_[slot.file].taken[slot.slot]; }

  // --- old descriptors ---
  // A descriptor in it counts no more (its extent was dropped, or its write failed).
  void dropped(Slot slot);
  // It was wiped, or a newer descriptor in it is durable.
  void settled(Slot slot);
  uint64_t drops() const { return drops_; }
  // All drops up to this number are settled.
  uint64_t settled_drops() const {
    return unsettled_.empty() ? drops_ : unsettled_.begin()->first - 1;
  }
  size_t unsettled() const { return unsettled_.size(); }
  // Up to `count` free slots with old descriptors, oldest first; taken now.
  std::vector<Slot> take_unsettled(size_t count);

  // A file with nothing in it that its class can spare, or (`any`) any empty file.
  std::optional<uint16_t> empty_file(bool any) const;
  uint32_t free_slots(uint8_t slot_class) const { return free_slots_[slot_class]; }
  uint64_t slots() const;  // taken or not
  uint64_t taken_slots() const { return taken_slots_; }
  uint64_t free_bytes() const;  // of data, in free slots
  uint64_t taken_bytes() const { return taken_bytes_; }

 private:
  std::vector<File> files_;
  std::set<std::pair<uint32_t, uint16_t>> with_room_[kSlotClasses];  // (number, position)
  uint32_t next_number_[kSlotClasses] = {};
  uint32_t free_slots_[kSlotClasses] = {};
  uint64_t taken_slots_ = 0;
  uint64_t taken_bytes_ = 0;
  std::map<uint64_t, Slot> unsettled_;  // by drop number
  std::map<Slot, uint64_t> drop_number_;
  uint64_t drops_ = 0;
};

}  // namespace gd2fs
