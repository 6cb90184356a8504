// Package transactions says what the transactions of a snap are: from the notes of the mode Images, which each say the connection and
// the moment they come from, it puts together what one transaction has done, also of clients that bypass ddb, and finds an order
// in which all could have run one after another ([Collector.CollectTransactions]).
//
// It writes nothing. A transaction is told whole or left for another call, and its rows before and after it
// join on to what those before it have left.
package transactions
