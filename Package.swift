// swift-tools-version:6.2
import PackageDescription

/// What `make fuzz` and `make sanitize` build with: `fuzzer`, `address`, `thread`.
let sanitizer = Context.environment["FRESHET_SANITIZER"]
/// The per-event path is checked by tests in its ordinary build; `-Ounchecked` removes overflow and bounds traps there. Sanitized builds keep them.
let hot: [SwiftSetting] = sanitizer == nil ? [.unsafeFlags(["-Ounchecked", "-enforce-exclusivity=unchecked"])] : []
/// The state machine reaches for its parts at every event; that no two do so at once is checked where builds are sanitized.
let exclusive: [SwiftSetting] = sanitizer == nil ? [.unsafeFlags(["-enforce-exclusivity=unchecked"])] : []

let package = Package(
    name: "freshet",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "freshet", targets: ["freshet"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-atomics", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CRDKafka", providers: [.apt(["librdkafka-dev"])]),
        .systemLibrary(name: "CPQ", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "CIntrinsics"),
        .target(name: "CSimdJSON", linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "KafkaClient", dependencies: ["CRDKafka"]),
        .target(name: "PostgresClient", dependencies: ["CPQ"]),
        .target(name: "Records", dependencies: ["CSimdJSON", "ReproducibleMath"], swiftSettings: hot),
        .target(name: "ReproducibleMath"),
        .target(name: "Model", dependencies: ["CIntrinsics", "Records", "ReproducibleMath", "CZstd"], swiftSettings: hot),
        .target(name: "Learner", dependencies: ["CIntrinsics", "Model", "ReproducibleMath"], swiftSettings: hot),
        .target(name: "Drift", dependencies: ["ReproducibleMath"]),
        .target(
            name: "Pipeline",
            dependencies: [
                "KafkaClient", "PostgresClient", "Records", "Model", "Learner", "Drift", "Yams",
                .product(name: "Atomics", package: "swift-atomics"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            resources: [
                .embedInCode("../../schemas/click.schema.json"), .embedInCode("../../schemas/electricity.schema.json"),
                .embedInCode("../../schemas/migrations/0001_history.sql"), .embedInCode("../../schemas/migrations/0002_lineages.sql"),
                .embedInCode("../../schemas/migrations/0003_retention.sql"), .embedInCode("../../schemas/migrations/0004_publishing.sql"),
                .embedInCode("../../schemas/migrations/0005_drift.sql"),
                .embedInCode("../../schemas/migrations/0006_questions.sql"), .embedInCode("../../schemas/migrations/0007_hours.sql"),
            ],
            swiftSettings: exclusive
        ),
        .target(
            name: "Serving",
            dependencies: [
                "Model", "Records", "KafkaClient", "ReproducibleMath",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .executableTarget(
            name: "freshet",
            dependencies: [
                "CIntrinsics", "Pipeline", "Serving", "KafkaClient", "PostgresClient", "Records", "Model", "Learner", "Drift", "ReproducibleMath",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            resources: [
                .embedInCode("../../pipelines/demo.yaml"), .embedInCode("../../schemas/openapi.json"), .embedInCode("Console/console.html"),
                .embedInCode("Console/console.css"), .embedInCode("Console/console.js"), .embedInCode("Console/format.js"), .embedInCode("Console/live.js"),
                .embedInCode("Console/plot.js"), .embedInCode("Console/views.js"),
            ]
        ),
        .target(name: "TestSupport", dependencies: ["PostgresClient"], path: "Tests/Support"),
        .systemLibrary(name: "CMalloc", path: "Tests/CMalloc"),
        .executableTarget(
            name: "freshet-bench",
            dependencies: [
                "TestSupport", "Pipeline", "Learner", "Model", "Records", "Drift", "KafkaClient", "PostgresClient", "CMalloc",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            path: "Tests/Benchmarks", exclude: ["partial_fit.py", "mlserver_model.py", "river_detectors.py"], swiftSettings: hot),
        .target(
            name: "Simulator",
            dependencies: [
                "TestSupport", "Pipeline", "Serving", "KafkaClient", "PostgresClient", "Model", "Records", "Learner",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/Simulator"),
        .executableTarget(name: "freshet-simulate", dependencies: ["Simulator"], path: "Tests/Simulate"),
        .testTarget(name: "KafkaClientTests", dependencies: ["TestSupport", "KafkaClient"]),
        .testTarget(name: "PostgresClientTests", dependencies: ["TestSupport", "PostgresClient"]),
        .testTarget(name: "RecordsTests", dependencies: ["TestSupport", "Records"]),
        .testTarget(name: "ReproducibleMathTests", dependencies: ["ReproducibleMath"]),
        .testTarget(name: "ModelTests", dependencies: ["TestSupport", "Model", "Records"]),
        .testTarget(name: "LearnerTests", dependencies: ["TestSupport", "Learner", "Model", "Records", "ReproducibleMath"]),
        .testTarget(name: "DriftTests", dependencies: ["Drift"], exclude: ["river_answers.py"]),
        .testTarget(
            name: "PipelineTests", dependencies: ["TestSupport", "KafkaClient", "Pipeline", "Records", "Learner", "Model", "Drift"], exclude: ["Fixtures"]),
        .testTarget(name: "SimulatorTests", dependencies: ["Simulator"]),
        .testTarget(
            name: "ServingTests",
            dependencies: [
                "TestSupport", "Serving", "Model", "Records", "KafkaClient", "ReproducibleMath",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            exclude: ["v2_client.py"]
        ),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "freshet", "TestSupport", "Pipeline", "Serving", "KafkaClient", "PostgresClient", "Records", "Model", "ReproducibleMath",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            exclude: ["console_check.py", "prometheus_alerts_test.yaml"]
        ),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)

if sanitizer == "fuzzer" {
    package.targets.append(
        .executableTarget(
            name: "freshet-fuzz", dependencies: ["TestSupport", "Pipeline", "Learner", "Model", "Records", "ReproducibleMath"], path: "Tests/Fuzz",
            exclude: ["words.dict"]))
}
if sanitizer == "thread" {
    package.targets.append(.target(name: "CThreads", path: "Tests/Sanitizers/CThreads"))
    for target in package.targets where target.name == "TestSupport" { target.dependencies.append("CThreads") }
}
