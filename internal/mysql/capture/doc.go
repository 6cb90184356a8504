// Package capture notes which rows of the user's tables change. It gives each table an outbox and the triggers that fill it, follows
// foreign keys that change rows without a trigger, guards the user's own triggers, and reads, clears and adds notes.
//
// It owns the outboxes, out_N in ddb's database, and the triggers ddb_N_xx in the user's ([Outboxes] says what stands in them, [Capture]
// makes and uses them). A change is noted in the writer's own transaction, whatever client writes, and a note
// is cleared only by whoever has read it.
package capture
