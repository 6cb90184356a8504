package fault

import (
	"errors"
	"strings"
)

// Only what a program is given says whose error it is: a public function passes its error through During, which puts "ddb: " before it.
// Within, texts begin with neither that nor the name of a package.

// During says of an error what was being done, in one word or two, and that ddb did it: once, however many doors it passes. That the
// cluster is closed says enough. It returns nil for nil.
func During(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrClosed) {
		what = ""
	}
	var outer *door
	if errors.As(err, &outer) {
		if err != error(outer) || outer.what != "" {
			return err
		}
		err = outer.err
	}
	return &door{what: what, err: err}
}

// Door is During for a function's named result, as in
//
//	defer fault.Door("open", &err)
func Door(what string, err *error) { *err = During(what, *err) }

// Ours is During for an error that a driver returns, where the database's own must stay as they are: they, and what no sentinel is in, are
// returned as they came.
func Ours(err error) error {
	if err == nil {
		return nil
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			return During("", err)
		}
	}
	return err
}

// Plain is the text of an error as it was before its doors, to be told to another node, which has doors of its own.
func Plain(err error) string {
	var d *door
	if errors.As(err, &d) {
		return strings.Replace(err.Error(), d.Error(), d.err.Error(), 1)
	}
	return err.Error()
}

// door is an error that a program is given.
type door struct {
	what string
	err  error
}

func (d *door) Error() string {
	if d.what == "" {
		return "ddb: " + d.err.Error()
	}
	return "ddb: " + d.what + ": " + d.err.Error()
}

func (d *door) Unwrap() error { return d.err }
