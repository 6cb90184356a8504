package lang

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// Digest is a short hash in hexadecimal.
func Digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// IsOn reports whether a variable of the server is on.
func IsOn(s string) bool { return s == "1" || strings.EqualFold(s, "ON") }

// Ident quotes an identifier.
func Ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// Qualified quotes the name of something in a database.
func Qualified(db, name string) string { return Ident(db) + "." + Ident(name) }

// Text is a string constant that means the same in every sql_mode.
func Text(s string) string {
	if strings.ContainsAny(s, "'\\") {
		return "_utf8mb4 0x" + hex.EncodeToString([]byte(s))
	}
	return "'" + s + "'"
}

// Atoi reads a number of the catalogue; what is none is 0.
func Atoi(s string) int { n, _ := strconv.Atoi(s); return n }

const (
	SQLMode   = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
	BatchMode = SQLMode + ",STRICT_ALL_TABLES" // a snap's value that does not fit is refused, not cut off
)
