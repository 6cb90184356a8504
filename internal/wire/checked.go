package wire

import (
	"errors"
	"fmt"

	"github.com/ddb-project/ddb/internal/fault"
)

// Checked is a message that says what is wrong with it: what no node sends. It is asked once, where the message is decoded; what is
// behind that relies on it.
type Checked interface{ Check() error }

// DecodeChecked decodes what another node has sent, and checks it. Its errors wrap ErrDamaged.
func DecodeChecked[T any](payload []byte) (T, error) {
	var v T
	err := DecodeInto(payload, &v)
	return v, err
}

// DecodeInto is DecodeChecked for a variable.
func DecodeInto(payload []byte, into any) error { return DecodeBy(Unmarshal, payload, into) }

// DecodeBy is DecodeInto with a decoder.
func DecodeBy(unmarshal func(payload []byte, into any) error, payload []byte, into any) error {
	err := unmarshal(payload, into)
	if c, ok := into.(Checked); ok && err == nil {
		err = c.Check()
	}
	if err == nil || errors.Is(err, fault.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", fault.ErrDamaged, err)
}
