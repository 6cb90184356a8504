package transport

// Bound is implemented by connections that have something in common with their other end which nobody between the
// two can have, as TLS has (RFC 9266). What a node proves over such a connection is bound to it: nobody can pass it on over another.
type Bound interface {
	// Binding returns the same bytes at both ends of a connection and others for every other one. It may wait
	// for a handshake. Nil: the connection has nothing of the kind.
	Binding() ([]byte, error)
}

// Exposure is implemented by transports that know who can reach an address that they listen on. A master without
// a key asks it before it listens. A transport that does not implement it is taken to reach those only who may come in.
type Exposure interface {
	// Exposed reports whether others than this machine, or than those who show a certificate, can connect to a listener at
	// address, and says in a few words why.
	Exposed(address string) (exposed bool, why string)
}
