// All kinds of detectors under one name: what the monitor, the pipeline file and the command line hold.

/// A kind of detector, by its name in a pipeline file and on the command line.
public enum DetectorKind: String, Sendable, CaseIterable {
    case adwin
    case pageHinkley = "page_hinkley"
    case ddm
    case eddm
    case hddmA = "hddm_a"
    case hddmW = "hddm_w"
    case fhddm
    case kswin

    /// What a detector is to be fed of a prediction.
    public enum Input: Sendable {
        /// How wrong it was, a number from 0 to 1.
        case error
        /// 1 if it was wrong and 0 if it was right.
        case mistake
        /// 1 if it was right and 0 if it was wrong.
        case success
    }

    public var input: Input {
        switch self {
        case .adwin, .pageHinkley, .hddmA, .hddmW, .kswin: .error
        case .ddm, .eddm: .mistake
        case .fhddm: .success
        }
    }

    public var parameters: [DriftParameter] { type.parameters }

    var type: any DriftDetector.Type {
        switch self {
        case .adwin: ADWIN.self
        case .pageHinkley: PageHinkley.self
        case .ddm: DDM.self
        case .eddm: EDDM.self
        case .hddmA: HDDMA.self
        case .hddmW: HDDMW.self
        case .fhddm: FHDDM.self
        case .kswin: KSWIN.self
        }
    }
}

/// A detector of any kind.
public struct Detector: Sendable {
    public let kind: DetectorKind
    // A box, changed in place. An enumeration over the kinds was measured: it is as large as the largest and moved at every update, three times as slow.
    private var detector: any DriftDetector

    /// A detector that has seen nothing. Throws `DriftError.invalidParameter`.
    public init(_ definition: DetectorDefinition) throws(DriftError) {
        kind = definition.kind
        detector = try kind.type.init(parameters: definition.values)
    }

    /// The detector of this kind whose `state` this was. Throws `DriftError.unusableState`, or `invalidParameter` if that is what is wrong with it.
    public init(_ kind: DetectorKind, restoring state: [Double]) throws(DriftError) {
        self.kind = kind
        detector = try kind.type.init(restoring: state)
    }

    /// See `DriftDetector.update`.
    public mutating func update(_ value: Double) -> DriftSignal { detector.update(value) }

    /// See `DriftDetector.isWarning`.
    public var isWarning: Bool { detector.isWarning }
    /// See `DriftDetector.lastAlarm`.
    public var lastAlarm: DriftEstimate? { detector.lastAlarm }
    /// See `DriftDetector.evidence`.
    public var evidence: DriftEvidence? { detector.evidence }
    /// See `DriftDetector.state`.
    public var state: [Double] { detector.state }
}

/// A detector as a pipeline file or a command line asks for it.
public struct DetectorDefinition: Sendable, Equatable {
    public let kind: DetectorKind
    /// What drift rows call it.
    public let name: String
    /// Of every parameter, in the order of `kind.parameters`.
    public let values: [Double]

    /// With the standard values of all parameters.
    public init(standard kind: DetectorKind) {
        (self.kind, name, values) = (kind, kind.rawValue, kind.parameters.map(\.standard))
    }

    /// The parameters that are not given have their standard values; the name is the kind's. Throws `DriftError.invalidParameter`.
    public init(_ kind: DetectorKind, name: String? = nil, _ given: [String: Double] = [:]) throws(DriftError) {
        self.kind = kind
        self.name = name ?? kind.rawValue
        values = try kind.type.values(given)
        _ = try kind.type.init(parameters: values)
    }
}
