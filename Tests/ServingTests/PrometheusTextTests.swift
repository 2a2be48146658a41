import Serving
import Testing

/// Scrapers refuse a whole page for one bad line.
@Suite struct PrometheusTextTests {
    @Test("families, labels and escapes are as the format 0.0.4 wants them")
    func format() {
        var page = PrometheusText()
        page.family("a_total", .counter, help: "Back\\slash and\nline.") {
            $0.sample(UInt64(3), [("model", "a\"b\\c\nd"), ("code", "200")])
            $0.sample(UInt64(4))
        }
        page.family("b_seconds", .gauge, help: "Numbers.") {
            $0.sample(0.5)
            $0.sample(Double.infinity)
            $0.sample(Double.nan)
        }
        #expect(
            page.text == """
                # HELP a_total Back\\\\slash and\\nline.
                # TYPE a_total counter
                a_total{model="a\\"b\\\\c\\nd",code="200"} 3
                a_total 4
                # HELP b_seconds Numbers.
                # TYPE b_seconds gauge
                b_seconds 0.5
                b_seconds +Inf
                b_seconds NaN

                """)
    }

    @Test("a histogram's buckets are cumulative and end with the count")
    func histogram() {
        var histogram = DurationHistogram()
        for milliseconds in [0, 1, 3, 3, 60_000] { histogram.record(.milliseconds(milliseconds)) }
        var page = PrometheusText()
        page.family("d_seconds", .histogram, help: "Durations.") { $0.histogram(histogram, [("model", "m")]) }
        let lines = page.text.split(separator: "\n").map(String.init)
        #expect(lines.contains("d_seconds_bucket{model=\"m\",le=\"0.0001\"} 1"))
        #expect(lines.contains("d_seconds_bucket{model=\"m\",le=\"0.001\"} 2"))
        #expect(lines.contains("d_seconds_bucket{model=\"m\",le=\"0.005\"} 4"))
        #expect(lines.contains("d_seconds_bucket{model=\"m\",le=\"10.0\"} 4"))
        #expect(lines.contains("d_seconds_bucket{model=\"m\",le=\"+Inf\"} 5"))
        #expect(lines.contains("d_seconds_count{model=\"m\"} 5"))
    }
}
