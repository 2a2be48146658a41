// Decoding alone and learning alone: in this process, on this thread, over events that are in memory.

func measureCore(_ bench: Workbench) throws {
    guard let adaGrad = bench.definition(try bench.clicksPipeline()) else { throw BenchmarkError("pipelines/clicks.yaml is refused") }
    let events = try EventsInMemory(path: bench.clicks("json"), limit: min(bench.events, 500_000))
    let count = Double(events.events.count)
    let batches = events.decoded(adaGrad)

    let learner = try LearningAlone(adaGrad)
    let auto = try bench.definition(bench.clicksPipeline([(Workbench.adaGrad, Workbench.auto)])).map(LearningAlone.init)
    // The first pass makes every block's scale grow from nothing; a long stream does that once.
    learner.learn(batches)
    auto?.learn(batches)

    var decoding: [Double] = []
    var learning: [Double] = []
    var learningAuto: [Double] = []
    for _ in 1...Workbench.rounds {
        decoding.append(count / (try timed { try events.decode(adaGrad) }))
        learning.append(count / timed { learner.learn(batches) })
        if let auto { learningAuto.append(count / timed { auto.learn(batches) }) }
    }
    bench.row(
        "JSON decode and hash alone, a CPU second", rate(decoding), "\(decimal(median(decoding) * events.bytesEach / 1e9, 2)) GB/s of JSON", "",
        goal: "2 M/s, stretch 3.5")
    bench.row("learning alone, int8, AdaGrad, 2^22 weights, decoded in memory, a CPU second", rate(learning), goal: "2.5 M/s, stretch 3.5")
    if learningAuto.isEmpty {
        bench.row("learning alone, `auto`", "skipped: this program has none", goal: "0.25")
    } else {
        bench.row("learning alone, `auto`", rate(learningAuto), "AdaGrad's: \(rate(learning))", ratio(learningAuto, learning), goal: "0.25")
    }
}
