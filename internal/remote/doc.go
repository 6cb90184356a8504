// Package remote is a database/sql driver whose connections are byte streams,
// and the server that answers on the other end of such a stream with an
// ordinary *sql.DB. It knows nothing about replication: what a request must
// wait for, and what its answer proves, travels as an opaque Header and token.
//
// A stream carries one session. The client sends one request at a time and
// reads its answer; a query's answer is a sequence of row chunks, so the
// stream's own flow control bounds the memory on both sides. Two messages go
// one way only: cancel, which may overtake an answer, and release, which tells
// the server that the client's pool took the connection back and the session's
// database connection can serve others.
//
// What a lost link means follows one rule: driver.ErrBadConn, which makes
// database/sql try again, is returned only when trying again cannot run a
// statement twice. Every other loss is ErrUnknownOutcome.
package remote
