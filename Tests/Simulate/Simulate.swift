// Runs seeds until stopped, or one seed again. Prints each failing seed with the last actions before its violation.

import Foundation
import Simulator

@main
enum Simulate {
    static func main() throws {
        var seed: UInt64?
        var runs = Int.max
        var words = CommandLine.arguments.dropFirst().makeIterator()
        while let word = words.next() {
            switch (word, words.next()) {
            case ("--seed", let value?): seed = UInt64(value)
            case ("--runs", let value?): runs = Int(value) ?? 0
            default:
                FileHandle.standardError.write(Data("usage: freshet-simulate [--seed N] [--runs N]\n".utf8))
                exit(64)
            }
        }
        let first = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
        if seed != nil, runs == .max { runs = 1 }
        var failed = 0
        let began = ContinuousClock.now
        for index in 0..<runs {
            let world = try World(seed: first &+ UInt64(index))
            if let violation = world.run() {
                failed += 1
                say(violation)
            }
            if runs == 1 { say(world.summary) }
            if (index + 1) % 1000 == 0 { say("\(index + 1) runs from seed \(first), \(failed) failed, \(ContinuousClock.now - began)") }
        }
        say("\(runs) runs from seed \(first), \(failed) failed")
        exit(failed == 0 ? 0 : 1)
    }

    /// At once, also into a file: what was found must not be lost when it is stopped.
    private static func say(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
}
