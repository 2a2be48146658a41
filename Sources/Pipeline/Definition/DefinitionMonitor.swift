// The `monitor` of a pipeline. A budget for false alarms is shared by all that can raise one: each detector, the comparison of windows, that of slices.

import Drift
import Records

extension PipelineDefinition.Monitor {
    /// How many false alarms are bearable.
    public struct FalseAlarms: Sendable, Equatable {
        public let aMonth: Double
        public let eventsAMonth: Double
        /// How many things can raise one.
        public let monitors: Int

        /// The mean number of events from one false alarm of any one monitor to the next, so that all together keep the budget.
        public var runLength: Double { eventsAMonth / aMonth * Double(monitors) }

        static let aMonthRange = 1e-6...1e9
        static let eventsAMonthRange = 1000.0...1e15
        /// The bounds on alarms mean nothing for shorter ones.
        static let runLengthMinimum = 1000.0
    }

    /// Whether what it has seen means the same to another.
    func keepsState(as next: Self) -> Bool {
        window == next.window && detectors == next.detectors && distributions == next.distributions && slices == next.slices
    }

    /// Whether the values of fields, or the errors in slices, are compared window by window.
    var comparesWindows: Bool { distributions || !slices.isEmpty }

    /// The probability that the comparison of a window with its reference alarms by chance; nil without a budget.
    var falseAlarmsAWindow: Double? { falseAlarms.map { min(Double(window) / $0.runLength, 0.05) } }
}

extension DefinitionReader {
    func readMonitor(
        _ file: DefinitionSection, source: SourceParts, features: [FeatureDefinition], learn: PipelineDefinition.Learn?
    ) -> PipelineDefinition.Monitor? {
        guard let section = optional(file, "monitor", example: "{window: 10000, detectors: [{kind: adwin}]}") else { return nil }
        let window = section.integer("window", default: 10_000, in: PipelineDefinition.Monitor.windowRange)
        let reference = readReference(section)
        let distributions = section.boolean("distributions", default: true)
        let slices = readSlices(section, source: source, features: features)
        let count = section.node("detectors").flatMap { node in if case .list(let elements) = node.value { elements.count } else { nil } } ?? 1
        let falseAlarms = readFalseAlarms(section, monitors: count + (distributions == true ? 1 : 0) + (slices?.isEmpty == false ? 1 : 0))
        let detectors = readDetectors(section, learn: learn, runLength: falseAlarms?.runLength)
        guard let window, let reference, let distributions, let slices else { return nil }
        return .init(
            window: window, detectors: detectors, distributions: distributions, slices: slices, reference: reference, falseAlarms: falseAlarms)
    }

    private func readFalseAlarms(_ monitor: DefinitionSection, monitors: Int) -> PipelineDefinition.Monitor.FalseAlarms? {
        let example = "{a_month: 1, events_a_month: 100000000}"
        guard let section = monitor.section("false_alarms", example: example) else { return nil }
        if section.node("events_a_month") == nil { section.missing("events_a_month", example: "false_alarms: \(example)") }
        let aMonth = section.number("a_month", default: 1, in: PipelineDefinition.Monitor.FalseAlarms.aMonthRange)
        let events = section.number("events_a_month", default: 1e8, in: PipelineDefinition.Monitor.FalseAlarms.eventsAMonthRange)
        guard let aMonth, let events else { return nil }
        let budget = PipelineDefinition.Monitor.FalseAlarms(aMonth: aMonth, eventsAMonth: events, monitors: max(monitors, 1))
        guard budget.runLength >= PipelineDefinition.Monitor.FalseAlarms.runLengthMinimum else {
            log.add(
                section.position,
                "monitor.false_alarms: with \(budget.monitors) monitors each may raise one in \(Int(budget.runLength)) events, and no fewer than 1000 can be promised; lower `a_month`")
            return nil
        }
        return budget
    }

    private func readReference(_ monitor: DefinitionSection) -> PipelineDefinition.Monitor.Reference? {
        guard let node = monitor.node("reference") else { return .served }
        guard let (value, named) = monitor.resolved(node, "reference") else { return nil }
        if case .text("served") = value { return .served }
        if case .number(let text) = value, let version = Int64(text), version >= 0 { return .version(version) }
        log.add(node.position, "monitor.reference must be served, or a version's number\(named ? "" : "; found \(node.kind)")")
        return nil
    }
}
