// Package wire tests internal/wire against the library that its sessions speak with.
package wire
