// The subset of JSON Schema (draft 2020-12) that events are checked by, compiled.
//
// Events are flat objects, so one rule a field is enough. A keyword outside the subset is an error when the schema is loaded: a constraint that is
// silently not checked is worse than none. Lengths are in code points. Numbers are compared as doubles, so 1 and 1.0 are equal.

import Foundation

/// A compiled JSON Schema of an event.
public struct EventSchema: Sendable {
    /// The keywords that the schema of an event may have, besides `annotations`.
    public static let eventKeywords = ["type", "properties", "required", "additionalProperties"]
    /// The keywords that the schema of a property may have, besides `annotations`.
    public static let propertyKeywords = [
        "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    ]
    /// Keywords that constrain nothing.
    public static let annotations = ["$schema", "$id", "$comment", "title", "description", "examples", "default"]

    /// What the schema is called in errors: usually its path.
    public let name: String
    /// The names under `properties`, in order of their Unicode scalars.
    public let propertyNames: [String]
    /// Whether fields that are not among the properties are allowed.
    public let additionalProperties: Bool
    /// One for each field that has a property or is required.
    let rules: [SchemaRule]

    /// - Parameter name: what to call the schema in errors.
    /// - Throws: `RecordsError.schema`, with the JSON Pointer of what is wrong.
    public init(json: [UInt8], name: String) throws(RecordsError) {
        let document: JSONValue
        do {
            document = try JSONDecoder().decode(JSONValue.self, from: Data(json))
        } catch {
            throw .schema(name: name, pointer: "", message: "not JSON; a JSON Schema is a JSON object")
        }
        let reader = SchemaReader(name: name)
        let members = try reader.object(document, at: "", keywords: EventSchema.eventKeywords)
        if let type = members["type"], type != .string("object") {
            throw .schema(name: name, pointer: "/type", message: "must be \"object\": an event is a JSON object")
        }
        var rules: [String: SchemaRule] = [:]
        for (field, value) in try reader.members(members["properties"] ?? .object([:]), at: "/properties") {
            rules[field] = try reader.rule(field, value, at: "/properties/" + SchemaReader.escaped(field))
        }
        self.name = name
        propertyNames = rules.keys.sorted { $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars) }
        for field in try reader.names(members["required"] ?? .array([]), at: "/required") {
            rules[field, default: SchemaRule(field: field)].required = true
        }
        switch members["additionalProperties"] ?? .boolean(true) {
        case .boolean(let allowed): additionalProperties = allowed
        default: throw .schema(name: name, pointer: "/additionalProperties", message: "must be true or false")
        }
        self.rules = rules.values.sorted { $0.field.unicodeScalars.lexicographicallyPrecedes($1.field.unicodeScalars) }
    }
}

/// What the value of one field must be.
struct SchemaRule: Sendable {
    let field: String
    var required = false
    /// Type names; nil allows all.
    var types: [String]?
    /// The values of `enum`; nil allows all.
    var choices: [JSONValue]?
    var constant: JSONValue?
    var minimum: Double?
    var maximum: Double?
    var exclusiveMinimum: Double?
    var exclusiveMaximum: Double?
    var lengthMinimum = 0
    var lengthMaximum = Int.max

    init(field: String) { self.field = field }
}

/// Any JSON, for schemas only.
enum JSONValue: Decodable, Sendable, Equatable {
    case null
    case boolean(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }
}

/// Reads the parts of a schema, with errors that name their place.
private struct SchemaReader {
    static let typeNames = ["null", "boolean", "integer", "number", "string", "array", "object"]
    let name: String

    static func escaped(_ name: String) -> String {
        name.replacingOccurrences(of: "~", with: "~0").replacingOccurrences(of: "/", with: "~1")
    }

    func failure(_ pointer: String, _ message: String) -> RecordsError { .schema(name: name, pointer: pointer, message: message) }

    func members(_ value: JSONValue, at pointer: String) throws(RecordsError) -> [String: JSONValue] {
        guard case .object(let members) = value else { throw failure(pointer, "must be an object") }
        return members
    }

    /// An object that is a schema.
    func object(_ value: JSONValue, at pointer: String, keywords: [String]) throws(RecordsError) -> [String: JSONValue] {
        let members = try members(value, at: pointer)
        if let stranger = members.keys.sorted().first(where: { !keywords.contains($0) && !EventSchema.annotations.contains($0) }) {
            throw failure(
                pointer + "/" + SchemaReader.escaped(stranger),
                "the keyword `\(stranger)` is not supported here; supported are \((keywords + EventSchema.annotations).joined(separator: ", "))")
        }
        return members
    }

    func names(_ value: JSONValue, at pointer: String) throws(RecordsError) -> [String] {
        guard case .array(let items) = value else { throw failure(pointer, "must be a list of names") }
        var names: [String] = []
        for (index, item) in items.enumerated() {
            guard case .string(let name) = item else { throw failure("\(pointer)/\(index)", "must be a string") }
            names.append(name)
        }
        return names
    }

    func rule(_ field: String, _ value: JSONValue, at pointer: String) throws(RecordsError) -> SchemaRule {
        let members = try object(value, at: pointer, keywords: EventSchema.propertyKeywords)
        var rule = SchemaRule(field: field)
        if let type = members["type"] {
            let types = if case .string(let one) = type { [one] } else { try names(type, at: pointer + "/type") }
            if let stranger = types.first(where: { !SchemaReader.typeNames.contains($0) }) {
                throw failure(pointer + "/type", "`\(stranger)` is not a type; types are \(SchemaReader.typeNames.joined(separator: ", "))")
            }
            guard !types.isEmpty else { throw failure(pointer + "/type", "must name a type") }
            rule.types = types
        }
        if let choices = members["enum"] {
            guard case .array(let values) = choices, !values.isEmpty else { throw failure(pointer + "/enum", "must be a list of values") }
            for (index, value) in values.enumerated() { try scalar(value, at: "\(pointer)/enum/\(index)") }
            rule.choices = values
        }
        if let constant = members["const"] {
            try scalar(constant, at: pointer + "/const")
            rule.constant = constant
        }
        rule.minimum = try number(members, "minimum", at: pointer)
        rule.maximum = try number(members, "maximum", at: pointer)
        rule.exclusiveMinimum = try number(members, "exclusiveMinimum", at: pointer)
        rule.exclusiveMaximum = try number(members, "exclusiveMaximum", at: pointer)
        rule.lengthMinimum = try length(members, "minLength", at: pointer) ?? 0
        rule.lengthMaximum = try length(members, "maxLength", at: pointer) ?? .max
        return rule
    }

    private func scalar(_ value: JSONValue, at pointer: String) throws(RecordsError) {
        switch value {
        case .array, .object: throw failure(pointer, "must be a string, a number, a boolean or null; lists and objects are not supported here")
        default: return
        }
    }

    private func number(_ members: [String: JSONValue], _ keyword: String, at pointer: String) throws(RecordsError) -> Double? {
        switch members[keyword] {
        case nil: return nil
        case .number(let value): return value
        default: throw failure(pointer + "/" + keyword, "must be a number")
        }
    }

    private func length(_ members: [String: JSONValue], _ keyword: String, at pointer: String) throws(RecordsError) -> Int? {
        guard let value = try number(members, keyword, at: pointer) else { return nil }
        guard value >= 0, value == value.rounded(), value <= 4_294_967_295 else {
            throw failure(pointer + "/" + keyword, "must be a whole number, not negative")
        }
        return Int(value)
    }
}
