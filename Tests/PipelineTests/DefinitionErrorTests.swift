// Each way in which a file can be wrong: the exact place, and words that say what would be right.

import Foundation
import Pipeline
import Testing

@Suite struct DefinitionErrorTests {
    static let features = "  - {field: user_id, kind: categorical}\n"

    struct Case: Sendable, CustomTestStringConvertible {
        let text: String
        let expected: String
        var testDescription: String { expected }

        /// The small pipeline with one text in it replaced.
        init(_ from: String, _ to: String, _ expected: String...) {
            self.init(text: smallPipeline.replacing(from, with: to), expected)
        }
        /// The small pipeline with lines added, the first being line 7.
        init(adding lines: String, _ expected: String...) { self.init(text: smallPipeline + lines + "\n", expected) }
        init(whole text: String, _ expected: String...) { self.init(text: text, expected) }
        private init(text: String, _ expected: [String]) {
            self.text = text
            self.expected = expected.map { "p.yaml:" + $0 }.joined(separator: "\n")
        }
    }

    static let keys: [Case] = [
        .init(adding: "learn: {optimizer: {kind: adagrad, rat: 0.1}}", "7:36: unknown key `rat` in learn.optimizer; did you mean `rate`? (known: kind, rate, forget, alpha, beta, beta1, beta2, l1, l2)"),
        .init(adding: "modle: {}", "7:1: unknown key `modle`; did you mean `model`? (known: pipeline, source, features, model, learn, monitor, on_drift, version, snapshot, keep, publish, serve, dead_letters, store, tests)"),
        .init("kind: categorical", "kind: categorical, hashing: 7", "6:41: unknown key `hashing` in features (known: field, kind, scale, clip, edges, words, characters, size, cross)"),
        .init("pipeline: clicks\n", "", "1:1: `pipeline` is missing; for example `pipeline: clicks`"),
        .init("pipeline: clicks", "pipeline:", "1:10: `pipeline` is missing; for example `pipeline: clicks`"),
        .init("{topic: feedback.clicks}", "{}", "3:10: `source.kafka.topic` is missing; for example `topic: feedback.clicks`"),
        .init("  kafka: {topic: feedback.clicks}\n", "", "3:3: `source.kafka` is missing; for example `kafka: {brokers: \"localhost:9092\", topic: feedback.clicks}`"),
        .init("  label: {field: clicked}\n", "", "3:3: `source.label` is missing; for example `label: {field: clicked, kind: binary}`"),
        .init("features:\n" + features, "", "1:1: `features` is missing; for example `features: [{field: user_id, kind: categorical}]`"),
        .init("features:\n" + features, "features: []", "5:11: features is empty; a model needs one at least, for example `- {field: user_id, kind: categorical}`"),
        .init(", kind: categorical", "", "6:5: `features.kind` is missing; for example `kind: categorical`"),
        .init(adding: "learn: {optimizer: {rate: 1}}", "7:20: `learn.optimizer.kind` is missing; for example `kind: auto`"),
        .init(adding: "model: {bits: 3, bits: 4}", "7:9: duplicate key `bits`: this is the first, another follows in the same map; keep one"),
        .init(adding: "pipeline: again", "1:1: duplicate key `pipeline`: this is the first, another follows in the same map; keep one"),
        .init("feedback.clicks", "t, properties: {enable.auto.commit: true, group.id: x, acks: 1}",
            "3:34: `enable.auto.commit` cannot be set: versions record the positions, and `source.start` says where the first start begins",
            "3:60: `group.id` cannot be set: Freshet assigns the partitions to the holder of the pipeline's lease; there is no consumer group to join; offsets are committed under the pipeline's name",
            "3:73: `acks` cannot be set: Freshet sets it itself"),
        .init("feedback.clicks", "t, properties: {sasl.pasword: x, linger.ms: -1, client.id: x}",
            "3:34: source.kafka.properties: the property sasl.pasword is not accepted: No such configuration property: \"sasl.pasword\"",
            "3:51: source.kafka.properties: the property linger.ms is not accepted: Configuration property \"queue.buffering.max.ms\" value -1 is outside allowed range 0..900000"),
        .init("feedback.clicks", "t, properties: {bootstrap.servers: x}", "3:34: `bootstrap.servers` cannot be set: use `source.kafka.brokers`"),
    ]

    static let values: [Case] = [
        .init(adding: "serve: {stale_seconds: 0}",
            "7:24: serve.stale_seconds must be a number from 0.1 to 31536000.0, for example `stale_seconds: 60.0`; found the number `0`"),
        .init(adding: "serve: {log: a/b}",
            "7:14: serve.log must be 1 to 249 letters, digits, `.`, `_` or `-`, as Kafka names topics; for example `log: clicks.predictions`"),
        .init(adding: "serve: {log: clicks.images}", "7:8: serve.log is a topic that the pipeline has other things in; name another"),
        .init(adding: "serve: {log: feedback.clicks}", "7:8: serve.log is a topic that the pipeline has other things in; name another"),
        .init(adding: "keep: {snapshots: 0, days: 0}",
            "7:19: keep.snapshots must be a whole number from 1 to 10000, for example `snapshots: 10`; found the number `0`",
            "7:28: keep.days must be a number from 0.001 to 36500.0, for example `days: 30.0`; found the number `0`"),
        .init("pipeline: clicks", "pipeline: Clicks!", "1:11: pipeline must be a name of 1 to 64 lower-case letters, digits, `_` or `-`, for example `pipeline: clicks`"),
        .init("pipeline: clicks", "pipeline: 2024", "1:11: pipeline must be text; found the number `2024`: put it in quotes"),
        .init("pipeline: clicks", "pipeline: [a]", "1:11: pipeline must be text, for example `pipeline: clicks`; found a list"),
        .init("field: user_id", "field: ''", "6:13: features.field must be text that is not empty, for example `field: user_id`; found the text ``"),
        .init("{topic: feedback.clicks}", "feedback.clicks", "3:10: source.kafka must be a map, for example `kafka: {brokers: \"localhost:9092\", topic: feedback.clicks}`; found the text `feedback.clicks`"),
        .init("feedback.clicks", "a/b", "3:18: source.kafka.topic must be 1 to 249 letters, digits, `.`, `_` or `-`, as Kafka names topics; for example `topic: feedback.clicks`"),
        .init("feedback.clicks", "\"${EMPTY:-}\"", "3:18: source.kafka.topic is empty once its variables are put in; for example `topic: feedback.clicks`"),
        .init("feedback.clicks", "t, properties: {sasl.password: [x]}", "3:49: source.kafka.properties.sasl.password must be text, a number, true or false, for example `properties.sasl.password: sasl.password: value`"),
        .init(adding: "model: {bits: 40}", "7:15: model.bits must be a whole number from 1 to 28, for example `bits: 18`; found the number `40`"),
        .init(adding: "model: {bits: 2.5}", "7:15: model.bits must be a whole number from 1 to 28, for example `bits: 18`; found the number `2.5`"),
        .init(adding: "model: {bits: twenty}", "7:15: model.bits must be a whole number from 1 to 28, for example `bits: 18`; found the text `twenty`"),
        .init(adding: "model: {bits: \"20\"}", "7:15: model.bits must be a whole number from 1 to 28, for example `bits: 18`; found the text `20`"),
        .init(adding: "model: {seed: -1}", "7:15: model.seed must be a whole number from 0 to 18446744073709551615, for example `seed: 0`; found the number `-1`"),
        .init(adding: "model: {weights: int9, kind: fm}",
            "7:18: model.weights must be one of fp32, fp16, int8, int8_asymmetric, int4; found the text `int9`; did you mean `int4`?",
            "7:30: model.kind must be `linear` (nothing else is supported yet); found the text `fm`"),
        .init(adding: "learn: {optimizer: {kind: adagard}}", "7:27: learn.optimizer.kind must be one of auto, sgd, adagrad, vw, ftrl, adam, coin; found the text `adagard`; did you mean `adagrad`?"),
        .init(adding: "learn: {optimizer: adagard}", "7:20: learn.optimizer must be one of auto, sgd, adagrad, vw, ftrl, adam, coin; found the text `adagard`; did you mean `adagrad`?"),
        .init(adding: "learn: {optimizer: {kind: sgd, rate: 0}}", "7:38: learn.optimizer.rate must be a number from 1e-09 to 100.0, for example `rate: 0.05`; found the number `0`"),
        .init(adding: "learn: {optimizer: {kind: sgd, rate: .5}}", "7:38: the number `.5` reads differently in different programs: write `0.5`, or put it in quotes if it is text",
            "7:38: learn.optimizer.rate must be a number from 1e-09 to 100.0, for example `rate: 0.05`; found the text `.5`"),
        .init(adding: "monitor: {detectors: {kind: adwin}}", "7:22: monitor.detectors must be a list, for example `[{kind: adwin}]`; found a map"),
        .init(adding: "monitor: {detectors: [adwin], reference: newest}",
            "7:23: monitor.detectors must be a map, for example `{kind: adwin}`; found the text `adwin`",
            "7:42: monitor.reference must be served, or a version's number; found the text `newest`"),
        .init(adding: "version: {events: 0, seconds: 1e400}",
            "7:19: version.events must be a whole number from 1 to 10000000, for example `events: 20000`; found the number `0`",
            "7:31: version.seconds must be a number from 0.01 to 3600.0, for example `seconds: 0.5`; found the number `1e400`"),
        .init("  label", "  strict: yes\n  label", "4:11: source.strict must be true or false; found the text `yes`"),
        .init("  label", "  format: avro\n  label", "4:11: source.format must be `json` (nothing else is supported yet); found the text `avro`"),
        .init("  label", "  start: yesterday\n  label", "4:10: source.start must be earliest, latest, a time with its zone such as 2026-01-31T06:00:00Z, or milliseconds since 1970; found the text `yesterday`"),
        .init("  label", "  start: 2026-01-31T06:00:00\n  label", "4:10: source.start must be earliest, latest, a time with its zone such as 2026-01-31T06:00:00Z, or milliseconds since 1970; found the text `2026-01-31T06:00:00`"),
        .init("  label", "  start: 1767225600\n  label", "4:10: source.start: `1767225600` looks like seconds since 1970; write milliseconds: `start: 1767225600000`"),
        .init(adding: "store: {postgres: \"${A B}\"}", "7:19: store.postgres: a `${` in it begins no reference: write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar"),
        .init(adding: "store: {postgres: \"${A:-${B}}\"}", "7:19: store.postgres: a `${` in it begins no reference: write `${NAME}` or `${NAME:-default}`, or `$$` for a dollar"),
        .init(adding: "store: {postgres: 5}", "7:19: store.postgres must be text (in quotes), for example `postgres: \"${DATABASE_URL}\"`"),
    ]

    static let combinations: [Case] = [
        .init(features, features + "  - {field: clicked, kind: numeric}\n", "7:13: `clicked` is the label: a feature that reads it would know the answer; drop it"),
        .init(features, features + "  - {cross: [user_id, clicked]}\n", "7:23: `clicked` is the label: a feature that reads it would know the answer; drop it"),
        .init(features, features + features, "7:13: duplicate feature `user_id`: it is declared in line 6 already; keep one"),
        .init(features, features + "  - {field: a, kind: categorical}\n  - {cross: [user_id, a]}\n  - cross: [a, user_id]\n",
            "9:12: duplicate feature `a*user_id`: it is declared in line 8 already; keep one"),
        .init(features, features + "  - {field: site, kind: categorical}\n  - {cross: [user_id, sitee]}\n",
            "8:23: cross names `sitee`, which no feature, schema or test event has; did you mean `site`?"),
        .init(features, features + "  - {cross: [user_id]}\n", "7:13: a cross needs two fields at least, for example `cross: [user_id, site]`"),
        .init(features, features + "  - {cross: [user_id, user_id]}\n", "7:23: the cross names `user_id` twice; name it once"),
        .init(features, features + "  - {cross: user_id}\n", "7:13: features.cross must be a list, for example `cross: [user_id, site]`; found the text `user_id`"),
        .init(features, "  - {cross: [a, b], kind: numeric}\n  - {field: a, kind: categorical}\n  - {field: b, kind: categorical}\n",
            "6:27: a cross has only the key `cross`; drop `kind`, or make it a feature of its own"),
        .init(features, "  - {field: a, kind: numeric, scale: standard}\n  - {field: b, kind: numeric, scale: standard}\n  - {cross: [a, b]}\n",
            "8:13: a cross may have one standardised number; this has `a`, `b`; give the others `scale: none`"),
        .init("kind: categorical", "kind: categorical, scale: standard", "6:48: scale is for numeric features, and `user_id` is categorical; drop `scale`, or write `kind: numeric`"),
        .init("field: user_id", "field: constant", "6:13: a feature cannot be named `constant`, the name of the feature that every example has; rename the field"),
        .init("  label", "  time: {field: clicked, unit: ms}\n  label", "4:17: source.time.field is `clicked`, which is the label's field; it must be another"),
        .init(adding: "dead_letters: {topic: feedback.clicks}", "7:15: dead_letters.topic is the pipeline's source, which would feed on its own refusals; name another, for example the source's with `.dead` behind it"),
        .init(adding: "dead_letters: {topic: clicks.images}", "7:15: dead_letters.topic is a topic that the pipeline publishes to; name another, for example the source's with `.dead` behind it"),
        .init("feedback.clicks", "clicks.versions", "1:1: publish.topic and `.versions` or `.images` is the pipeline's source, which would feed on what it publishes; name another"),
        .init(adding: "tests:\n  - {event: {a: 1}}\n  - {event: {a: 1}, features: 1, refused: empty}\n  - {event: 5, features: 1}\n  - {event: {a: 007}, refused: wrong_typ}",
            "8:5: a test says either `features: N` or `refused: reason`, for example `{event: {user_id: 7, clicked: 1}, features: 2}`",
            "9:5: a test says either `features: N` or `refused: reason`, for example `{event: {user_id: 7, clicked: 1}, features: 2}`",
            "10:13: tests.event must be a map, or text for a record that is not JSON; found the number `5`",
            "11:17: the number `007` reads differently in different programs: write `7`, or put it in quotes if it is text",
            "11:32: tests.refused must be one of empty, too_large, malformed_json, too_many_features, duplicate_key, not_an_object, wrong_type, out_of_range, unknown_field, missing_label, label_out_of_domain, schema_violation; found `wrong_typ`; did you mean `wrong_type`?"),
    ]

    static let syntax: [Case] = [
        .init(whole: "", "1:1: the file is empty; it starts with the pipeline's name, for example `pipeline: clicks`"),
        .init(whole: "- a\n", "1:1: the file must be a map, for example `pipeline: clicks`; found a list"),
        .init(whole: "pipeline: [a\nb: c", "2:2: not YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        .init(whole: "pipeline: a\n\tsource: b\n", "2:1: not YAML: while scanning a plain scalar found a tab character that violates indentation"),
        .init(whole: "pipeline: a\n---\npipeline: b\n", "2:1: not YAML: expected a single document in the stream but found another document"),
        .init(whole: "pipeline: a\n  source: b\n", "2:9: not YAML: mapping values are not allowed in this context"),
        .init(whole: "pipeline: \"a\u{7}\"\n", "1:13: not YAML: control characters are not allowed (character code 7)"),
        .init(whole: "pipeline: *nowhere\n", "1:11: not YAML: found undefined alias"),
        .init(whole: "pipeline: a\nx: &name {a: 1}\ny: *name\n", "3:4: YAML aliases (`*name`) are not supported: write the value out"),
        .init(whole: smallPipeline.replacing("clicks\n", with: "!!binary clicks\n"), "1:11: YAML tags (`tag:yaml.org,2002:binary`) are not supported: write the value alone, text in quotes"),
        .init(whole: smallPipeline + "? [a, b]\n: 1\n", "7:3: a key must be a name; found a list or a map"),
    ]

    @Test("Keys: unknown, missing, twice, reserved", arguments: keys)
    func refusedKeys(_ one: Case) { #expect(problems(one.text) == one.expected) }

    @Test("Values: wrong types, ranges, words", arguments: values)
    func refusedValues(_ one: Case) { #expect(problems(one.text) == one.expected) }

    @Test("Parts that do not go together", arguments: combinations)
    func refusedCombinations(_ one: Case) { #expect(problems(one.text) == one.expected) }

    @Test("Text that is not YAML, or more of YAML than a pipeline needs", arguments: syntax)
    func refusedSyntax(_ one: Case) { #expect(problems(one.text) == one.expected) }

    @Test("All problems are told together, in the order of the file")
    func together() {
        let text = "pipeline: A\nsource: {kafka: {topic: 5}, label: {}}\nfeatures: [{field: a}, {cross: [a, zzz]}]\nmodel: {bits: x, seeds: 1}\n"
        let lines = problems(text).split(separator: "\n").compactMap { $0.split(separator: ":").dropFirst().first }
        #expect(lines == ["1", "2", "2", "3", "3", "3", "4", "4"])
    }

    @Test("A schema is checked against what is read, and its own errors name it")
    func schema() {
        let text = smallPipeline.replacing("  label: {field: clicked}", with: "  schema: s.json\n  label: {field: click}\n  deduplicate: {field: id}")
            + "  - {cross: [user_id, sitee]}\n"
        let closed = Array(#"{"type":"object","properties":{"user_id":{},"clicked":{},"site":{}},"additionalProperties":false}"#.utf8)
        #expect(problems(text, bundledSchemas: ["s.json": closed]) == """
            p.yaml:5:18: field `click` is not among the properties of s.json, which allows no others; did you mean `clicked`?
            p.yaml:6:24: field `id` is not among the properties of s.json, which allows no others
            p.yaml:9:23: cross names `sitee`, which no feature, schema or test event has; did you mean `site`?
            p.yaml:9:23: field `sitee` is not among the properties of s.json, which allows no others; did you mean `site`?
            """)
        #expect(problems(text.replacing("sitee", with: "site").replacing("field: click}", with: "field: clicked}").replacing("field: id}", with: "field: user_id}"),
            bundledSchemas: ["s.json": closed]) == "")
        let broken = problems(text, bundledSchemas: ["s.json": Array(#"{"type":"object","oneOf":[]}"#.utf8)])
        #expect(broken.hasPrefix("p.yaml:4:11: source.schema: s.json"), "\(broken)")
        #expect(broken.contains("oneOf"))
        let absent = problems(smallPipeline.replacing("  label", with: "  schema: schemas/clik.json\n  label"), bundledSchemas: ["schemas/click.json": closed])
        #expect(absent == "p.yaml:4:11: source.schema: the file `schemas/clik.json` is not beside the pipeline file, in a folder above it, or in the current folder; inside the program there are schemas/click.json; did you mean `schemas/click.json`?")
    }

    @Test("A few lines that stand for billions of nodes are refused at once, as values and as keys")
    func bombs() {
        var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...40 {
            bomb += "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", ") + "]\n"
        }
        #expect(problems(bomb).hasPrefix("p.yaml:2:10: YAML aliases (`*a0`) are not supported"))
        #expect(problems(bomb.replacing(": &", with: ": ! &") + "? *a40\n: x\n").hasPrefix("p.yaml:2:12: YAML aliases"))
        #expect(problems(String(repeating: "[", count: 100_000)).contains("not YAML"))
        #expect(problems(String(repeating: "- ", count: 100_000)).contains("not YAML"))
        #expect(problems("a: " + String(repeating: "[", count: 900) + String(repeating: "]", count: 900)).contains("unknown key `a`"))
        #expect(problems(String(repeating: "#", count: 1 << 20) + "\n") == "p.yaml:1:1: the file is larger than 1 MiB, the most that a pipeline file may be")
    }

    @Test("Text that merely looks like an anchor or an alias is text")
    func ampersands() throws {
        let text = smallPipeline.replacing("feedback.clicks", with: "t, properties: {client.id: \"x&y=1\", ssl.ca.location: \"*.example\", client.rack: \"R & D * 2\"}")
        #expect(try parse(text).source.kafka().properties["client.id"] == "x&y=1")
    }
}
