package rights

import "strings"

// Marked reports whether a text may name ddb's own tables: it holds _ddb, in letters of any case.
func Marked(text string) bool {
	for {
		i := strings.IndexByte(text, '_')
		if i < 0 || len(text) < i+4 {
			return false
		}
		if strings.EqualFold(text[i:i+4], "_ddb") {
			return true
		}
		text = text[i+1:]
	}
}
