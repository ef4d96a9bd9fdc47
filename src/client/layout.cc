#include "client/layout.h"

#include <algorithm>

#include "loop/clock.h"
#include "wire/message.h"

namespace gd2fs::client {

Result<Layout> layout_from(const msg::FileInfo* info, bool may_write, uint64_t now_ns,
                           uint64_t asked) {
  if (info == nullptr) return fail(StatusCode::io, "the controller's answer names no file");
  Layout out;
  out.inode = info->inode();
  out.generation = info->generation();
  out.size_bytes = info->size_bytes();
  out.reserved_bytes = info->reserved_bytes();
  out.namespace_epoch = info->namespace_epoch();
  out.map_version = info->map_version();
  out.mtime_us = info->mtime_us();
  out.ctime_us = info->ctime_us();
  out.type = static_cast<FileType>(info->type());
  out.chunk_log2 = info->chunk_log2();
  out.pinned = info->pinned();
  out.may_write = may_write;
  out.asked = asked;
  if (out.type == FileType::directory) return out;
  if (out.type != FileType::file || out.chunk_log2 < kChunkLog2Min ||
      out.chunk_log2 > kChunkLog2Max) {
    return fail(StatusCode::io, "the controller's answer is no file's layout");
  }
  const ConstBytes capability = bytes_of(info->capability());
  out.capability.assign(capability.begin(), capability.end());
  // Renewed a little early, so that a request under way does not meet the end.
  out.expires_ns = now_ns + uint64_t{info->capability_ttl_ms()} * kMs / 10 * 9;
  return out;
}

LayoutRef LayoutCache::find(std::string_view path, bool write, uint64_t now_ns) {
  // Who reads, reads on: most often the file is the one that was used last.
  if (by_use_.empty() || by_use_.back().path != path) {
    const auto found = by_path_.find(path);
    if (found == by_path_.end()) return nullptr;
    by_use_.splice(by_use_.end(), by_use_, found->second);
  }
  const LayoutRef& layout = by_use_.back().layout;
  if (layout->type != FileType::file || now_ns >= layout->expires_ns) return nullptr;
  if (write && !layout->may_write) return nullptr;
  return layout;
}

// An answer that a later question's overtook tells nothing new, but a writer needs its right.
LayoutRef LayoutCache::overtaken(const LayoutRef& known, Layout layout) {
  if (!layout.may_write || known->may_write) return known;
  if (known->inode != layout.inode || known->generation != layout.generation) {
    // Old already: the servers will say so.
    return std::make_shared<Layout>(std::move(layout));
  }
  known->may_write = true;
  known->capability = std::move(layout.capability);
  known->capability_number = layout.capability_number;
  known->expires_ns = layout.expires_ns;
  return known;
}

LayoutRef LayoutCache::put(std::string_view path, Layout layout, uint64_t now_ns) {
  layout.capability_number = ++last_capability_;
  const auto found = by_path_.find(path);
  if (found != by_path_.end()) {
    LayoutRef& known = found->second->layout;
    by_use_.splice(by_use_.end(), by_use_, found->second);
    if (known->asked > layout.asked) return overtaken(known, std::move(layout));
    const bool demotes = known->may_write && !layout.may_write;
    const bool keeps = demotes && known->generation == layout.generation &&
                       known->inode == layout.inode && now_ns < known->expires_ns;
    if (keeps) {
      layout.may_write = true;
      layout.capability = known->capability;
      layout.capability_number = known->capability_number;
      layout.expires_ns = known->expires_ns;
    }
    if (known->inode == layout.inode && (!demotes || keeps)) {
      // Sizes and reservations only grow within a generation; an answer may have crossed a
      // set_size.
      if (known->generation == layout.generation) {
        layout.size_bytes = std::max(layout.size_bytes, known->size_bytes);
        layout.reserved_bytes = std::max(layout.reserved_bytes, known->reserved_bytes);
      }
      layout.next_read = known->next_read;
      *known = std::move(layout);
      return known;
    }
    known = std::make_shared<Layout>(std::move(layout));
    return known;
  }
  if (by_path_.size() >= kLayoutsMax) erase(by_use_.begin());
  by_use_.push_back({std::string(path), std::make_shared<Layout>(std::move(layout))});
  const auto at = std::prev(by_use_.end());
  by_path_.emplace(at->path, at);
  return at->layout;
}

void LayoutCache::erase(Order::iterator at) {
  by_path_.erase(at->path);
  by_use_.erase(at);
}

void LayoutCache::forget(std::string_view path) {
  if (const auto found = by_path_.find(path); found != by_path_.end()) erase(found->second);
}

void LayoutCache::forget_tree(std::string_view path) {
  for (auto at = by_use_.begin(); at != by_use_.end();) {
    const auto here = at++;
    const std::string_view known = here->path;
    const bool inside = known.starts_with(path) &&
                        (known.size() == path.size() || known[path.size()] == '/' || path == "/");
    if (inside) erase(here);
  }
}

}  // namespace gd2fs::client
