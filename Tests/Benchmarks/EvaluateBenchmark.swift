// `freshet evaluate` on one core beside Vowpal Wabbit on one core: the same events, each in its own text, start-up and parsing included.

func measureEvaluate(_ bench: Workbench) throws {
    let json = try bench.clicks("json")
    let adaGrad = try bench.file("clicks-adagrad", bench.clicksPipeline())
    let automatic = try bench.clicksPipeline([(Workbench.adaGrad, Workbench.auto)])
    let auto = bench.definition(automatic) == nil ? nil : try bench.file("clicks-auto", automatic)

    var ours: [Double] = []
    var theirs: [Double] = []
    var autos: [Double] = []
    var quality: [[String]] = []
    for round in 1...Workbench.rounds {
        let evaluated = try bench.evaluate(adaGrad, json)
        ours.append(evaluated.rate)
        if round == 1 { quality.append(row("Freshet, adagrad, int8", evaluated)) }
        if let vw = try bench.peers?.vw(bench, bench.clicks("vw")) {
            theirs.append(vw.examplesPerCPUSecond)
            if round == 1 { quality.append(["Vowpal Wabbit, default", decimal(vw.logloss, 5), decimal(vw.auc, 5)]) }
        }
        guard let auto else { continue }
        let evaluatedAuto = try bench.evaluate(auto, json)
        autos.append(evaluatedAuto.rate)
        if round == 1 { quality.insert(row("Freshet, auto, int8", evaluatedAuto), at: 1) }
    }
    let what = "`freshet evaluate`, JSON clicks, int8, 2^22 weights, a CPU second: AdaGrad"
    if theirs.isEmpty {
        bench.row(what, rate(ours), "Vowpal Wabbit: skipped", goal: "2, stretch 2.5")
    } else {
        bench.row(what, rate(ours), "Vowpal Wabbit's default on its text: \(rate(theirs))", ratio(ours, theirs), goal: "2, stretch 2.5")
    }
    if autos.isEmpty {
        bench.row("the same with `optimizer: auto`", "skipped: this program has none")
    } else {
        bench.row("the same with `optimizer: auto`", rate(autos), "AdaGrad's: \(rate(ours))", ratio(autos, ours))
    }

    for option in ["--sgd", "--ftrl", "--coin"] {
        guard let vw = try bench.peers?.vw(bench, bench.clicks("vw"), [option]) else { continue }
        quality.append(["Vowpal Wabbit, \(option)", decimal(vw.logloss, 5), decimal(vw.auc, 5)])
    }
    bench.table("Progressive quality on the same \(bench.events) clicks:", ["learner", "logloss", "AUC"], quality)
}

private func row(_ name: String, _ evaluated: Evaluated) -> [String] {
    [name, evaluated.evaluation.logloss.map { decimal($0, 5) } ?? "", evaluated.evaluation.auc.map { decimal($0, 5) } ?? ""]
}
