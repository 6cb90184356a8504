// Package remedy says apart what is wrong and what would help. Errors of ddb whose remedy is a setting hold an [Error], which the root
// package exports too: its text names the setting as Go does, and a program whose users know flags or a screen words it for them:
//
//	text := remedy.Words(err, func(r remedy.Remedy) string {
//		if r.Action == remedy.Rejoin {
//			return "add --rejoin"
//		}
//		return r.Text
//	})
//
// The package knows no other. What is told of an error to another node keeps its remedies.
package remedy

import (
	"errors"
	"strings"
)

// Action is what is to be done.
type Action string

// The actions. Those with a Value say which. New ones may come; Remedy.Text is good for all.
const (
	SetKey             Action = "key"                 // give every node the cluster's key: Options.Key
	CheckKey           Action = "check key"           // see whether this node's key is the cluster's
	NewKey             Action = "new key"             // give the key that takes the place of the old one: Options.Key beside OldKey
	ClientCertificates Action = "client certificates" // ask those who connect for a certificate of their own
	AllowInsecure      Action = "insecure"            // let anybody in: Options.AllowInsecure
	DialTLS            Action = "dial with TLS"       // connect by TLS: the master listens so
	ListenTLS          Action = "listen with TLS"     // listen by TLS, with a certificate: those who connect do so
	SetMaster          Action = "master"              // give the master's address: Options.Master
	CheckMaster        Action = "check master"        // see whether that is where the master listens
	Rejoin             Action = "rejoin"              // give up what the node's database holds: Options.Rejoin
	SetID              Action = "id"                  // open it under the id in Value: Options.ID
	SetRole            Action = "role"                // open it in the role in Value: Options.Role
	Detach             Action = "detach"              // take the database out of the cluster: Detach
	Begin              Action = "begin"               // begin the transaction by Begin or BeginTx
	OwnConn            Action = "conn"                // run it on a connection of its own, got from Conn
)

// Remedy is one way out.
type Remedy struct {
	Action Action `cbor:"1,keyasint,omitempty"` // "" where there is only the text
	Value  string `cbor:"2,keyasint,omitempty"` // see the actions
	Text   string `cbor:"3,keyasint"`           // in words for people who write Go
}

// Error is an error with remedies. errors.Is finds its Kind and its Cause.
type Error struct {
	Kind     error    // a sentinel of ddb's, nil if there is none
	Text     string   // what is wrong, without Kind, Cause and Remedies
	Remedies []Remedy // any of them would help
	Cause    error    // nil if there is none
}

// New returns an Error.
func New(kind error, text string, remedies ...Remedy) *Error {
	return &Error{Kind: kind, Text: text, Remedies: remedies}
}

// Parse returns the Error of which another node has told the text, the kind and the remedies.
func Parse(kind error, whole string, remedies []Remedy) *Error {
	e := &Error{Kind: kind, Remedies: remedies, Text: whole}
	if kind != nil {
		e.Text = strings.TrimPrefix(e.Text, kind.Error()+": ")
	}
	if ways := Tail(remedies, text); ways != "" {
		before, after, _ := strings.Cut(e.Text, ways)
		e.Text = before
		if cause := strings.TrimLeft(after, ": \n"); cause != "" {
			e.Cause = errors.New(cause)
		}
	}
	return e
}

// By returns the error with a cause.
func (e *Error) By(cause error) *Error {
	copied := *e
	copied.Cause = cause
	return &copied
}

// Error returns the kind and the text, behind a semicolon the remedies, and behind a colon the cause.
func (e *Error) Error() string {
	var parts []string
	if e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	all := strings.Join(parts, ": ") + Tail(e.Remedies, text)
	if e.Cause != nil {
		all += ": " + e.Cause.Error()
	}
	return all
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() (list []error) {
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

func text(r Remedy) string { return r.Text }

// Tail is what of a text names the remedies in the words of word, which may return "" for one that means nothing to the reader.
func Tail(list []Remedy, word func(Remedy) string) string {
	var words []string
	for _, r := range list {
		if w := word(r); w != "" {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "; " + strings.Join(words, ", or ")
}

// Of returns the remedies of an error, nil if it has none.
func Of(err error) []Remedy {
	var e *Error
	if errors.As(err, &e) {
		return e.Remedies
	}
	return nil
}

// Words returns the error's text with its remedies in the words of word instead of Go's, which are those of Remedy.Text.
func Words(err error, word func(Remedy) string) string {
	list := Of(err)
	was := Tail(list, text)
	if was == "" {
		return err.Error()
	}
	return strings.Replace(err.Error(), was, Tail(list, word), 1)
}
