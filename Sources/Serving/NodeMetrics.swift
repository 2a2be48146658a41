// The page of metrics of a node. Names are an interface: they stay.

enum NodeMetrics {
    static func page(_ hosts: [ModelHost], _ requests: RequestMetrics.Counts, now instant: ContinuousClock.Instant) -> String {
        var page = PrometheusText()
        page.family("freshet_node_requests_total", .counter, help: "HTTP requests answered, by status code.") {
            for (code, count) in requests.byCode.sorted(by: { $0.key < $1.key }) { $0.sample(count, [("code", String(code))]) }
        }
        page.family("freshet_node_request_duration_seconds", .histogram, help: "From a request's head to its answer.") {
            $0.histogram(requests.durations)
        }
        let models = hosts.map { (labels: [(name: "model", value: $0.model.name)], status: $0.status, served: $0.slot.current) }
        func counter(_ name: String, _ help: String, _ value: (ModelStatus) -> UInt64) {
            page.family(name, .counter, help: help) { for model in models { $0.sample(value(model.status), model.labels) } }
        }
        counter("freshet_node_predictions_total", "Instances predicted.") { $0.predictions }
        counter("freshet_node_swaps_total", "Images swapped in.") { $0.swaps }
        counter("freshet_node_resyncs_total", "Times that patches did not lead on and a whole image was looked for.") { $0.resyncs }
        counter("freshet_node_refused_publications_total", "Publications refused: damaged, fenced off, or of another definition.") {
            $0.refusedPublications
        }
        page.family("freshet_node_swap_duration_seconds", .histogram, help: "From having a whole publication to having swapped.") {
            for model in models { $0.histogram(model.status.swapDurations, model.labels) }
        }
        page.family("freshet_node_ready", .gauge, help: "1 if the model has a verified image.") {
            for model in models { $0.sample(UInt64(model.served == nil ? 0 : 1), model.labels) }
        }
        page.family("freshet_node_version", .gauge, help: "The stable version.") {
            for model in models { if let served = model.served { $0.sample(served.version, model.labels) } }
        }
        page.family("freshet_node_canary_version", .gauge, help: "The version on trial on this node, while there is one.") {
            for host in hosts { if let candidate = host.candidate.current { $0.sample(candidate.version, [("model", host.model.name)]) } }
        }
        page.family("freshet_node_publication", .gauge, help: "The publication served.") {
            for model in models { if let served = model.served { $0.sample(served.position.sequence, model.labels) } }
        }
        let now = millisecondsNow()
        page.family("freshet_node_since_swap_seconds", .gauge, help: "How long ago the served image was swapped in.") {
            for model in models { if let served = model.served { $0.sample(Double(now - served.swappedAtMilliseconds) / 1000, model.labels) } }
        }
        page.family("freshet_node_unconfirmed_seconds", .gauge, help: "How long ago the node last knew that it held what was published last.") {
            for host in hosts { $0.sample(Double(milliseconds(host.unconfirmed(at: instant))) / 1000, [("model", host.model.name)]) }
        }
        page.family("freshet_node_freshness_seconds", .gauge, help: "Now minus the newest event that the served image has learned.") {
            for model in models {
                if let served = model.served, served.newestEventMilliseconds > 0 {
                    $0.sample(Double(now - served.newestEventMilliseconds) / 1000, model.labels)
                }
            }
        }
        return page.text
    }
}
