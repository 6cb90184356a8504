package mysql

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// digest is a short hash in hexadecimal.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

func isOn(s string) bool { return s == "1" || strings.EqualFold(s, "ON") }

// ident quotes an identifier.
func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func qualified(db, name string) string { return ident(db) + "." + ident(name) }

// text is a string constant that means the same in every sql_mode.
func text(s string) string {
	if strings.ContainsAny(s, "'\\") {
		return "_utf8mb4 0x" + hex.EncodeToString([]byte(s))
	}
	return "'" + s + "'"
}

func atoi(s string) int { n, _ := strconv.Atoi(s); return n }

const (
	sqlMode   = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
	batchMode = sqlMode + ",STRICT_ALL_TABLES" // a snap's value that does not fit is refused, not cut off
)
