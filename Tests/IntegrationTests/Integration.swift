// The whole program with real processes: the built `freshet`, a broker, a PostgreSQL. One test at a time, for each is heavy.

import Testing

@Suite("The loop", .serialized, .timeLimit(.minutes(4)))
struct Integration {}
