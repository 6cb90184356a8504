package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits of logins.
const (
	cookieName   = "ddb_session"
	sessionAge   = 12 * time.Hour
	maxSessions  = 1000
	maxLoginBody = 4 << 10
)

// caller is who sends a request.
type caller struct {
	access Access
	name   string // for the log: the level and the address, never the token
}

type callerKey struct{}

func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller)
	return c
}

// sessions are the logins of people. A session is not the token: the cookie is
// worth nothing after it ends or after a restart.
type sessions struct {
	mu   sync.Mutex
	byID map[string]login
}

type login struct {
	access Access
	until  time.Time
}

func (s *sessions) open(a Access, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = make(map[string]login)
	}
	oldest := ""
	for id, l := range s.byID {
		if now.After(l.until) {
			delete(s.byID, id)
		} else if oldest == "" || l.until.Before(s.byID[oldest].until) {
			oldest = id
		}
	}
	if len(s.byID) >= maxSessions {
		delete(s.byID, oldest)
	}
	id := rand.Text()
	s.byID[id] = login{a, now.Add(sessionAge)}
	return id
}

func (s *sessions) find(id string, now time.Time) (Access, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.byID[id]
	return l.access, ok && now.Before(l.until)
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// accessOf looks a token up in a time that does not depend on how much of it is right.
func (h *Handler) accessOf(token string) (Access, bool) {
	got := sha256.Sum256([]byte(token))
	found := Access(0)
	for t, a := range h.opts.Tokens {
		want := sha256.Sum256([]byte(t))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			found = a
		}
	}
	return found, found != 0
}

// bearer returns the token that a request carries itself, without a session.
func bearer(r *http.Request) (token string, ok bool) {
	token, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return strings.TrimSpace(token), ok
}

// identify finds out who sends the request; ok is false for one without a valid token or cookie.
func (h *Handler) identify(r *http.Request) (c caller, ok bool) {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	switch token, sent := bearer(r); {
	case len(h.opts.Tokens) == 0:
		c.access, ok = Admin, true
	case sent:
		if c.access, ok = h.accessOf(token); !ok {
			h.failures.add(source(r))
		}
	default:
		if cookie, err := r.Cookie(cookieName); err == nil {
			c.access, ok = h.sessions.find(cookie.Value, time.Now())
		}
	}
	c.name = c.access.String() + "@" + from
	return c, ok
}

// guard lets callers with the access through.
func (h *Handler) guard(need Access, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(h.opts.Tokens) == 0 && !loopbackHost(r.Host) {
			// A page elsewhere could otherwise reach in by a name that it lets point here (DNS rebinding).
			fail(w, http.StatusForbidden, "without a token only requests to localhost are answered; set one to be reached as "+r.Host)
			return
		}
		if _, sent := bearer(r); sent && h.tooMany(w, r) {
			return
		}
		c, ok := h.identify(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="ddb"`)
			fail(w, http.StatusUnauthorized, "a valid token is needed: Authorization: Bearer TOKEN, or log in on the page")
			return
		}
		if c.access < need {
			fail(w, http.StatusForbidden, "this needs the access "+need.String()+"; the token has "+c.access.String())
			return
		}
		serve(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	}
}

func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	return isLoopback(host) || strings.HasSuffix(host, ".localhost")
}

func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if !readJSON(w, r, maxLoginBody, &in) {
		return
	}
	if h.tooMany(w, r) {
		return
	}
	access, ok := h.accessOf(in.Token)
	if !ok && len(h.opts.Tokens) > 0 {
		h.failures.add(source(r))
		fail(w, http.StatusUnauthorized, "wrong token")
		return
	}
	if len(h.opts.Tokens) > 0 {
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: h.sessions.open(access, time.Now()), Path: "/", HttpOnly: true,
			SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil, MaxAge: int(sessionAge / time.Second)})
	} else {
		access = Admin
	}
	reply(w, http.StatusOK, map[string]string{"access": access.String()})
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		h.sessions.end(cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil, MaxAge: -1})
	w.WriteHeader(http.StatusNoContent)
}

// session tells the page who it works for and with what.
func (h *Handler) session(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"access": callerOf(r).access.String(), "login": len(h.opts.Tokens) > 0,
		"node": h.c.ID(), "role": h.c.Role(), "dialect": h.c.Dialect(), "maxRows": h.opts.MaxRows,
	})
}
