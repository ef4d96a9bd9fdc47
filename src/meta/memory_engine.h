// MemoryMetaStore: the whole store in an ordered map in RAM, with the same conflict rules as every
// engine. For tests and simulations, and the model that the other engines are compared with.
// Nothing in it survives the object.
#pragma once

#include <map>

#include "meta/optimistic_store.h"

namespace gd2fs {

class MemoryMetaStore final : public OptimisticStore {
 public:
  // at_once: reads are answered without waiting. later: each goes through the loop, so that
  // transactions interleave as they do on a drive.
  enum class Reads : uint8_t { at_once, later };
  explicit MemoryMetaStore(Loop& loop, Reads reads = Reads::later);

  Task<Status> close() override;
  const std::map<std::string, std::string, std::less<>>& contents() const { return map_; }

 protected:
  bool read_now(MetaRead& read) override;
  void read(MetaRead& read, Completion& done) override;
  void write(std::span<const MetaWrite> writes) override;
  void written(std::span<const MetaWrite> writes) override;

 private:
  void answer(MetaRead& read) const;
  void on_write(Completion&) { write_ended(Status()); }
  Reads reads_;
  Completion write_;
  std::map<std::string, std::string, std::less<>> map_;
};

}  // namespace gd2fs
