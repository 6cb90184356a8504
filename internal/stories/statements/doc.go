// Package statements tells what a statement may do on each way in, and what it leaves behind: settings of connections, reads under other modes,
// pinned connections, killed statements, answers too large. It is tests only.
package statements
