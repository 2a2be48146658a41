// Requests for predictions are taken apart, or refused with what a caller must do.

import Records
import Testing

@Suite struct InstancesTests {
    static func split(_ request: String, maximum: Int = 3) throws -> [String] {
        var instances: [String] = []
        let count = try Array(request.utf8).withUnsafeBytes { body in
            try splitInstances(body, maximum: maximum) { instances.append(String(decoding: $0, as: UTF8.self)) }
        }
        #expect(count == instances.count)
        return instances
    }

    @Test(
        "instances come as they were written",
        arguments: [
            (#"{"instances":[{"a":1},{"b":[2,{}]}]}"#, [#"{"a":1}"#, #"{"b":[2,{}]}"#]),
            ("{ \"x\": [1, {\"instances\":[]}], \"instances\" : [ {\"a\" : \"]}\"} \n, 7 , [ ] ] , \"y\":null}", [#"{"a" : "]}"}"#, "7", "[ ]"]),
            (#"{"inst\u0061nces":[{}]}"#, ["{}"]),
        ])
    func good(request: String, expected: [String]) throws {
        #expect(try InstancesTests.split(request) == expected)
    }

    @Test(
        "all else is refused with words",
        arguments: [
            ("", "the request is empty"), ("[]", "the request is not an object"), ("{}", "the request has no list `instances`"),
            (#"{"instances":{}}"#, "the request has no list `instances`"), (#"{"instances":[]}"#, "`instances` is empty"),
            (#"{"instances":[1,2,3,4]}"#, "the request has more than 3 instances"), (#"{"instances":[1,]}"#, "the request is not JSON"),
            (#"{"instances":[{}],"instances":[{}]}"#, "the request has `instances` more than once"),
            (#"{"instances":[{}]"#, "the request is not JSON"), (#"{"instances":[{}]}}"#, "the request is not JSON"),
            (#"{"instances":[{}],}"#, "the request is not JSON"), (#"{"instances":[{} {}]}"#, "the request is not JSON"),
            (#"{"x":nul,"instances":[{}]}"#, "the request is not JSON: not a JSON value, at byte 5"), ("hello", "the request is not JSON"),
        ])
    func bad(request: String, message: String) throws {
        let error = #expect(throws: RecordsError.self) { try InstancesTests.split(request) }
        #expect(error?.description.hasPrefix(message) == true, "\(String(describing: error))")
    }
}
