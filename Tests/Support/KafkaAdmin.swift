// What an administrator does to a broker and Freshet never does, by Python's client: topics made and deleted, transactions.

import Foundation

extension Loop {
    /// Makes a topic, and waits until the broker knows it.
    public func createTopic(_ name: String, partitions: Int, isolation: isolated (any Actor)? = #isolation) async throws {
        try await administer("create", name, String(partitions))
    }

    public func deleteTopic(_ name: String, isolation: isolated (any Actor)? = #isolation) async throws {
        try await administer("delete", name)
    }

    /// Writes the file's lines to a partition, in transactions of so many lines each; every transaction ends with a marker, which takes an offset.
    public func produceInTransactions(
        _ file: String, topic: String, partition: Int, linesEach: Int, isolation: isolated (any Actor)? = #isolation
    ) async throws {
        try await administer("transactions", topic, String(partition), file, String(linesEach))
    }

    private func administer(_ words: String..., isolation: isolated (any Actor)? = #isolation) async throws {
        guard let python = TestTools.installed?.python else { throw TestFailure("no Python client for Kafka: make peers") }
        let child = try ChildProcess(python, ["-c", Self.script, brokers] + words, folder: folder)
        defer { child.kill() }
        let status = try await child.wait(timeout: .seconds(60))
        guard status == 0 else { throw TestFailure("\(words.joined(separator: " ")): \(child.standardError)") }
    }

    // Batches of one record, as `Loop` has its events sent to this broker, and for the same reason.
    private static let script = """
        import sys, time
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic
        brokers, what, topic, *rest = sys.argv[1:]
        admin = AdminClient({"bootstrap.servers": brokers})
        def known(): return topic in admin.list_topics(timeout=10).topics
        def wait(futures, wanted):
            for future in futures.values(): future.result(20)
            deadline = time.time() + 20
            while known() != wanted:
                if time.time() > deadline: sys.exit(topic + " is not as wanted")
                time.sleep(0.02)
        if what == "create": wait(admin.create_topics([NewTopic(topic, int(rest[0]), 1)]), True)
        elif what == "delete": wait(admin.delete_topics([topic]), False)
        else:
            partition, lines, each = int(rest[0]), open(rest[1], "rb").read().splitlines(), int(rest[2])
            producer = Producer({"bootstrap.servers": brokers, "transactional.id": "tests", "batch.num.messages": 1})
            producer.init_transactions(20)
            for first in range(0, len(lines), each):
                producer.begin_transaction()
                for line in lines[first:first + each]: producer.produce(topic, value=line, partition=partition)
                producer.commit_transaction(20)
        """
}
