import PostgresClient

extension Store {
    package func chain(to version: UInt64) throws -> Chain {
        let forks = try connection.query(
            "SELECT version, parent FROM freshet.versions WHERE pipeline = $1 AND parent <> version - 1 AND version <= $2",
            [.text(pipeline), .int(Int64(clamping: version))], timeout: Self.timeout
        ).map { Chain.Fork(version: UInt64(try $0.int("version")), parent: UInt64(try $0.int("parent"))) }
        return Chain(to: version, forks: forks)
    }
}
