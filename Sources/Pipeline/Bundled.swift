import PostgresClient

/// What the program carries inside, from the folder `schemas`.
public enum Bundled {
    /// JSON Schemas of events, by the path that `source.schema` names.
    public static let schemas: [String: [UInt8]] = [
        "schemas/click.schema.json": PackageResources.click_schema_json,
        "schemas/electricity.schema.json": PackageResources.electricity_schema_json,
    ]

    /// The database's tables, in order.
    public static let migrations = [
        Migration(version: 1, name: "history", sql: String(decoding: PackageResources._001_history_sql, as: UTF8.self)),
        Migration(version: 2, name: "lineages", sql: String(decoding: PackageResources._002_lineages_sql, as: UTF8.self)),
        Migration(version: 3, name: "retention", sql: String(decoding: PackageResources._003_retention_sql, as: UTF8.self)),
        Migration(version: 4, name: "publishing", sql: String(decoding: PackageResources._004_publishing_sql, as: UTF8.self)),
        Migration(version: 5, name: "drift", sql: String(decoding: PackageResources._005_drift_sql, as: UTF8.self)),
        Migration(version: 6, name: "questions", sql: String(decoding: PackageResources._006_questions_sql, as: UTF8.self)),
        Migration(version: 7, name: "hours", sql: String(decoding: PackageResources._007_hours_sql, as: UTF8.self)),
    ]
}
