import Foundation
import TestSupport
import Testing

extension Integration {
    /// The console's page in a real browser, over a real history.
    @Suite struct ConsolePage {
        private static let often = ["version: {events: 20000, seconds: 0.2}": "version: {events: 500, seconds: 0.1}"]
        private static let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "console_check.py").path

        /// Protects: the page follows a stream that goes on, says what the history says, can be used by keyboard, fits a telephone and a wide screen in dark and
        /// light with legible contrasts, and leaves nothing in the browser's console log.
        @Test(.enabled(if: TestTools.chromium != nil && TestTools.python3 != nil, "chromium or python3 is not installed: make peers"))
        func inChromium() async throws {
            let chromium = try #require(TestTools.chromium), python = try #require(TestTools.python3)
            try await Loop.with(.demo, replacing: Self.often) { loop in
                let file = "\(loop.folder)/clicks.jsonl"
                let text = try await loop.freshet("generate", "clicks", "--events", "12000", "--seed", "6", "--drift", "0.5")
                try text.write(toFile: file, atomically: true, encoding: .utf8)
                let learner = try loop.learner()
                _ = try await loop.node("n<1>")
                let console = try loop.start("console", loop.file, "--port", "0")
                let port = try await loop.port(of: console)
                try await loop.freshet("feed", loop.file, try loop.head(file, lines: 2000))
                try await loop.untilRecorded(2000, by: learner)

                // The rest comes while the page is open.
                let page = try ChildProcess(python, [Self.script, chromium, "http://127.0.0.1:\(port)/", "12000"], folder: loop.folder)
                defer { page.kill() }
                let rest = "\(loop.folder)/rest.jsonl"
                try (text.split(separator: "\n").dropFirst(2000).joined(separator: "\n") + "\n").write(toFile: rest, atomically: true, encoding: .utf8)
                try await loop.freshet("feed", loop.file, rest, "--rate", "2000")
                #expect(try await page.wait(timeout: .seconds(150)) == 0, "\(page.standardError)\n\(console.standardError)")
                let seen = try JSON(page.standardOutput)

                let newest = try await loop.json("show", loop.file)
                let version = String(try #require(newest["version"].int))
                #expect(seen["state"].string == "live")
                #expect(seen["tiles"]["loss"].string == newest["metrics"]["window"]["logloss"].double.map { String(format: "%.4f", $0) })
                #expect(seen["tiles"]["quality"].string == newest["metrics"]["window"]["auc"].double.map { String(format: "%.4f", $0) })
                #expect(seen["tiles"]["version"].string?.replacing(",", with: "") == version)
                #expect(seen["versions"].array.first?.array.first?.string == version)
                // A name is text, whatever it looks like.
                #expect(seen["nodes"].array.map { $0.array.first?.string } == ["n<1>"])
                let drift = try await loop.json("drift", loop.file)["drift"].array
                #expect(seen["drift"].array.count >= min(drift.count, 15))
                #expect(drift.isEmpty || seen["marks"].array.contains { $0.string == "drift" })

                #expect(seen["first_stop"].string == "Skip to the content")
                #expect(seen["cursor"].string?.hasPrefix("version \(version), ") == true)
                #expect(seen["opened"].string == "Version \(version)")
                #expect(seen["difference"].array.contains { $0.string?.hasPrefix("Version \(version) against version ") == true })
                #expect(seen["looks"].array.count == 8)
                for look in seen["looks"].array {
                    #expect(look["overflow"].double ?? 1 <= 0, "\(look)")
                    // WCAG 2.2, 1.4.3.
                    #expect(look["contrast"].double ?? 0 >= 4.5, "\(look)")
                }
                #expect(seen["problems"].array.map(\.string) == [])
            }
        }
    }
}
