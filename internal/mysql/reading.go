package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// ReadsOtherwise reports whether the session's sql_mode or character set makes other statements of the text: backslashes and double quotes
// that do not mean what they do by default, and a no-break space that is one byte.
func (Dialect) ReadsOtherwise(ctx context.Context, query func(ctx context.Context, query string, args ...any) (*sql.Rows, error), text string) (bool, error) {
	rows, err := query(ctx, "SELECT @@sql_mode, @@character_set_client")
	if err != nil {
		return false, fmt.Errorf("mysql: how the session reads texts: %w", err)
	}
	defer rows.Close()
	var mode, charset string
	for rows.Next() {
		if err := rows.Scan(&mode, &charset); err != nil {
			return false, fmt.Errorf("mysql: how the session reads texts: %w", err)
		}
	}
	spaced := strings.Contains(text, "\xa0") && !strings.HasPrefix(charset, "utf8")
	return spaced || strings.Contains(mode, "NO_BACKSLASH_ESCAPES") || strings.Contains(mode, "ANSI_QUOTES"), rows.Err()
}
