package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/ddb-project/ddb"
	"github.com/ddb-project/ddb/dialect"
)

// statusGone is what nginx calls a request whose client has left.
const statusGone = 499

// statuses are the answers to errors that have a name; the first that an error is counts. docs/api.md lists them.
var statuses = []struct {
	err    error
	status int
}{
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
	{context.Canceled, statusGone},

	// The caller's doing.
	{ddb.ErrNotAllowed, http.StatusForbidden},
	{ddb.ErrNoConflict, http.StatusNotFound},
	{ddb.ErrOptions, http.StatusBadRequest},
	{ddb.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{ddb.ErrNotReplicable, http.StatusUnprocessableEntity},

	// Another node could.
	{ddb.ErrNotMaster, http.StatusConflict},
	{ddb.ErrReadOnly, http.StatusConflict},
	{ddb.ErrSecondMaster, http.StatusConflict},
	{ddb.ErrWrongRole, http.StatusConflict},

	// It may work later. A write that was not confirmed stands: nobody is told to repeat it.
	{ddb.ErrNotConfirmed, http.StatusGatewayTimeout},
	{ddb.ErrDiskFull, http.StatusInsufficientStorage},
	{ddb.ErrBusy, http.StatusServiceUnavailable},
	{errTooMany, http.StatusServiceUnavailable},
	{ddb.ErrNoMaster, http.StatusServiceUnavailable},
	{ddb.ErrStale, http.StatusServiceUnavailable},
	{ddb.ErrQueueFull, http.StatusServiceUnavailable},
	{ddb.ErrClosed, http.StatusServiceUnavailable},

	// The node or its link to the master is not as it should be, whatever the request.
	{ddb.ErrPrivilege, http.StatusInternalServerError},
	{ddb.ErrDamaged, http.StatusInternalServerError},
	{ddb.ErrDiverged, http.StatusInternalServerError},
	{ddb.ErrForked, http.StatusInternalServerError},
	{ddb.ErrGap, http.StatusInternalServerError},
	{ddb.ErrTrimmed, http.StatusInternalServerError},
	{ddb.ErrUnsettled, http.StatusInternalServerError},
	{ddb.ErrVersion, http.StatusBadGateway},
	{ddb.ErrOtherCluster, http.StatusBadGateway},
	{ddb.ErrOldEpoch, http.StatusBadGateway},
	{ddb.ErrUnknownNode, http.StatusBadGateway},
	{ddb.ErrUnknownMaster, http.StatusBadGateway},
	{ddb.ErrDuplicateID, http.StatusBadGateway},
}

// statusOf returns the status that fits an error; what it does not know is the statement's fault.
func statusOf(err error) int {
	if _, tooBig := errors.AsType[*http.MaxBytesError](err); tooBig {
		return http.StatusRequestEntityTooLarge
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusBadRequest
}

// statusOf is [statusOf] for an error that may be the database's own, which says no more than that somebody else was first.
func (h *Handler) statusOf(err error) int {
	status := statusOf(err)
	if status == http.StatusBadRequest && h.means(err).Is(dialect.Busy) {
		return http.StatusServiceUnavailable
	}
	return status
}

// retryAfter is what a caller is told to wait, in seconds, before it asks a node again that was too busy.
const retryAfter = 1

// failWith sends an error with the status that fits it.
func (h *Handler) failWith(w http.ResponseWriter, err error) {
	fail(w, hint(w, h.statusOf(err)), err.Error())
}

// hint adds to an answer of the status what its reader needs beside it.
func hint(w http.ResponseWriter, status int) int {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	return status
}
