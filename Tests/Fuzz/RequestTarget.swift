// The bodies of requests for predictions. The first byte names the plan.

import Records
import TestSupport

struct RequestTarget: FuzzTarget {
    static let inputBytesMaximum = 2048

    private let plans: [EventPlan]

    init() throws { plans = try EventTarget.allPlans() }

    static func seeds() -> [[UInt8]] {
        let bodies = [
            #"{"instances":[{"a":"x","n":1.5},{"a":7,"m":null}]}"#, #"{"x":{"instances":[]},"instances":[{}],"y":[1]}"#,
            #" { "instances" : [ {"id":"1","a":"x","b":["p"],"c":{"k":1},"d":[1,2,3]} , {"a":2} ] , "signature_name":"s" } "#,
        ]
        return (0..<5 as Range<UInt8>).flatMap { plan in bodies.map { [plan] + Array($0.utf8) } }
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard let first = input.first else { return }
        let plan = plans[Int(first) % plans.count]
        let decoder = EventDecoder(plan)
        let batch = ExampleBatch()
        let body = UnsafeRawBufferPointer(rebasing: input[1...])
        var instances = 0
        var end: UInt = 0
        let verdict = ReferenceJSON.verdict(Array(body), depthMaximum: EventDecoder.depthMaximum)
        do {
            let count = try splitInstances(body, maximum: 16) { instance in
                instances += 1
                // They are parts of one copy of the body, one behind the other.
                let start = instance.baseAddress.map { UInt(bitPattern: $0) } ?? 0
                check(instance.count > 0 && start >= end, "an instance over another")
                end = start + UInt(instance.count)
                let verdict = ReferenceJSON.verdict(Array(instance), depthMaximum: EventDecoder.depthMaximum)
                check(verdict != .malformed, "an instance that is not JSON")
                decoder.decode(instance, offset: 0, requireLabel: false, into: batch)
            }
            check(count == instances && batch.count == count && (1...16).contains(count), "\(count) instances, \(instances) seen")
            check(verdict != .malformed && verdict != .notAnObject, "a request that is \(verdict)")
        } catch {
            check(instances == 0, "an error behind an instance")
            check("\(error)".utf8.count < 500, "a long error")
        }
    }
}
