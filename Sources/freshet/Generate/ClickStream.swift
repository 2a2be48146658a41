// A synthetic click stream with a hidden truth that is known: impressions of advertisements, each with ten categorical and five numeric
// features, and whether it was clicked.
//
// The probability of a click is a logistic function of hidden weights: one of every value of every categorical feature, one of every pair
// of two crosses (device and slot, site and campaign), and one of every number. The weights of values are no table but a hash of (seed,
// epoch, field, value), so 200,000 users cost nothing. A drift begins a new epoch: all weights of values and pairs are other ones from
// that event on, abruptly, while what is shown to whom stays as it was, and so do the effects of the numbers.
//
// The same seed gives the same bytes everywhere: the generator, the exponential and the printing of numbers are made of integer
// arithmetic and + - * / only. Which features an event has depends on the seed and its index, not on where the drifts are.

import ReproducibleMath

/// Seeded click events as JSON or as Vowpal Wabbit text. A value: a copy goes on with the same events.
struct ClickStream {
    /// The probability with which the last event was drawn to be clicked: the best prediction there is. 0 before the first.
    private(set) var lastProbability = 0.0

    private let seed: UInt64
    private var generator: SplitMix64
    private var index = 0
    /// The indices of the events at which a new epoch begins, those to come last, ascending.
    private var driftIndices: ArraySlice<Int>
    private var epoch: UInt64 = 0
    private var truth: UInt64
    private let startMilliseconds: UInt64
    private let eventsPerSecond: UInt64

    /// - Parameters:
    ///   - events: the intended length, of which `drifts` are fractions; the stream itself has no end.
    ///   - drifts: where the truth changes, each above 0 and below 1 (others are ignored); none makes the stream stationary.
    ///   - startMilliseconds: the first event's time, in milliseconds since 1970, not before.
    ///   - eventsPerSecond: how quickly the events' times advance, at least 1. Nothing waits.
    init(
        seed: UInt64, events: Int, drifts: [Double], startMilliseconds: Int64 = 1_700_000_000_000, eventsPerSecond: Int = 1000
    ) {
        self.seed = seed
        self.startMilliseconds = UInt64(max(0, startMilliseconds))
        self.eventsPerSecond = UInt64(max(1, eventsPerSecond))
        generator = SplitMix64(seed: SplitMix64.mix(seed))
        driftIndices = drifts.filter { $0 > 0 && $0 < 1 }.map { Int(Double(max(0, events)) * $0) }.sorted()[...]
        truth = SplitMix64.mix(seed ^ 0x7472_7574_6800_0000)
    }

    /// Appends the next event as one JSON object, without a newline.
    mutating func next(into json: inout [UInt8]) {
        let event = draw()
        json.append(addingCapacity: Self.lineBytesMax) { line in
            line.append("{\"event_id\":\"")
            line.append(hexadecimal: event.id)
            line.append("\",\"ts\":")
            line.append(decimal: event.timeMilliseconds)
            line.append(",\"user_id\":")
            line.append(decimal: event.user)
            line.append(",\"item_id\":")
            line.append(decimal: event.item)
            line.append(",\"site\":\"s")
            line.append(decimal: event.site)
            line.append("\",\"device\":\"")
            line.append(Self.devices[event.device])
            line.append("\",\"os\":\"")
            line.append(Self.systems[event.system])
            line.append("\",\"country\":\"")
            line.append(Self.countries[event.country])
            line.append("\",\"campaign\":\"c")
            line.append(decimal: event.campaign)
            line.append("\",\"creative\":\"k")
            line.append(decimal: event.creative)
            line.append("\",\"slot\":\"")
            line.append(Self.slots[event.slot])
            line.append("\",\"hour\":")
            line.append(decimal: event.hour)
            line.append(",\"price\":")
            line.append(hundredths: event.priceCents)
            line.append(",\"age_days\":")
            line.append(tenths: event.ageTenths)
            line.append(",\"ctr_7d\":0.")
            line.append(fourDigits: event.rateTenThousandths)
            line.append(",\"dwell_s\":")
            line.append(tenths: event.dwellTenths)
            line.append(",\"position\":")
            line.append(decimal: event.position)
            line.append(event.clicked ? ",\"clicked\":1}" : ",\"clicked\":0}")
        }
    }

    /// Appends the next event, the same that `next(into:)` would have given, as a line of Vowpal Wabbit text, without a newline: the label
    /// 1 or -1 and one namespace `f`.
    mutating func nextVW(into text: inout [UInt8]) {
        let event = draw()
        text.append(addingCapacity: Self.lineBytesMax) { line in
            line.append(event.clicked ? "1 |f user_id=" : "-1 |f user_id=")
            line.append(decimal: event.user)
            line.append(" item_id=")
            line.append(decimal: event.item)
            line.append(" site=s")
            line.append(decimal: event.site)
            line.append(" device=")
            line.append(Self.devices[event.device])
            line.append(" os=")
            line.append(Self.systems[event.system])
            line.append(" country=")
            line.append(Self.countries[event.country])
            line.append(" campaign=c")
            line.append(decimal: event.campaign)
            line.append(" creative=k")
            line.append(decimal: event.creative)
            line.append(" slot=")
            line.append(Self.slots[event.slot])
            line.append(" hour=")
            line.append(decimal: event.hour)
            line.append(" price:")
            line.append(hundredths: event.priceCents)
            line.append(" age_days:")
            line.append(tenths: event.ageTenths)
            line.append(" ctr_7d:0.")
            line.append(fourDigits: event.rateTenThousandths)
            line.append(" dwell_s:")
            line.append(tenths: event.dwellTenths)
            line.append(" position:")
            line.append(decimal: event.position)
        }
    }

    /// More than the longest line: some 300 bytes, each number's digits being bounded.
    private static let lineBytesMax = 400

    // MARK: Drawing

    private struct Event {
        var id: UInt64
        var timeMilliseconds: UInt64
        // Names of which there are many are their numbers; of the others, the places in the tables below.
        var user, item, site, campaign, creative, hour: UInt64
        var device, system, country, slot: Int
        var priceCents, ageTenths, rateTenThousandths, dwellTenths, position: UInt64
        var clicked: Bool
    }

    private static let devices: [StaticString] = ["phone", "desktop", "tablet"]
    private static let systems: [StaticString] = ["android", "ios", "windows", "macos", "linux"]
    private static let slots: [StaticString] = ["feed", "top", "sidebar", "bottom", "inline"]
    private static let countries: [StaticString] = [
        "US", "IN", "BR", "DE", "GB", "FR", "JP", "MX", "ID", "IT", "ES", "CA", "TR", "PL", "KR", "NL", "AU", "SE", "CH", "AT",
    ]

    private mutating func draw() -> Event {
        let (device, system) = drawDevice()
        let item = popular(of: 20_000, power: 3)
        let campaign = popular(of: 500, power: 2)
        var event = Event(
            id: SplitMix64.mix(seed &+ UInt64(index) &* 0xd1b5_4a32_d192_ed03),
            timeMilliseconds: startMilliseconds + UInt64(index) * 1000 / eventsPerSecond,
            user: popular(of: 200_000, power: 3) + 1,
            item: item + 1,
            site: popular(of: 300, power: 2) + 1,
            campaign: campaign + 1,
            creative: campaign * 4 + generator.next(below: 4) + 1,
            // The visitor's local hour, most often in the evening; not that of the time, which may advance at any pace.
            hour: (generator.next(below: 12) + generator.next(below: 12) + 8) % 24,
            device: device,
            system: system,
            country: Int(popular(of: UInt64(Self.countries.count), power: 2)),
            slot: Int(popular(of: UInt64(Self.slots.count), power: 2)),
            priceCents: 99 + skewed(below: 9000),
            ageTenths: skewed(below: 3650),
            // An item has its own rate, and the count of its last clicks some noise.
            rateTenThousandths: 100 + SplitMix64.mix(seed ^ item) % 1400 + generator.next(below: 300),
            dwellTenths: 5 + skewed(below: 3000),
            position: 1 + generator.next(below: 10),
            clicked: false)
        while let drift = driftIndices.first, index >= drift {
            driftIndices.removeFirst()
            epoch += 1
            truth = SplitMix64.mix(truth &+ epoch)
        }
        index += 1
        lastProbability = logisticSigmoid(margin(of: event))
        event.clicked = generator.nextUniform() < lastProbability
        return event
    }

    private mutating func drawDevice() -> (device: Int, system: Int) {
        let (kind, brand) = (generator.next(below: 100), generator.next(below: 100))
        if kind < 62 { return (0, brand < 65 ? 0 : 1) }
        if kind < 92 { return (1, brand < 65 ? 2 : brand < 88 ? 3 : 4) }
        return (2, brand < 40 ? 0 : 1)
    }

    /// A rank in 0 ..< count, which is at most 2^32, whose probability falls as rank^(1/power - 1), nearly Zipf's law: count u^power for a
    /// uniform u.
    private mutating func popular(of count: UInt64, power: Int) -> UInt64 {
        let u = generator.next() >> 32
        var product = u
        for _ in 1 ..< power { product = (product * u) >> 32 }
        return (product * count) >> 32
    }

    /// The product of two uniform draws: mostly small, seldom near the bound, on average a quarter of it.
    private mutating func skewed(below bound: UInt64) -> UInt64 { generator.next(below: bound) * generator.next(below: bound) / bound }

    // MARK: The truth

    /// The log-odds of a click.
    private func margin(of event: Event) -> Double {
        var margin = -1.47
        margin += 0.5 * weight(1, event.user)
        margin += 0.8 * weight(2, event.item)
        margin += 1.1 * weight(3, event.site)
        margin += 0.3 * weight(4, UInt64(event.device))
        margin += 0.2 * weight(5, UInt64(event.system))
        margin += 0.3 * weight(6, UInt64(event.country))
        margin += 1.1 * weight(7, event.campaign)
        margin += 0.6 * weight(8, event.creative)
        margin += 0.3 * weight(9, UInt64(event.slot))
        margin += 0.2 * weight(10, event.hour)
        margin += 0.3 * weight(11, UInt64(event.device) << 32 | UInt64(event.slot))
        margin += 0.7 * weight(12, event.site << 32 | event.campaign)
        // Each number relative to its mean, in its own unit.
        margin -= 0.015 * (0.01 * Double(event.priceCents) - 23.5)
        margin -= 0.003 * (0.1 * Double(event.ageTenths) - 91)
        margin += 8 * (0.0001 * Double(event.rateTenThousandths) - 0.095)
        margin += 0.004 * (0.1 * Double(event.dwellTenths) - 75)
        margin -= 0.1 * (Double(event.position) - 5.5)
        return margin
    }

    /// The present hidden weight of a field's value, in -1 ..< 1.
    private func weight(_ field: UInt64, _ value: UInt64) -> Double {
        Double(Int64(bitPattern: SplitMix64.mix(truth ^ field << 56 ^ value)) >> 10) * 0x1p-53
    }
}

extension OutputSpan<UInt8> {
    fileprivate mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { for byte in $0 { append(byte) } }
    }

    fileprivate mutating func append(decimal value: UInt64) {
        if value >= 10 { append(decimal: value / 10) }
        append(digit: value)
    }

    /// Appends the last digit of `value`.
    fileprivate mutating func append(digit value: UInt64) {
        append(UInt8(truncatingIfNeeded: 48 + value % 10))
    }

    fileprivate mutating func append(tenths value: UInt64) {
        append(decimal: value / 10)
        append(46)
        append(digit: value)
    }

    fileprivate mutating func append(hundredths value: UInt64) {
        append(decimal: value / 100)
        append(46)
        append(digit: value / 10)
        append(digit: value)
    }

    fileprivate mutating func append(fourDigits value: UInt64) {
        append(digit: value / 1000)
        append(digit: value / 100)
        append(digit: value / 10)
        append(digit: value)
    }

    fileprivate mutating func append(hexadecimal value: UInt64) {
        for shift in Swift.stride(from: 60, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
            append(digit < 10 ? 48 + digit : 87 + digit)
        }
    }
}
