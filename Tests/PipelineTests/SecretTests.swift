// Secrets written in a pipeline file itself, against all advice: no message tells them, and the history does not keep them.

import Foundation
import Pipeline
import Testing

@Suite struct SecretTests {
    private static let secret = "hunter2"

    /// What one may get wrong about a file with a secret in it, with the secret in many shapes.
    private static let mistaken: [String] = [
        "store: postgresql://u:hunter2@h/d", "store: [postgresql://u:hunter2@h/d]", "store: {postgres: [hunter2]}", "store: {postgres: {password: hunter2}}",
        "store: {postgresql: \"postgresql://u:hunter2@h/d\"}", "store: {postgres: !hunter2 x}", "postgres: postgresql://u:hunter2@h/d",
        "store: {postgres: \"${hunter2\"}", "store: {postgres: \"pa${{hunter2}\"}", "monitor: postgresql://u:hunter2@h/d", "publish: {topic: [password=hunter2]}",
        "learn: password hunter2", "model: {kind: \"${X:-postgresql://u:hunter2@h/d}\"}", "store: {postgres: hunter2: x}", "store: {postgres: \"hunter2\\q\"}",
        "store: {postgres: hunter2}\nstore: {postgres: hunter2}", "store: {postgres: 'hunter2}", "store: {postgres: %hunter2}", "store: {postgres: @hunter2}",
    ]
    private static let properties: [String] = [
        "sasl.password: [hunter2]", "sasl.password: {hunter2: 1}", "sasl.password: !hunter2", "sasl.password: \"${hunter2\"", "ssl.key.pem: hunter2",
        "sasl.pasword: hunter2", "ssl.key.password: hunter2, nonsense: 1", "sasl.oauthbearer.config: \"hunter2 x\", nonsense: 1", "enable.ssl.certificate.verification: hunter2 password",
    ]

    /// Protects: errors get into terminals, logs and tickets.
    @Test(arguments: mistaken + properties.map { "@" + $0 } + ["=sasl.password=hunter2", "=[sasl.password, hunter2]"])
    func errorsTellNone(_ mistake: String) {
        var text = smallPipeline
        switch mistake.first {
        case "@": text = text.replacing("{topic: feedback.clicks}", with: "{topic: t, properties: {\(mistake.dropFirst())}}")
        case "=": text = text.replacing("{topic: feedback.clicks}", with: "{topic: t, properties: \(mistake.dropFirst())}")
        default: text += mistake + "\n"
        }
        let found = problems(text + "unknown: 1\n")
        #expect(!found.isEmpty)
        // Its name may be a key or an environment variable's; a value it must not be.
        #expect(!found.contains(Self.secret), "\(found)")
    }

    /// Protects: a number with leading zeros is told for what it is, unless it is a password.
    @Test func numbersThatArePasswords() throws {
        let text = smallPipeline.replacing("{topic: feedback.clicks}", with: "{topic: t, properties: {sasl.password: 0071234}}")
        #expect(try parse(text).source.kafka().properties["sasl.password"] == "0071234")
        #expect(problems(smallPipeline + "model: {bits: 0071234}\n").contains("0071234"))
    }

    /// Protects: the history keeps the file's text, which many may read, without what is secret in it.
    @Test func historyKeepsNone() throws {
        let secrets = """
            pipeline: clicks  # postgresql://u:hunter2-hunter2@h/d was the old one
            source:
              kafka:
                topic: feedback.clicks
                properties: {security.protocol: sasl_ssl, sasl.username: me, sasl.password: 'hunter2', ssl.key.password: "${KEY:-hunter2}"}
              label: {field: clicked}
            features:
              - {field: user_id, kind: categorical}
            store:
              postgres: postgresql://u:hunter2-hunter2@h/d

            """
        let kept = try parse(secrets.replacing("postgresql://u:hunter2-hunter2@h/d was", with: "postgresql://u:hunter2-hunter2@h/d, it was")).sourceText
        #expect(!kept.contains("hunter2"), "\(kept)")
        #expect(kept.contains("sasl.username: me, sasl.password: '***', ssl.key.password: \"***\"") && kept.contains("postgres: ***\n"))
        #expect(try parse(secrets).postgresURL() == "postgresql://u:hunter2-hunter2@h/d")
        // References are no secrets.
        let references = secrets.replacing("'hunter2'", with: "\"${PASS}\"").replacing("${KEY:-hunter2}", with: "${KEY}")
            .replacing("postgresql://u:hunter2-hunter2@h/d", with: "\"${DATABASE_URL}\"")
        #expect(try parse(references, environment: ["PASS": "hunter2", "KEY": "hunter2", "DATABASE_URL": "x"]).sourceText == references)
        // What cannot be found as it was written takes the whole text with it.
        for written in ["\"hun\\x74er2\"", ">-\n        hunter2\n        more", "|\n        hunter2"] {
            let text = secrets.replacing("postgres: postgresql://u:hunter2-hunter2@h/d", with: "postgres: " + written)
            #expect(!(try parse(text).sourceText).contains("hun"), "\(written)")
        }
    }
}
