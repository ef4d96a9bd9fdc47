// Reading and wiping many slots at once, for start-up.
// Thread rule: the store's loop.
#pragma once

#include "store/store_core.h"

namespace gd2fs {

struct ScannedSlot {
  Slot slot;
  bool readable = false;
  DescriptorVerdict verdict = DescriptorVerdict::empty;
  SlotDescriptor descriptor;  // if valid or torn
  // Whole, and says that it lies where it was found.
  bool at_home = false;
};

inline constexpr size_t kSlotsPerScan = 128;

// Reads the descriptors of at most kSlotsPerScan slots. Unreadable ones are told, not an error.
Task<Status> scan_slots(StoreCore& core, DriveUnit& unit, std::vector<Slot> slots,
                        std::vector<ScannedSlot>& scanned);
// Slots of the file that are free now (or all), in portions of kSlotsPerScan.
std::vector<std::vector<Slot>> scan_portions(const SlotMap& slots, uint16_t file, bool free_only);
// Takes, wipes and frees them.
Task<Status> wipe_slots(StoreCore& core, DriveUnit& unit, std::vector<Slot> slots);
// For an extent whose sync nobody knows the end of: reads it, and if every block matches its
// checksum writes the same bytes to the same place once more, for the caller to sync: after a sync
// that failed a drive may show what it will not keep. False if it does not match; io counts as no
// match.
Task<Result<bool>> write_whole_data_again(StoreCore& core, DriveUnit& unit, ChunkKey key,
                                          Extent extent);

}  // namespace gd2fs
