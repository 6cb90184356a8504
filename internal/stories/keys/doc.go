// Package keys tells which keys new rows get on nodes that share tables, how they are told to the program, and what becomes of them when they
// run out. It is tests only.
package keys
