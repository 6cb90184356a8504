// Package apply writes and reads rows by key: what an entry or a snapshot says a follower's rows are, and what a snap's batch makes of
// the master's. [Applier.Apply] chooses the cheapest way that is right for the connection's purpose: LOAD DATA, statements of many
// rows, or, where foreign keys and constraints act, row by row in an order that they allow.
//
// It owns no table but ddb's counters, which keep handed-out keys from being handed out again. After Apply the rows are
// as they were stated, byte for byte, or the error says which was refused and why.
package apply
