// The part of DLPack's memory layout that is read here (DLPack 0.8 and 1.x: a C struct that array
// libraries hand to each other inside a capsule). Host byte order, natural alignment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pygd2fs::dlpack {

struct Device {
  int32_t type;
  int32_t id;
};

// 1 is the CPU; 3 and 11 are host memory that CUDA or ROCm has pinned; 2 is memory of a CUDA GPU,
// 13 CUDA managed memory.
inline bool is_usable(const Device& device) {
  switch (device.type) {
    case 1:
    case 2:
    case 3:
    case 11:
    case 13:
      return true;
    default:
      return false;
  }
}

struct Type {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  int32_t dimensions;
  Type type;
  int64_t* shape;
  int64_t* strides;  // in elements; null: row-major without gaps
  uint64_t byte_offset;
};
static_assert(sizeof(Tensor) == 48);
// A capsule named "dltensor" points at a Tensor that a manager's context and deleter follow.

struct Version {
  uint32_t major;
  uint32_t minor;
};

inline constexpr uint64_t kReadOnly = 1;
inline constexpr uint64_t kCopied = 2;

// What a capsule named "dltensor_versioned" points at.
struct VersionedTensor {
  Version version;
  void* manager;
  void (*deleter)(VersionedTensor*);
  uint64_t flags;
  Tensor tensor;
};
static_assert(offsetof(VersionedTensor, tensor) == 32);

}  // namespace pygd2fs::dlpack
