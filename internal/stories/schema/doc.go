// Package schema tells how schema statements reach followers, whoever runs them and in what session, and what stays on the master. It is
// tests only.
package schema
