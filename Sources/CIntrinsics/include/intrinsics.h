// What a Swift program cannot say: hints to the processor. They change no result.
#ifndef FRESHET_INTRINSICS_H
#define FRESHET_INTRINSICS_H

/// Asks for the cache line at `address`, to be written soon. Any address is allowed.
static inline void freshet_prefetch(const void *address) { __builtin_prefetch(address, 1, 3); }

#endif
