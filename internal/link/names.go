package link

import (
	"fmt"

	"github.com/ddb-project/ddb/internal/fault"
)

// CheckID refuses an id that is none: 1 to 64 letters, digits, '-', '_' and '.'. Its error wraps ErrOptions.
func CheckID(id string) error {
	if id == "" || len(id) > 64 {
		return fmt.Errorf("%w: ID %q must have 1 to 64 characters", fault.ErrOptions, id)
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.') {
			return fmt.Errorf("%w: ID %q may hold letters, digits, '-', '_' and '.' only", fault.ErrOptions, id)
		}
	}
	return nil
}
