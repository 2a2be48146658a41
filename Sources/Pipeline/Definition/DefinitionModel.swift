// What a definition means to the learner and to serving nodes.

import Learner
import Model
import Records

extension PipelineDefinition.Learn {
    /// An optimizer by name, with its parameters.
    public struct Optimizer: Sendable, Equatable {
        /// As the file writes them.
        public enum Kind: String, Sendable, CaseIterable { case auto, sgd, adagrad, vw, ftrl, adam, coin }

        struct Parameter: Sendable {
            let key: String
            let fallback: Double
            let range: ClosedRange<Double>
        }

        public let kind: Kind
        /// In the order of `parameters`.
        let values: [Double]

        init(_ kind: Kind, _ values: [Double]? = nil) {
            self.kind = kind
            self.values = values ?? Self.parameters(of: kind).map(\.fallback)
        }

        static func parameters(of kind: Kind) -> [Parameter] {
            func rate(_ fallback: Double) -> Parameter { Parameter(key: "rate", fallback: fallback, range: 1e-9...100) }
            let penalties = ["l1", "l2"].map { Parameter(key: $0, fallback: 0, range: 0...1000) }
            func betting(_ key: String, _ fallback: Double) -> Parameter { Parameter(key: key, fallback: fallback, range: 1e-9...1000) }
            func fading(_ key: String, _ fallback: Double, _ largest: Double) -> Parameter {
                Parameter(key: key, fallback: fallback, range: 0...largest)
            }
            return switch kind {
            case .auto: []
            case .sgd: [rate(0.05)] + penalties
            case .adagrad: [rate(0.1), fading("forget", 1, 1)] + penalties
            case .vw: [rate(0.5)] + penalties
            case .ftrl: [betting("alpha", 0.5), fading("beta", 1, 1000)] + penalties
            case .adam: [rate(0.001), fading("beta1", 0.9, 0.999999), fading("beta2", 0.999, 0.9999999)] + penalties
            case .coin: [betting("alpha", 4), betting("beta", 1)]
            }
        }

        /// Whether it has a learning rate for a schedule to multiply, and can take a mean gradient for a step.
        var takesGradients: Bool { [.sgd, .adagrad, .adam].contains(kind) }

        /// One line for the hash of the definition: the first parameter always, others as far as they are not at their defaults.
        var canonical: String {
            var shown = values
            let fallbacks = Self.parameters(of: kind).map(\.fallback)
            while shown.count > 1, shown.last == fallbacks[shown.count - 1] { shown.removeLast() }
            return ([kind.rawValue] + shown.map { String($0.bitPattern, radix: 16) }).joined(separator: " ")
        }

        package var definition: OptimizerDefinition {
            let value = values.map(Float.init)
            return switch kind {
            case .auto: .auto
            case .sgd: .sgd(rate: value[0], l1: value[1], l2: value[2])
            case .adagrad: .adaGrad(rate: value[0], forget: value[1], l1: value[2], l2: value[3])
            case .vw: .normalizedAdaptive(rate: value[0], l1: value[1], l2: value[2])
            case .ftrl: .ftrlProximal(alpha: value[0], beta: value[1], l1: value[2], l2: value[3])
            case .adam: .adam(rate: value[0], beta1: value[1], beta2: value[2], l1: value[3], l2: value[4])
            case .coin: .coinBetting(alpha: value[0], beta: value[1])
            }
        }
    }
}

extension PipelineDefinition {
    /// The form of the pipeline's images.
    public var layout: ImageLayout { Self.layout(plan: plan, model: model, learn: learn) }

    static func layout(plan: EventPlan, model: Model, learn: Learn) -> ImageLayout {
        OnlineLearner.layout(
            bits: model.bits, weights: model.weights, scaledCount: plan.scaledNames.count, dense: plan.denseFields.map(\.size), loss: learn.loss,
            optimizer: learn.optimizer.definition)
    }

    /// What the model's outputs mean.
    public var link: Link { learn.loss.link }

    /// How the learner learns.
    var rule: LearningRule {
        LearningRule(
            loss: learn.loss, schedule: learn.schedule, accumulate: learn.accumulate,
            roundingSeed: model.rounding == .stochastic ? model.seed : nil)
    }
}

extension Loss {
    /// As the file writes it.
    enum Name: String, CaseIterable { case logistic, squared, hinge, quantile, poisson, softmax }

    var name: Name {
        switch self {
        case .logistic: .logistic
        case .squared: .squared
        case .hinge: .hinge
        case .quantile: .quantile
        case .poisson: .poisson
        case .softmax: .softmax
        }
    }

    var link: Link {
        switch self {
        case .logistic: .logistic
        case .squared, .hinge, .quantile: .identity
        case .poisson: .exponential
        case .softmax: .softmax
        }
    }
}
