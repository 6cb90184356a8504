// Package crashtest kills the processes of a cluster with SIGKILL at random moments
// while programs write to it, starts them again, and then looks for acknowledged writes
// that are missing and for nodes that differ. It holds tests only; the processes are
// those of the program in child.
package crashtest
