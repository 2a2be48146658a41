// Values on their way from the server: one field in PostgreSQL's binary format. Each reader returns nil if the bytes are not such a value;
// nothing here trusts a length that the server sent. In COPY fields carry no type, so there only their size is checked.

import CPQ

struct Field {
    let bytes: UnsafeRawBufferPointer
    /// `TypeID.unspecified` in COPY.
    let type: Oid

    private func isOne(of types: Oid...) -> Bool {
        type == TypeID.unspecified || types.contains(type)
    }

    private func bigEndian<T: FixedWidthInteger>(_ as: T.Type, at offset: Int = 0) -> T? {
        guard offset >= 0, bytes.count - offset >= MemoryLayout<T>.size else { return nil }
        return T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    func int() -> Int64? {
        switch bytes.count {
        case 8 where isOne(of: TypeID.int8): bigEndian(Int64.self)
        case 4 where type == TypeID.oid: bigEndian(UInt32.self).map(Int64.init)
        case 4 where isOne(of: TypeID.int4): bigEndian(Int32.self).map(Int64.init)
        case 2 where isOne(of: TypeID.int2): bigEndian(Int16.self).map(Int64.init)
        default: nil
        }
    }

    func double() -> Double? {
        switch bytes.count {
        case 8 where isOne(of: TypeID.float8): bigEndian(UInt64.self).map(Double.init(bitPattern:))
        case 4 where isOne(of: TypeID.float4): bigEndian(UInt32.self).map { Double(Float(bitPattern: $0)) }
        default: nil
        }
    }

    func bool() -> Bool? {
        isOne(of: TypeID.bool) && bytes.count == 1 ? bytes[0] != 0 : nil
    }

    func string() -> String? {
        if type == TypeID.jsonb { return jsonb() }
        guard
            type >= TypeID.firstUserDefined
                || isOne(of: TypeID.text, TypeID.varchar, TypeID.bpchar, TypeID.name, TypeID.char, TypeID.unknown, TypeID.json)
        else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    func jsonb() -> String? {
        guard isOne(of: TypeID.jsonb), bytes.first == 1 else { return nil }
        return String(validating: bytes.dropFirst(), as: UTF8.self)
    }

    func byteBuffer() -> UnsafeRawBufferPointer? {
        isOne(of: TypeID.bytea) ? bytes : nil
    }

    func intArray() -> [Int64]? {
        guard isOne(of: TypeID.int8Array, TypeID.int4Array, TypeID.int2Array), let dimensions = bigEndian(Int32.self), let element = bigEndian(Oid.self, at: 8)
        else { return nil }
        if dimensions == 0 { return [] }
        guard dimensions == 1, let count = bigEndian(Int32.self, at: 12), count >= 0, Int(count) <= bytes.count / 4 else { return nil }
        var values: [Int64] = []
        values.reserveCapacity(Int(count))
        var offset = 20
        for _ in 0..<count {
            guard let length = bigEndian(Int32.self, at: offset), length >= 0, bytes.count - offset - 4 >= Int(length),
                let value = Field(bytes: UnsafeRawBufferPointer(rebasing: bytes[(offset + 4)..<(offset + 4 + Int(length))]), type: element).int()
            else { return nil }
            values.append(value)
            offset += 4 + Int(length)
        }
        return offset == bytes.count ? values : nil
    }

    /// Microseconds since 1970. Nil also for `infinity`.
    func timestamp() -> Int64? {
        guard isOne(of: TypeID.timestamptz), bytes.count == 8, let value = bigEndian(Int64.self), value != .max, value != .min else { return nil }
        let (microseconds, overflow) = value.addingReportingOverflow(epochOffsetMicroseconds)
        return overflow ? nil : microseconds
    }
}
