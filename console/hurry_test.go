package console

import "time"

// Hurry makes the console impatient with slow clients, for tests.
func (h *Handler) Hurry(d time.Duration) { h.patience = patience{header: d, request: d, piece: d} }
