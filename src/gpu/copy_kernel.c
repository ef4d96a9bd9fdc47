/* gd2fs_copy_tiles: the gather/scatter kernel. One launch copies a list of tiles {to, from, length}
 * between device memory and mapped host memory, in either direction, at any alignment.
 *
 * tools/make_copy_kernel.sh turns this file into the PTX text of copy_kernel_ptx.cc, which is what
 * is built and what the driver compiles; nothing of CUDA is needed for either. Kept in C so that it
 * can be read.
 *
 * Work: warp w of W takes tiles w, w + W, ...; the host cuts the tiles to kTileBytes, so that the
 * warps end together. A warp keeps 4 KiB of loads in flight on the aligned path: 16 blocks of 8
 * warps 512 KiB, which is what hides the latency of a PCIe link. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u32 v4 __attribute__((vector_size(16)));
#define GLOBAL __attribute__((address_space(1)))
#define UNROLL 8
#define WARP 32

struct tile {
  u64 to;
  u64 from;
  u64 length_bytes;
};

static inline void copy_bytes(u64 to, u64 from, u32 count, u32 lane) {
  if (lane < count) ((GLOBAL u8*)to)[lane] = ((const GLOBAL u8*)from)[lane];
}

/* Both ends on 16 bytes. */
static inline void copy_aligned(u64 to, u64 from, u32 units, u32 lane) {
  GLOBAL v4* out = (GLOBAL v4*)to + lane;
  const GLOBAL v4* in = (const GLOBAL v4*)from + lane;
  u32 at = 0;
  for (; at + UNROLL * WARP <= units; at += UNROLL * WARP) {
    v4 held[UNROLL];
#pragma unroll
    for (u32 i = 0; i < UNROLL; ++i) held[i] = in[at + i * WARP];
#pragma unroll
    for (u32 i = 0; i < UNROLL; ++i) out[at + i * WARP] = held[i];
  }
#pragma unroll 1
  for (; at + lane < units; at += WARP) out[at] = in[at];
}

/* `to` on 4 bytes, `from` anywhere: aligned words of `from`, shifted into place. The word after the
 * last is loaded only if bytes of it are wanted, so no load leaves the words that hold the tile. */
static inline void copy_shifted(u64 to, u64 from, u32 words, u32 lane) {
  const u32 shift = (u32)(from & 3) * 8;
  GLOBAL u32* out = (GLOBAL u32*)to + lane;
  const GLOBAL u32* in = (const GLOBAL u32*)(from & ~3ull) + lane;
  const u32 next = shift == 0 ? 0 : 1;
  u32 at = 0;
  for (; at + UNROLL * WARP <= words; at += UNROLL * WARP) {
    u32 low[UNROLL], high[UNROLL];
#pragma unroll
    for (u32 i = 0; i < UNROLL; ++i) {
      low[i] = in[at + i * WARP];
      high[i] = in[at + i * WARP + next];
    }
#pragma unroll
    for (u32 i = 0; i < UNROLL; ++i) {
      out[at + i * WARP] = (u32)((((u64)high[i] << 32) | low[i]) >> shift);
    }
  }
#pragma unroll 1
  for (; at + lane < words; at += WARP) {
    out[at] = (u32)((((u64)in[at + next] << 32) | in[at]) >> shift);
  }
}

__attribute__((nvptx_kernel)) void gd2fs_copy_tiles(u64 tiles, u32 count) {
  const u32 lane = __nvvm_read_ptx_sreg_tid_x() % WARP;
  const u32 warps_per_block = __nvvm_read_ptx_sreg_ntid_x() / WARP;
  const u32 stride = warps_per_block * __nvvm_read_ptx_sreg_nctaid_x();
  u32 at = __nvvm_read_ptx_sreg_ctaid_x() * warps_per_block + __nvvm_read_ptx_sreg_tid_x() / WARP;
  const GLOBAL struct tile* list = (const GLOBAL struct tile*)tiles;
  if (at >= count) return;
  struct tile next = list[at];
#pragma unroll 1
  while (at < count) {
    u64 to = next.to, from = next.from;
    u32 left = (u32)next.length_bytes;
    at += stride;
    if (at < count) next = list[at]; /* on its way while this tile is copied */
    const u32 head = (u32)(-to & 15) < left ? (u32)(-to & 15) : left;
    copy_bytes(to, from, head, lane);
    to += head, from += head, left -= head;
    if (((from ^ to) & 15) == 0) {
      copy_aligned(to, from, left / 16, lane);
    } else {
      copy_shifted(to, from, left / 16 * 4, lane);
    }
    copy_bytes(to + left / 16 * 16, from + left / 16 * 16, left % 16, lane);
  }
}
