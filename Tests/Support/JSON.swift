import Foundation

/// A JSON value to look into: `json["metrics"]["total"]["logloss"].double`. What is absent is absent all the way down.
public struct JSON: Sendable, Equatable {
    private enum Value: Sendable, Equatable {
        case absent, null
        case bool(Bool)
        case number(Double)
        case string(String)
        case array([JSON])
        case object([String: JSON])
    }
    private let value: Value

    /// - Throws: when the text is not exactly one JSON value.
    public init(_ text: String) throws {
        self.init(try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed))
    }

    private init(_ any: Any) {
        switch any {
        case let object as [String: Any]: value = .object(object.mapValues { JSON($0) })
        case let array as [Any]: value = .array(array.map { JSON($0) })
        case let string as String: value = .string(string)
        case let number as NSNumber:
            value = isBoolean(number) ? .bool(number.boolValue) : .number(number.doubleValue)
        default: value = .null
        }
    }

    private init(_ value: Value) { self.value = value }

    public subscript(_ key: String) -> JSON {
        guard case .object(let object) = value else { return JSON(Value.absent) }
        return object[key] ?? JSON(Value.absent)
    }

    public var keys: Set<String> {
        guard case .object(let object) = value else { return [] }
        return Set(object.keys)
    }
    public var array: [JSON] {
        guard case .array(let array) = value else { return [] }
        return array
    }
    public var double: Double? {
        guard case .number(let number) = value else { return nil }
        return number
    }
    public var int: Int? { double.flatMap { Int(exactly: $0) } }
    public var string: String? {
        guard case .string(let string) = value else { return nil }
        return string
    }
    public var bool: Bool? {
        guard case .bool(let bool) = value else { return nil }
        return bool
    }
}

/// JSON's true and false come as numbers of a type of their own.
private func isBoolean(_ number: NSNumber) -> Bool { String(cString: number.objCType) == "c" || String(cString: number.objCType) == "B" }
