import ArgumentParser
import Foundation
import KafkaClient

struct BrokerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker", abstract: "A development broker: in memory, on the loopback interface, gone when it stops.",
        discussion: """
            Prints its address, on a port that is free. It keeps the newest 5 MB of each partition and makes topics when they are first used.
            """)

    @Option(name: .customLong("topic"), help: ArgumentHelp("A topic to make, with its number of partitions.", valueName: "name:partitions"))
    var topics: [TopicArgument] = []
    @OptionGroup var output: OutputOptions

    private struct Result: Encodable { var brokers: String }

    func run() async throws {
        let broker = try EmbeddedBroker(topics: topics.map { ($0.name, $0.partitions) })
        if output.json {
            try Output.json(Result(brokers: broker.address))
        } else {
            Output.line(broker.address)
            Output.note("development broker at \(broker.address); for example: export KAFKA_BROKERS=\(broker.address)")
        }
        await untilSignal()
        broker.stop()
    }
}

struct TopicArgument: ExpressibleByArgument {
    var name: String
    var partitions: Int

    init?(argument: String) {
        let parts = argument.split(separator: ":").map(String.init)
        guard let name = parts.first, parts.count <= 2, let partitions = parts.count == 2 ? Int(parts[1]) : 1,
            (1...10_000).contains(partitions)
        else { return nil }
        (self.name, self.partitions) = (name, partitions)
    }
}
