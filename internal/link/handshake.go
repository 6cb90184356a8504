// Package link is what two nodes say to each other: the handshake in which each proves the key, the messages that follow, and the door that
// keeps strangers from costing more than a little. It knows entries and statuses, and neither masters nor followers.
package link

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ddb-project/ddb/health"
	"github.com/ddb-project/ddb/internal/fault"
	"github.com/ddb-project/ddb/internal/wire"
	"github.com/ddb-project/ddb/remedy"
	"github.com/ddb-project/ddb/transport"
)

// Before two nodes talk, each proves to the other that it holds the key:
//
//	dialler                              listener
//	preamble: what for, which version ->
//	                                  <- greeting: cluster, master, nonce
//	hello: id, role, history, nonce   ->
//	proofs: one for each of its keys  ->
//	                                  <- welcome, or a refusal with words
//	                                  <- proof, by the key that the dialler has proved
//
// A proof is an HMAC over all that both have said until then and what binds the connection (transport.Bound), under a label for its
// direction. So none can be sent again, reflected, or passed on by one who sits between two connections that
// have a binding. The master's covers the welcome: a follower that has a key acts on nothing that was not proved.

// Limits of the handshake.
const (
	helloBytes   = 4 << 10          // a message
	HelloTimeout = 10 * time.Second // the whole exchange before a follower is let in
	firstWord    = 2 * time.Second  // until the dialler has said what it wants
	firstAnswer  = 5 * time.Second  // until the listener has answered that
	lingerTime   = time.Second      // for a refusal to arrive
	lingerBytes  = 64 << 10
	nonceBytes   = 32
)

// What a connection is for. It is the dialler's first word, so that one listener can serve them all.
const purposeFollow byte = 1

// Labels of proofs.
const (
	ByFollower = "ddb 3 follower"
	byMaster   = "ddb 3 master"
)

const preambleMagic, preambleEnd = "ddb", "\r\n\r\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Preamble says what the dialler wants: magic, version, purpose, and a sum, so that damage is not taken for another
// version. It ends as a request of HTTP does: a web server answers it at once instead of waiting for more.
func Preamble(version, purpose byte) []byte {
	b := append([]byte(preambleMagic), version, purpose)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, preambleEnd...)
}

// judgePreamble says what is wrong with a dialler's first word.
func judgePreamble(b []byte) error {
	version, purpose := byte(0), byte(0)
	if len(b) > 4 {
		version, purpose = b[3], b[4]
	}
	meant := string(Preamble(version, purpose))
	switch {
	case len(b) > 1 && b[0] == 0x16 && b[1] == 3:
		return remedy.New(errStranger, "it speaks TLS, and this node listens without",
			remedy.Remedy{Action: remedy.ListenTLS, Text: "give the transport of this node a certificate"}, remedy.Remedy{Text: "take TLS off there"})
	case len(b) == 0:
		return fmt.Errorf("%w: it said nothing for %v; a node of this version speaks first, so run the same version of ddb on both", fault.ErrVersion, firstWord)
	case string(b) == meant && version != protocolVersion:
		return fmt.Errorf("%w: the node that connects speaks version %d, this one %d; run the same version of ddb on both", fault.ErrVersion, version, protocolVersion)
	case string(b) == meant && purpose != purposeFollow:
		return fmt.Errorf("%w: it connects for purpose %d, which this node does not serve", fault.ErrVersion, purpose)
	case string(b) == meant:
		return nil
	case len(b) == len(meant) && differ(b, meant) <= 4:
		return fmt.Errorf("%w: its first message was damaged on its way", errStranger)
	}
	return fmt.Errorf("%w: it is no ddb node: it began with %q", errStranger, b)
}

// differ counts the bytes in which two texts of one length differ.
func differ(a []byte, b string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// errStranger is about one who connects and does not speak as ddb does.
var errStranger = errors.New("not understood")

// handshake is one side of the exchange before the streams.
type handshake struct {
	conn  net.Conn
	w     *wire.Conn
	said  hash.Hash // of all that both have said
	bound bool
}

// shake begins an exchange. A transport may shake hands first to learn the binding.
func shake(conn net.Conn) (*handshake, error) {
	s := &handshake{conn: conn, w: wire.NewConn(conn, helloBytes), said: sha256.New()}
	var binding []byte
	if c, ok := conn.(transport.Bound); ok {
		var err error
		if binding, err = c.Binding(); err != nil {
			return nil, err
		}
	}
	s.bound = len(binding) > 0
	s.hear(0, Preamble(protocolVersion, purposeFollow))
	s.hear(0, binding)
	return s, nil
}

// hear adds a message to what was said.
func (s *handshake) hear(kind uint8, payload []byte) {
	var head [9]byte
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], uint64(len(payload)))
	s.said.Write(head[:])
	s.said.Write(payload)
}

// say sends a message.
func (s *handshake) say(kind uint8, msg any) error {
	payload, err := wire.Marshal(msg)
	if err != nil {
		return err
	}
	s.hear(kind, payload)
	return s.w.WritePayload(kind, payload)
}

// expect reads a message of the kind; a refusal becomes the error that it carries.
func (s *handshake) expect(kind uint8, into any) error {
	got, payload, err := s.w.Read()
	if err != nil {
		return err
	}
	s.hear(got, payload)
	switch got {
	case kind:
		return wire.DecodeBy(wire.UnmarshalStrict, payload, into)
	case MsgRefusal:
		r, err := wire.DecodeChecked[Refusal](payload)
		if err != nil {
			return err
		}
		return r.Err()
	}
	return fmt.Errorf("message of kind %d where %d was expected", got, kind)
}

// sum is that of what was said until now.
func (s *handshake) sum() []byte { return s.said.Sum(nil) }

// proof shows that its maker holds the key and has heard what was said.
func proof(key, said []byte, label string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(label))
	h.Write(said)
	return h.Sum(nil)
}

// Proves reports whether one of the proofs is by the key.
func (p Proofs) Proves(key, said []byte, label string) (found bool) {
	want := proof(key, said, label)
	for _, by := range p.List {
		found = hmac.Equal(by, want) || found
	}
	return found
}

func nonce() []byte {
	b := make([]byte, nonceBytes)
	rand.Read(b)
	return b
}

// CheckNames refuses names that are none, before any is logged or kept. The error repeats none of them.
func (h *Hello) CheckNames() error {
	bad := func(what string) error {
		return fmt.Errorf("%w: the %s in the follower's hello is none; an id has 1 to 64 letters, digits, '-', '_' and '.'", fault.ErrOptions, what)
	}
	switch {
	case CheckID(h.ID) != nil:
		return bad("id")
	case h.Role != health.Replica && h.Role != health.Snap:
		return bad("role")
	case CheckID(h.Dialect) != nil:
		return bad("dialect")
	case h.Cluster != "" && CheckID(h.Cluster) != nil:
		return bad("cluster")
	case h.Queue != "" && CheckID(h.Queue) != nil:
		return bad("queue")
	case len(h.Nonce) != nonceBytes:
		return bad("nonce")
	}
	return nil
}

// Greet is the master's side. decide judges the hello and what the follower has proved; the welcome that it returns is
// sent, with a proof of the key that it returns.
func Greet(conn net.Conn, g Greeting, decide func(h Hello, proves func(key []byte) bool) (w Welcome, key []byte, err error)) (h Hello, w Welcome, err error) {
	deadline(conn, firstAnswer)
	defer conn.SetDeadline(time.Time{})
	s, err := shake(conn)
	if err != nil {
		return h, w, err
	}
	refuse := func(err error) error {
		r := RefusalOf(err)
		r.Text = r.Text[:min(len(r.Text), helloBytes/2)]
		_ = s.w.Write(MsgRefusal, r) // one who does not hear it is refused all the same
		linger(conn)
		return err
	}
	if err := heed(conn); err != nil {
		if errors.Is(err, ErrHungUp) {
			return h, w, err
		}
		return h, w, refuse(err)
	}
	g.Protocol, g.Nonce, g.Bound = protocolVersion, nonce(), s.bound
	if err := s.say(MsgGreeting, &g); err != nil {
		return h, w, err
	}
	if err := s.expect(MsgHello, &h); err != nil {
		return Hello{}, w, refuse(err)
	}
	if err := h.CheckNames(); err != nil {
		return Hello{}, w, refuse(err)
	}
	said := s.sum()
	var p Proofs
	if err := s.expect(MsgProof, &p); err != nil {
		return h, w, refuse(err)
	}
	if h.Bound != s.bound {
		return h, w, refuse(fmt.Errorf("%w: %s", fault.ErrUnknownNode, tlsBetween))
	}
	w, key, err := decide(h, func(key []byte) bool { return p.Proves(key, said, ByFollower) })
	if err != nil {
		return h, w, refuse(err)
	}
	if err := s.say(MsgWelcome, &w); err != nil {
		return h, w, err
	}
	p = Proofs{}
	if len(key) > 0 {
		p.List = [][]byte{proof(key, s.sum(), byMaster)}
	}
	return h, w, s.say(MsgProof, &p)
}

// tlsBetween is why what binds a connection differs at its ends.
const tlsBetween = "TLS ends somewhere between this node and the master, so neither can tell who the other is; let it reach from one to the other"

// heed reads the dialler's first word.
func heed(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(firstWord))
	b := make([]byte, len(Preamble(0, 0)))
	n, err := io.ReadFull(conn, b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: it hung up: %w", ErrHungUp, err)
	}
	deadline(conn, HelloTimeout)
	return judgePreamble(b[:n])
}

// ErrHungUp is about one who connects and leaves without a word, as port scans and health checks of proxies do.
var ErrHungUp = errors.New("no node")

// linger waits until the other side has read what was written: a connection that is closed with bytes unread is
// reset, which may throw away what was sent.
func linger(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	deadline(conn, lingerTime)
	_, _ = io.CopyN(io.Discard, conn, lingerBytes)
}

// Introduce is the follower's side. answer makes the hello once the greeting is known; keys are those that the node
// holds, any of which the master must prove.
func Introduce(conn net.Conn, keys [][]byte, answer func(Greeting) (Hello, error)) (g Greeting, w Welcome, err error) {
	deadline(conn, HelloTimeout)
	defer conn.SetDeadline(time.Time{})
	s, err := shake(conn)
	if err != nil {
		return g, w, err
	}
	if _, err := conn.Write(Preamble(protocolVersion, purposeFollow)); err != nil {
		return g, w, unanswered(err)
	}
	conn.SetReadDeadline(time.Now().Add(firstAnswer))
	if err := s.greeted(&g); err != nil {
		return g, w, unanswered(err)
	}
	deadline(conn, HelloTimeout)
	h, err := answer(g)
	if err != nil {
		return g, w, err
	}
	h.Nonce, h.Bound = nonce(), s.bound
	if err := s.say(MsgHello, &h); err != nil {
		return g, w, err
	}
	said := s.sum()
	var p Proofs
	for _, key := range keys {
		p.List = append(p.List, proof(key, said, ByFollower))
	}
	if err := s.say(MsgProof, &p); err != nil {
		return g, w, err
	}
	if err := s.expect(MsgWelcome, &w); err != nil {
		return g, w, err
	}
	said, p = s.sum(), Proofs{}
	if err := s.expect(MsgProof, &p); err != nil {
		return g, w, err
	}
	for _, key := range keys {
		if p.Proves(key, said, byMaster) {
			return g, w, nil
		}
	}
	if len(keys) > 0 {
		return g, w, remedy.New(fault.ErrUnknownMaster, "who answers does not prove this node's key: it is another, or a master that asks for no key; nothing was taken from it",
			remedy.Remedy{Action: remedy.CheckKey, Text: "check Options.Key"})
	}
	return g, w, nil
}

// greeted reads the greeting. One of another version may have more in it.
func (s *handshake) greeted(g *Greeting) error {
	kind, payload, err := s.w.Read()
	if err != nil {
		if errors.Is(err, wire.ErrVersion) {
			return fmt.Errorf("%w: %w", fault.ErrVersion, err)
		}
		return err
	}
	s.hear(kind, payload)
	switch kind {
	case MsgRefusal:
		r, err := wire.DecodeChecked[Refusal](payload)
		if err != nil {
			return err
		}
		return r.Err()
	case MsgGreeting:
		if err := wire.DecodeInto(payload, g); err != nil {
			return err
		}
	default:
		return fmt.Errorf("message of kind %d where a greeting was expected", kind)
	}
	if g.Protocol != protocolVersion {
		return fmt.Errorf("%w: the master speaks version %d, this node %d; run the same version of ddb on both", fault.ErrVersion, g.Protocol, protocolVersion)
	}
	if CheckID(g.Cluster) != nil || CheckID(g.Master) != nil || len(g.Nonce) != nonceBytes {
		return fmt.Errorf("%w: its greeting names no cluster and master", errStranger)
	}
	if g.Bound != s.bound {
		return fmt.Errorf("%w: %s", fault.ErrUnknownMaster, tlsBetween)
	}
	return nil
}

// checkMaster is what helps where another listens than was thought.
var checkMaster = remedy.Remedy{Action: remedy.CheckMaster, Text: "check Options.Master"}

// unanswered says what is at an address that does not answer as a master does.
func unanswered(err error) error {
	var stranger *wire.StrangerError
	var remote *remoteError
	switch {
	case errors.As(err, &remote), errors.Is(err, fault.ErrVersion), errors.Is(err, fault.ErrUnknownMaster), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &stranger) && strings.HasPrefix("HTTP/", string(stranger.Began[:min(5, len(stranger.Began))])):
		return remedy.New(fault.ErrNoMaster, "a web server answers there",
			remedy.Remedy{Action: remedy.SetMaster, Text: "set Options.Master to the address where the master listens for nodes, not to that of its console"}).By(err)
	case errors.As(err, &stranger) && stranger.Began[0] == 0x15:
		return remedy.New(fault.ErrNoMaster, "who answers speaks TLS, and this node does not",
			remedy.Remedy{Action: remedy.DialTLS, Text: "give its transport a TLS config, for example of tcp.ClientTLS"}).By(err)
	case errors.As(err, &stranger):
		return remedy.New(fault.ErrNoMaster, "who answers is no ddb node", checkMaster).By(err)
	case errors.Is(err, wire.ErrChecksum):
		return fmt.Errorf("%w: its answer was damaged on its way: %w", fault.ErrNoMaster, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return remedy.New(fault.ErrNoMaster, fmt.Sprintf("who listens there does not answer within %v; the master may hang", firstAnswer), checkMaster).By(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return remedy.New(fault.ErrNoMaster, "who listens there hung up without an answer: it is no ddb node, or it has too many connections, or it speaks TLS and this node does not", checkMaster,
			remedy.Remedy{Action: remedy.DialTLS, Text: "give this node's transport a TLS config"}).By(err)
	}
	return fmt.Errorf("%w: %w", fault.ErrNoMaster, err)
}
