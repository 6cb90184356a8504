package remote

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
)

// Values keep their type and every bit.
func TestValues(t *testing.T) {
	zone := time.FixedZone("CEST", 2*60*60)
	values := []any{
		nil, int64(0), int64(math.MinInt64), int64(math.MaxInt64), uint64(math.MaxUint64), uint64(7),
		1.5, math.Inf(-1), math.Copysign(0, -1), math.NaN(), math.SmallestNonzeroFloat64, float32(0.1),
		true, false, "", "text", "nul\x00 and \xff", []byte{}, []byte(nil), []byte{0, 255},
		json.RawMessage(`{}`), json.RawMessage(nil),
		time.Time{}, time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 1, zone), time.Date(9999, 12, 31, 23, 59, 59, 999999999, zone),
		time.Date(1900, 1, 1, 0, 0, 0, 0, time.FixedZone("", -(17*60+30))),
	}
	var b []byte
	for _, v := range values {
		var err error
		if b, err = appendValue(b, v); err != nil {
			t.Fatal(err)
		}
	}
	in := reader{buf: b}
	for i, want := range values {
		got := in.value()
		if in.err != nil {
			t.Fatalf("value %d: %v", i, in.err)
		}
		if !same(got, want) {
			t.Errorf("value %d: got %T %#v, want %T %#v", i, got, got, want, want)
		}
	}
	if len(in.buf) != 0 {
		t.Errorf("%d bytes left", len(in.buf))
	}
}

// same is equality that tells -0 from 0, nil from empty and zones apart.
func same(a, b any) bool {
	switch b := b.(type) {
	case float64:
		a, ok := a.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case float32:
		a, ok := a.(float32)
		return ok && math.Float32bits(a) == math.Float32bits(b)
	case time.Time:
		a, ok := a.(time.Time)
		_, offsetA := a.Zone()
		_, offsetB := b.Zone()
		return ok && a.Equal(b) && offsetA == offsetB && (a.Location() == time.UTC) == (b.Location() == time.UTC)
	case []byte:
		a, ok := a.([]byte)
		return ok && bytes.Equal(a, b) && (a == nil) == (b == nil)
	}
	return reflect.DeepEqual(a, b)
}

// A time with a monotonic reading arrives as the same instant, without it.
func TestMonotonicIsStripped(t *testing.T) {
	now := time.Now()
	b, err := appendValue(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	in := reader{buf: b}
	got := in.value().(time.Time)
	if !got.Equal(now) || got.String() != now.Round(0).String() {
		t.Errorf("got %v, want %v", got, now.Round(0))
	}
}

// No input makes the decoder panic or read past its end, and what it accepts
// survives another round.
func FuzzValue(f *testing.F) {
	for _, v := range []any{nil, int64(-1), "abc", []byte{1}, 1.5, time.Now(), uint64(1) << 63, json.RawMessage("1")} {
		b, err := appendValue(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{tagString, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := reader{buf: b}
		v := in.value()
		if in.err != nil {
			return
		}
		again, err := appendValue(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		in = reader{buf: again}
		if got := in.value(); in.err != nil || !same(got, v) {
			t.Fatalf("%#v became %#v (%v)", v, got, in.err)
		}
	})
}
