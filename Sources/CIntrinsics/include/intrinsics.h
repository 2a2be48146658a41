// What a Swift program cannot say to the processor and to the allocator. Nothing here changes a result.
#ifndef FRESHET_INTRINSICS_H
#define FRESHET_INTRINSICS_H

#include <malloc.h>

/// Asks for the cache line at `address`, to be written soon. Any address is allowed.
static inline void freshet_prefetch(const void *address) { __builtin_prefetch(address, 1, 3); }

typedef float freshet_float4 __attribute__((ext_vector_type(4)));

/// Square roots as the processor has them, correctly rounded. The library's have a branch for arguments below 0 (to set errno), and do four one by one.
static inline float freshet_sqrt(float x) { return __builtin_elementwise_sqrt(x); }
static inline freshet_float4 freshet_sqrt4(freshet_float4 x) { return __builtin_elementwise_sqrt(x); }

/// Memory of this many bytes or more goes back to the system when it is freed. By default glibc raises the bound to the largest block ever freed,
/// and a process that has held one whole image keeps the room for it.
static inline void freshet_return_freed_memory(int bytes) { mallopt(M_MMAP_THRESHOLD, bytes); }

#endif
