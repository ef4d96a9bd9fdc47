#include "client/op_check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "wire/path.h"

namespace gd2fs::client {
namespace {

Status bad(std::string_view why) {
  return {StatusCode::invalid, why, EINVAL};
}

Status take_path(const char* text, PathKind kind, std::string_view what, std::string* out) {
  if (text == nullptr) return bad(what);
  const std::string_view path(text, strnlen(text, kPathMaxBytes + 1));
  GD2FS_TRY(check_path(path, kind));
  out->assign(path);
  if (out->size() > 1 && out->back() == '/') out->pop_back();
  return {};
}

PathKind path_kind(Op op) {
  switch (op) {
    case Op::readdir:
    case Op::mkdir:
    case Op::rmdir:
      return PathKind::directory;
    case Op::stat:
    case Op::rename:
      return PathKind::any;
    default:
      return PathKind::file;
  }
}

Status take_sges(const xfer_gd2fs_op& op, IomemTable& iomems, Slot* slot) {
  if (op.sges == nullptr || op.nsge == 0) return bad("no SGE");
  uint64_t sum = 0;
  IomemHandle last = 0;
  for (uint16_t i = 0; i < op.nsge; ++i) {
    const xfer_gd2fs_sge& sge = op.sges[i];
    const auto handle = reinterpret_cast<IomemHandle>(sge.iomem);
    if (handle != 0 && handle == last) {
      if (!iomems.contains(handle, sge.addr, sge.len)) return bad("an SGE outside its iomem");
    } else {
      if (!iomems.pin(handle, sge.addr, sge.len)) {
        return bad("an SGE outside its iomem, or an iomem that is not registered");
      }
      slot->pins.push_back(handle);
      last = handle;
    }
    if (sge.len > INT64_MAX - sum) return bad("the SGEs' sum overflows");
    sum += sge.len;
    const GpuTarget target = iomems.target_of(handle);
    slot->memory.add(static_cast<std::byte*>(sge.addr), sge.len, target, region_of(handle));
  }
  if (op.off > INT64_MAX || sum > INT64_MAX - op.off) return bad("offset + length overflows");
  slot->offset = op.off;
  return {};
}

Status take_attr(const xfer_gd2fs_attr* attr, Slot* slot) {
  constexpr uint32_t kKnown = XFER_GD2FS_ATTR_REPLICAS | XFER_GD2FS_ATTR_PIN | XFER_GD2FS_ATTR_TTL;
  if (attr == nullptr || attr->set == 0 || (attr->set & ~kKnown) != 0) {
    return bad("no attribute, or an unknown one");
  }
  const bool reserved = std::any_of(std::begin(attr->reserved), std::end(attr->reserved),
                                    [](uint64_t word) { return word != 0; });
  if (reserved) return bad("unknown attributes");
  if ((attr->set & XFER_GD2FS_ATTR_REPLICAS) != 0 && attr->replicas != 1) {
    return {StatusCode::unsupported, "replicas: this version keeps one copy of a chunk", ENOTSUP};
  }
  if ((attr->set & XFER_GD2FS_ATTR_TTL) != 0 && attr->ttl_s != 0) {
    return {StatusCode::unsupported, "ttl_s: this version removes no files by itself", ENOTSUP};
  }
  if ((attr->set & XFER_GD2FS_ATTR_PIN) == 0) {
    return {StatusCode::unsupported, "only the pin can be set", ENOTSUP};
  }
  if (attr->pin > 1) return bad("a pin other than 0 or 1");
  slot->pin = attr->pin == 1;
  return {};
}

Status take_advice(const xfer_gd2fs_op& op, Slot* slot) {
  if (op.advice < XFER_GD2FS_ADVICE_PREFETCH || op.advice > XFER_GD2FS_ADVICE_DROP) {
    return bad("no such advice");
  }
  if (op.off > INT64_MAX || op.size > INT64_MAX - op.off) return bad("offset + length overflows");
  if (op.advice == XFER_GD2FS_ADVICE_DROP && (op.off != 0 || op.size != 0)) {
    return bad("only whole files can be dropped");
  }
  slot->advice = static_cast<Advice>(op.advice);
  slot->offset = op.off;
  slot->advice_bytes = op.size;
  return {};
}

Status take_name_op(const xfer_gd2fs_op& op, Slot* slot) {
  Request& request = *slot;
  switch (request.op) {
    case Op::stat:
      if (op.stat == nullptr) return bad("no stat target");
      slot->stat = op.stat;
      return {};
    case Op::create:
    case Op::truncate:
      if (op.size > INT64_MAX) return bad("a size over 2^63 - 1");
      request.size_bytes = op.size;
      return {};
    case Op::rename:
      return take_path(op.other, PathKind::any, "no new path", &request.other);
    case Op::readdir:
      if (op.entries == nullptr || op.nentries == 0) return bad("no room for entries");
      slot->entries = op.entries;
      request.entries_max = op.nentries;
      request.other.clear();
      if (op.other == nullptr || *op.other == '\0') return {};
      request.other.assign(op.other, strnlen(op.other, kNameMaxBytes + 1));
      return check_name(request.other);
    case Op::setattr:
      return take_attr(op.attr, slot);
    case Op::advise:
      return take_advice(op, slot);
    default:
      return {};
  }
}

}  // namespace

void unpin_all(IomemTable& iomems, Slot* slot) {
  for (const IomemHandle handle : slot->pins) iomems.unpin(handle);
  slot->pins.clear();
}

Status take_op(const xfer_gd2fs_op& op, IomemTable& iomems, Slot* slot) {
  if (op.opcode < XFER_GD2FS_OP_READ || op.opcode > XFER_GD2FS_OP_VIEW) {
    return bad("no such operation");
  }
  const bool advises = op.opcode == XFER_GD2FS_OP_ADVISE;
  const bool sets = op.opcode == XFER_GD2FS_OP_SETATTR;
  static constexpr xfer_gd2fs_op kNothing{};
  const bool reserved = (!advises && op.advice != 0) || (!sets && op.attr != nullptr) ||
                        op.reserved1 != 0 ||
                        std::memcmp(op.reserved, kNothing.reserved, sizeof op.reserved) != 0;
  if (op.flags != 0 || reserved) return bad("unknown flags");
  slot->op = static_cast<Op>(op.opcode);
  slot->stat = nullptr;
  slot->entries = nullptr;
  slot->view = nullptr;
  slot->lent.clear();
  // A slot often serves the file that it served before: that path has been checked. ("/" is good
  // for some operations only.)
  const bool checked = op.filepath != nullptr && slot->path.size() > 1 &&
                       std::strcmp(slot->path.c_str(), op.filepath) == 0;
  if (!checked) GD2FS_TRY(take_path(op.filepath, path_kind(slot->op), "no path", &slot->path));
  const bool moves_bytes = slot->op == Op::read || slot->op == Op::write || slot->op == Op::view;
  if (!moves_bytes) return take_name_op(op, slot);
  if (slot->op == Op::view) {
    if (op.view == nullptr || op.sges == nullptr || op.nsge != 1) return bad("a view has one SGE");
    slot->view = op.view;
    slot->view_buffer = op.sges[0].addr;
  }
  Status taken = take_sges(op, iomems, slot);
  if (taken.ok() && slot->op == Op::view && slot->memory.first_target() != 0) {
    taken = bad("a view is for host memory");
  }
  if (!taken.ok()) {
    unpin_all(iomems, slot);
    slot->memory.clear();
  }
  return taken;
}

}  // namespace gd2fs::client
