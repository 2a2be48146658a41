// What a Swift program cannot say: hints to the processor and to the allocator. They change no result.
#ifndef FRESHET_INTRINSICS_H
#define FRESHET_INTRINSICS_H

#include <malloc.h>

/// Asks for the cache line at `address`, to be written soon. Any address is allowed.
static inline void freshet_prefetch(const void *address) { __builtin_prefetch(address, 1, 3); }

/// Memory of this many bytes or more goes back to the system when it is freed. By default glibc raises the bound to the largest block ever freed,
/// and a process that has held one whole image keeps the room for it.
static inline void freshet_return_freed_memory(int bytes) { mallopt(M_MMAP_THRESHOLD, bytes); }

#endif
