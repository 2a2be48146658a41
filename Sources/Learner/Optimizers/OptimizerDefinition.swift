/// Which optimizer, with its parameters; see the type of the same name for each.
public enum OptimizerDefinition: Sendable, Equatable {
    case sgd(rate: Float, l1: Float = 0, l2: Float = 0)
    case adaGrad(rate: Float, forget: Float = 1, l1: Float = 0, l2: Float = 0)
    case normalizedAdaptive(rate: Float = 0.5, l1: Float = 0, l2: Float = 0)
    case ftrlProximal(alpha: Float = 0.5, beta: Float = 1, l1: Float = 0, l2: Float = 0)
    case adam(rate: Float = 0.001, beta1: Float = 0.9, beta2: Float = 0.999, l1: Float = 0, l2: Float = 0)
    case coinBetting(alpha: Float = 4, beta: Float = 1)
    /// A bank of rates and forgetting speeds, mixed online.
    case auto
}
