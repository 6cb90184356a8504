package fault

import (
	"errors"
	"fmt"
)

// During adds to an error what was being done, in one word or two, unless it says that the cluster is closed. It returns nil for nil.
func During(what string, err error) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("ddb: %s: %w", what, err)
}
