// One pipe that all of a consumer's queues write to when they stop being empty. librdkafka writes on that edge only, so `wait` empties the pipe before the
// caller looks at the queues (an arrival in between shows in the next wait), and a queue left with something to read writes to it again.

import CRDKafka
import Glibc

final class Waker: Sendable {
    private let readEnd: Int32
    private let writeEnd: Int32

    init() throws(KafkaError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw KafkaError(
                RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE,
                "no file descriptors for a consumer: \(String(cString: strerror(errno))); raise the limit (ulimit -n)")
        }
        for end in ends {
            // A full pipe is as good a signal as one more byte: writers never wait.
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (readEnd, writeEnd) = (ends[0], ends[1])
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    func wake() {
        var byte: UInt8 = 1
        _ = write(writeEnd, &byte, 1)
    }

    /// Returns whether it was woken before the timeout.
    func wait(timeoutMilliseconds: Int32) -> Bool {
        var request = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
        guard poll(&request, 1, timeoutMilliseconds) > 0 else { return false }
        return withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 1) { buffer in
            var woken = false
            while read(readEnd, buffer.baseAddress, buffer.count) > 0 { woken = true }
            return woken
        }
    }

    /// Makes librdkafka write to the pipe whenever `queue` stops being empty.
    func watch(_ queue: OpaquePointer) {
        var byte: UInt8 = 1
        rd_kafka_queue_io_event_enable(queue, writeEnd, &byte, 1)
    }
}
