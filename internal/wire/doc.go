// Package wire is how two nodes talk over a connection: many streams over one
// connection ([Session]), framed messages on a stream ([Conn]), and CBOR
// (RFC 8949) for what the messages hold ([Marshal], [AppendRow]).
//
// # Frame
//
// A message is one frame. Numbers are big-endian.
//
//	offset  size  field
//	     0     1  magic, 0xDB
//	     1     1  version of this format, 2
//	     2     1  kind of message; its meaning is the caller's
//	     3     1  flags: bit 0 = payload is an S2 block; other bits are 0
//	     4     4  n, length of the payload in this frame
//	     8     4  CRC-32C (Castagnoli) of bytes 0 to 7 and the payload
//	    12     n  payload
//
// An S2 block starts with the length it decompresses to, as a varint. Both that
// length and n are checked against the reader's limit before memory is reserved,
// and memory for n grows as bytes arrive, so a header alone costs nothing.
//
// # Session
//
// A session speaks the protocol of hashicorp/yamux, version 0, and works with
// that library at the other end. The reason for not using the library itself is
// that it shares timers between sessions, which Go forbids between bubbles of
// testing/synctest. Numbers are big-endian.
//
//	offset  size  field
//	     0     1  version, 0
//	     1     1  type: 0 data, 1 window update, 2 ping, 3 go away
//	     2     2  flags: 1 SYN, 2 ACK, 4 FIN, 8 RST
//	     4     4  stream; odd when the dialing side opened it, 0 for the session
//	     8     4  n: data: bytes that follow; window update: bytes that may be
//	              sent in addition; ping: its number; go away: the reason
//	    12     n  the bytes, for data only
package wire
