// One private server for all tests of this target. It ends with the process: nobody has to stop it.

import Foundation
import PostgresClient
import Testing

enum Server {
    private static let shared = Result { try PrivatePostgres() }
    static let long = Duration.seconds(30)

    static func connect() throws -> PostgresConnection {
        try PostgresConnection.connect(shared.get().url, applicationName: "tests", timeout: long)
    }
}

/// Runs the body and returns the error that it must throw.
func failure<T>(sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> T) throws -> PostgresError {
    try #require(throws: PostgresError.self, sourceLocation: sourceLocation) { _ = try body() }
}

func expectUsable(_ connection: PostgresConnection, sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(!connection.isBroken, sourceLocation: sourceLocation)
    #expect(try connection.query("SELECT 7::int8 AS n", timeout: Server.long).first?.int("n") == 7, sourceLocation: sourceLocation)
}

/// Looks again until it holds, for at most some seconds.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<1_000 {
        if try condition() { return true }
        usleep(10_000)
    }
    return false
}
