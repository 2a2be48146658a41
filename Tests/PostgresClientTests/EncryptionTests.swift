import Foundation
import PostgresClient
import TestSupport
import Testing

/// TLS to PostgreSQL by the URL alone, against a server that really speaks it.
@Suite(.serialized, .enabled(if: Certificates.openssl != nil, "openssl is not on this machine"))
struct EncryptionTests {
    /// A server that lets nobody in over TCP without TLS, and `clerk` only with a certificate.
    private final class EncryptedServer {
        let certificates: Certificates
        let postgres: PrivatePostgres
        let port: Int

        init() throws {
            certificates = try Certificates(client: "clerk")
            port = try freePort()
            certificates.giveServerKey(to: "postgres")
            let rules = "local all all trust\nhostssl all clerk 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 trust\n"
            try rules.write(toFile: certificates.path("hba.conf"), atomically: true, encoding: .utf8)
            postgres = try PrivatePostgres(settings: [
                "listen_addresses": "127.0.0.1", "port": String(port), "ssl": "on", "ssl_cert_file": certificates.path("server.pem"),
                "ssl_key_file": certificates.path("server.key"), "ssl_ca_file": certificates.path("ca.pem"),
                "hba_file": certificates.path("hba.conf"),
            ])
            let connection = try PostgresConnection.connect(postgres.url, applicationName: "tests", timeout: Server.long)
            try connection.execute("CREATE ROLE clerk LOGIN", timeout: Server.long)
        }

        func connect(_ options: String, user: String = "postgres", host: String = "localhost") throws -> PostgresConnection {
            let url = "postgresql://\(user)@/postgres?host=\(host)&hostaddr=127.0.0.1&port=\(port)&\(options.replacing("@/", with: certificates.folder + "/"))"
            return try PostgresConnection.connect(url, applicationName: "tests", timeout: Server.long)
        }
    }

    /// Protects: what the URL asks for is what is done: the right authority and name get through, encrypted; any other is refused with a reason.
    @Test func certificatesAreChecked() throws {
        let server = try EncryptedServer()
        let connection = try server.connect("sslmode=verify-full&sslrootcert=@/ca.pem")
        let row = try #require(
            try connection.query("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()", timeout: Server.long).first)
        #expect(try row.bool("ssl"))
        #expect(try row.string("version").hasPrefix("TLSv1."))
        // A cancellation goes over a connection of its own, past rules that let nobody in without TLS.
        #expect(try failure { try connection.query("SELECT pg_sleep(60)", timeout: .milliseconds(50)) }.kind == .timeout)
        try expectUsable(connection)

        let authority = try failure { try server.connect("sslmode=verify-full&sslrootcert=@/other-ca.pem") }
        #expect(authority.kind == .connect && authority.message.contains("certificate verify failed") && authority.message.contains("sslrootcert"))
        let name = try failure { try server.connect("sslmode=verify-full&sslrootcert=@/ca.pem", host: "elsewhere") }
        #expect(name.kind == .connect && name.message.contains("elsewhere") && name.message.contains("localhost"))
        // verify-ca asks for no name.
        try expectUsable(try server.connect("sslmode=verify-ca&sslrootcert=@/ca.pem", host: "elsewhere"))
        let absent = try failure { try server.connect("sslmode=verify-full&sslrootcert=@/absent.pem") }
        #expect(absent.message.contains("absent.pem"))
        #expect(try failure { try server.connect("sslmode=disable") }.message.contains("no encryption"))
    }

    /// Protects: a client's certificate and its key, locked or not; the key's password stays out of errors.
    @Test func clientsShowCertificates() throws {
        let server = try EncryptedServer()
        let roots = "sslmode=verify-full&sslrootcert=@/ca.pem"
        let connection = try server.connect("\(roots)&sslcert=@/client.pem&sslkey=@/client.key", user: "clerk")
        #expect(try connection.query("SELECT current_user::text AS name", timeout: Server.long).first?.string("name") == "clerk")
        let locked = "\(roots)&sslcert=@/client.pem&sslkey=@/client-locked.key&sslpassword="
        try expectUsable(try server.connect(locked + Certificates.keyPassword, user: "clerk"))
        let wrong = try failure { try server.connect(locked + "hunter2-wrong", user: "clerk") }
        #expect(wrong.kind == .connect && !wrong.description.contains("hunter2"))
        #expect(try failure { try server.connect(roots, user: "clerk") }.kind == .connect)
    }

    /// Protects: who asks for encryption never goes without, whatever the server has.
    @Test func encryptionIsNotGivenUp() throws {
        let port = try freePort()
        let plain = try PrivatePostgres(settings: ["listen_addresses": "127.0.0.1", "port": String(port)])
        defer { plain.stop() }
        func connect(_ mode: String) throws -> PostgresConnection {
            try PostgresConnection.connect("postgresql://postgres@127.0.0.1:\(port)/postgres?sslmode=\(mode)", applicationName: "tests", timeout: Server.long)
        }
        try expectUsable(try connect("prefer"))
        #expect(try failure { try connect("require") }.message.contains("does not support SSL"))
    }

    /// Protects: the command line refuses what others could read there.
    @Test(arguments: [
        ("postgresql://u:s3cret@h/d", true), ("postgresql://u@h/d?password=s3cret", true), ("postgresql://u@h/d?sslpassword=s3cret", true),
        ("host=h password=s3cret", true), ("postgresql://u@h/d?sslmode=require", false), ("host=h user=u", false),
    ])
    func passwordsInURLsAreSeen(url: String, isThere: Bool) {
        #expect(PostgresConnection.holdsPassword(url) == isThere)
    }
}
