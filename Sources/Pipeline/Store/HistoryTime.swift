// Moments as people write them when they ask the history.

import Foundation

/// A moment: an ISO 8601 time, or a duration before now.
public struct HistoryTime: Sendable, Equatable, Comparable {
    /// What may be written, for errors and help.
    public static let forms = "a time such as 2026-11-22T13:00:00Z (without a zone UTC is meant), a date, or a duration ago: 30s, 90m, 2h, 7d"

    /// Since 1970-01-01 UTC.
    public let microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// - Parameter now: what a duration is counted back from.
    public init?(_ text: String, now: HistoryTime = .now) {
        if let match = text.wholeMatch(of: /([0-9]{1,6})([smhd])/), let count = Int64(match.1) {
            let seconds: Int64 =
                switch match.2 {
                case "s": 1
                case "m": 60
                case "h": 3600
                default: 86_400
                }
            microseconds = now.microseconds - count * seconds * 1_000_000
            return
        }
        let form =
            /([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?/
        guard let match = text.wholeMatch(of: form) else { return nil }
        func number(_ part: Substring?) -> Int64 { part.flatMap { Int64($0) } ?? 0 }
        let (year, month, day) = (number(match.1), number(match.2), number(match.3))
        let (hour, minute, second) = (number(match.4), number(match.5), number(match.6))
        guard (1970...2999).contains(year), (1...12).contains(month), (1...Self.days(year, month)).contains(day), hour < 24, minute < 60, second < 60
        else { return nil }
        var zone: Int64 = 0
        if let text = match.8, text.lowercased() != "z" {
            let digits = text.filter(\.isNumber)
            let (hours, minutes) = (number(digits.prefix(2)), number(digits.suffix(2)))
            guard hours <= 14, minutes < 60 else { return nil }
            zone = (text.first == "-" ? -1 : 1) * (hours * 3600 + minutes * 60)
        }
        let fraction = number((match.7.map { $0 + "000000" } ?? "0").prefix(6))
        let days = (1970..<year).reduce(0) { $0 + (Self.isLeap($1) ? 366 : 365) } + (1..<month).reduce(0) { $0 + Self.days(year, $1) } + day - 1
        microseconds = (days * 86_400 + hour * 3600 + minute * 60 + second - zone) * 1_000_000 + fraction
    }

    public static var now: HistoryTime { HistoryTime(microseconds: Int64(Date().timeIntervalSince1970 * 1e6)) }

    public static func < (one: HistoryTime, other: HistoryTime) -> Bool { one.microseconds < other.microseconds }

    private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    private static func days(_ year: Int64, _ month: Int64) -> Int64 {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}
