package sqlclass

import (
	"regexp"
	"strings"
)

// secret finds where a statement's text may hold a password: IDENTIFIED BY, PASSWORD, MASTER_PASSWORD.
var secret = regexp.MustCompile(`(?i)IDENTIFIED\b|PASSWORD\b`)

// Public returns the text as far as it may stand in a log or in an error: what follows a word that announces a
// password is cut off.
func Public(text string) string {
	if at := secret.FindStringIndex(text); at != nil {
		return text[:at[1]] + " …"
	}
	return text
}

const briefBytes = 120

// Brief returns the first line of the text, shortened, without passwords.
func Brief(text string) string {
	text, _, _ = strings.Cut(Public(strings.TrimSpace(text)), "\n")
	if len(text) > briefBytes {
		text = strings.ToValidUTF8(text[:briefBytes-3], "") + "..."
	}
	return text
}
