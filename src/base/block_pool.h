// BlockPool: memory for objects that are made and deleted again and again, one at a time: what one
// leaves, the next of its size gets.
//
//   class Operation : public FromBlockPool { ... };
//   std::unique_ptr<Operation> operation(new (pool) ReadOperation(...));
//
// The pool keeps what it has and must outlive the objects. One thread.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "base/check.h"

namespace gd2fs {

class BlockPool {
 public:
  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() {
    CHECK(in_use_ == 0);
    for (const auto& size : sizes_) {
      for (Block* block = size->free; block != nullptr;) {
        Block* const next = block->next;
        ::operator delete(block);
        block = next;
      }
    }
  }

  void* get(size_t bytes) {
    Size& size = size_of(bytes);
    Block* block = size.free;
    if (block == nullptr) {
      block = new (::operator new(sizeof(Block) + bytes)) Block;
    } else {
      size.free = block->next;
    }
    block->home = &size;
    ++in_use_;
    return block + 1;
  }
  static void put(void* memory) {
    Block* const block = static_cast<Block*>(memory) - 1;
    Size& size = *block->home;
    block->next = size.free;
    size.free = block;
    --size.pool->in_use_;
  }

 private:
  struct Size;
  struct alignas(std::max_align_t) Block {  // in front of the object
    Size* home = nullptr;
    Block* next = nullptr;  // while it is free
  };
  struct Size {
    size_t bytes = 0;
    BlockPool* pool = nullptr;
    Block* free = nullptr;
  };
  // There are as many sizes as classes: a few.
  Size& size_of(size_t bytes) {
    for (const auto& size : sizes_) {
      if (size->bytes == bytes) return *size;
    }
    sizes_.push_back(std::make_unique<Size>(Size{bytes, this, nullptr}));
    return *sizes_.back();
  }

  std::vector<std::unique_ptr<Size>> sizes_;
  size_t in_use_ = 0;
};

// Base of classes whose objects live in a BlockPool.
struct FromBlockPool {
  static void* operator new(size_t bytes, BlockPool& pool) { return pool.get(bytes); }
  static void operator delete(void* memory) { BlockPool::put(memory); }
  static void operator delete(void* memory, BlockPool&) { BlockPool::put(memory); }
};

}  // namespace gd2fs
