package follow

import (
	"github.com/ddb-project/ddb/internal/link"

	"github.com/ddb-project/ddb/internal/apply"
)

// decoder takes the next message with rows of a snapshot apart while the database is busy with the one before.
type decoder struct {
	payload []byte // of the message that is being taken apart, or was; nil if there is none
	done    chan decoded
}

type decoded struct {
	rows *apply.Rows
	err  error
}

// begin starts on a message if it is one with rows.
func (d *decoder) begin(it item) {
	if it.kind != link.MsgRows {
		return
	}
	d.payload, d.done = it.payload, make(chan decoded, 1)
	done := d.done
	go func() { // wait waits for it
		rows, err := apply.DecodeRows(it.payload)
		done <- decoded{rows, err}
	}()
}

// rows returns the message's rows.
func (d *decoder) rows(it item) (*apply.Rows, error) {
	if len(it.payload) > 0 && len(d.payload) > 0 && &d.payload[0] == &it.payload[0] {
		r := <-d.done
		d.payload = nil
		return r.rows, r.err
	}
	return apply.DecodeRows(it.payload)
}

// wait waits for what is under way.
func (d *decoder) wait() {
	if d.payload != nil {
		<-d.done
	}
}
