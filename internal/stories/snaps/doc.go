// Package snaps tells what a snap does besides settling conflicts: it writes offline, waits with what is too large, copies, restarts, and gets
// its number. It is tests only.
package snaps
