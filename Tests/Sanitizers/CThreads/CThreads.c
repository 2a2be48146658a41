// The thread sanitizer follows POSIX's threads and locks and does not know C11's, which librdkafka uses: our code dies in a thread that it has never heard
// of. Built into what `make sanitize` runs, these stand before the C library's, whose types are POSIX's own (glibc 2.28 and later).

//
// Swift's Mutex is an atomic number, which the sanitizer sees, until two threads want it at once: then the kernel passes it on, unseen. The two functions of
// its library that ask the kernel are wrapped, to say so. `self` is where Swift's calling convention has it, the context register.

#define _GNU_SOURCE
#include "CThreads.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

#include <sanitizer/tsan_interface.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t) && sizeof(cnd_t) >= sizeof(pthread_cond_t), "one type does for both");

static int result(int error) {
    switch (error) {
    case 0: return thrd_success;
    case EBUSY: return thrd_busy;
    case ENOMEM: return thrd_nomem;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
    }
}

struct start {
    thrd_start_t function;
    void *argument;
};

static void *run(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    return (void *)(intptr_t)start.function(start.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument) {
    struct start *start = malloc(sizeof *start);
    if (start == NULL) return thrd_nomem;
    *start = (struct start){function, argument};
    int error = pthread_create(thread, NULL, run, start);
    if (error != 0) free(start);
    return result(error);
}

int thrd_join(thrd_t thread, int *value) {
    void *returned = NULL;
    int error = pthread_join(thread, &returned);
    if (error == 0 && value != NULL) *value = (int)(intptr_t)returned;
    return result(error);
}

int mtx_init(mtx_t *mutex, int type) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive) pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    int error = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return result(error);
}

int mtx_lock(mtx_t *mutex) { return result(pthread_mutex_lock((pthread_mutex_t *)mutex)); }
int mtx_unlock(mtx_t *mutex) { return result(pthread_mutex_unlock((pthread_mutex_t *)mutex)); }
void mtx_destroy(mtx_t *mutex) { pthread_mutex_destroy((pthread_mutex_t *)mutex); }

int cnd_init(cnd_t *condition) { return result(pthread_cond_init((pthread_cond_t *)condition, NULL)); }
int cnd_signal(cnd_t *condition) { return result(pthread_cond_signal((pthread_cond_t *)condition)); }
int cnd_broadcast(cnd_t *condition) { return result(pthread_cond_broadcast((pthread_cond_t *)condition)); }
int cnd_wait(cnd_t *condition, mtx_t *mutex) { return result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex)); }
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    return result(pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}
void cnd_destroy(cnd_t *condition) { pthread_cond_destroy((pthread_cond_t *)condition); }

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef __attribute__((swiftcall)) void lock_slow(uint32_t thread, __attribute__((swift_context)) void *mutex);
typedef __attribute__((swiftcall)) void unlock_slow(__attribute__((swift_context)) void *mutex);

static lock_slow *original_lock;
static unlock_slow *original_unlock;

__attribute__((constructor)) static void find_originals(void) {
    original_lock = (lock_slow *)dlsym(RTLD_NEXT, LOCK_SLOW);
    original_unlock = (unlock_slow *)dlsym(RTLD_NEXT, UNLOCK_SLOW);
    if (original_lock == NULL || original_unlock == NULL) abort();
}

lock_slow tsan_lock_slow __asm__(LOCK_SLOW);
__attribute__((swiftcall)) void tsan_lock_slow(uint32_t thread, __attribute__((swift_context)) void *mutex) {
    original_lock(thread, mutex);
    __tsan_acquire(mutex);
}

unlock_slow tsan_unlock_slow __asm__(UNLOCK_SLOW);
__attribute__((swiftcall)) void tsan_unlock_slow(__attribute__((swift_context)) void *mutex) {
    __tsan_release(mutex);
    original_unlock(mutex);
}
