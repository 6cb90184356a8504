package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// sameValue is equality of type and bits: NaN equals itself and 0 is not -0.
func sameValue(a, b any) bool {
	x, ok := a.(float64)
	y, ok2 := b.(float64)
	if ok && ok2 {
		return math.Float64bits(x) == math.Float64bits(y)
	}
	return reflect.DeepEqual(a, b)
}

func sameValues(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameValue(a[i], b[i]) {
			return false
		}
	}
	return true
}

var extremes = []any{
	nil, true, false, int64(0), int64(-1), int64(23), int64(24), int64(255), int64(256), int64(65535), int64(65536),
	int64(math.MaxUint32), int64(math.MaxUint32 + 1), int64(math.MaxInt64), int64(math.MinInt64),
	uint64(math.MaxInt64 + 1), uint64(math.MaxUint64),
	0.0, math.Copysign(0, -1), 1.0, 0.1, math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0xfff0000000000001),
	math.MaxFloat64, math.SmallestNonzeroFloat64, float64(1 << 53),
	"", "text", "\x00", "a\x00b", "\xff\xfe", "ключ", string(make([]byte, 70_000)),
	[]byte{}, []byte{0}, []byte("bytes"), make([]byte, 300),
}

// values draws what a database may hold, in the types that come back.
func values() *rapid.Generator[[]any] {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom(extremes),
		rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.Uint64Min(math.MaxInt64+1), func(v uint64) any { return v }),
		rapid.Map(rapid.Uint64(), func(v uint64) any { return math.Float64frombits(v) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return string(v) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) any { return append([]byte{}, v...) }),
	), 0, 12)
}

// Values survive both codecs, in every combination, with their types and bits,
// and both write the same bytes.
func TestValuesRoundTrip(t *testing.T) {
	check := func(fail func(string, ...any), want []any) {
		library, err := Marshal(want)
		if err != nil {
			fail("Marshal: %v", err)
		}
		ours, err := Marshal(Row(want))
		if err != nil || !bytes.Equal(ours, library) {
			fail("Row encodes to %x, []any to %x (%v)", ours, library, err)
		}
		var decoded []any
		if err := Unmarshal(ours, &decoded); err != nil || !sameValues(decoded, want) {
			fail("Unmarshal: %#v, want %#v (%v)", decoded, want, err)
		}
		row, err := Decode[Row](library)
		if err != nil || !sameValues(row, want) {
			fail("Row: %#v, want %#v (%v)", row, want, err)
		}
		into := make([]any, len(want))
		rest, err := DecodeRow(append(AppendRow(nil, want), "rest"...), len(want), into)
		if err != nil || string(rest) != "rest" || !sameValues(into, want) {
			fail("DecodeRow: %#v, want %#v, rest %q (%v)", into, want, rest, err)
		}
	}
	check(t.Fatalf, extremes)
	rapid.Check(t, func(t *rapid.T) { check(t.Fatalf, values().Draw(t, "values")) })
}

// Go types that a driver may hand over encode as the library encodes them.
func TestOtherTypes(t *testing.T) {
	in := []any{int(-5), int8(-5), int16(-300), int32(70000), uint(7), uint8(7), uint16(700), uint32(70000), uint64(5), float32(1.5), []byte(nil)}
	for _, v := range in {
		want, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendRow(nil, []any{v}); !bytes.Equal(got, want) {
			t.Errorf("%T(%v): %x, want %x", v, v, got, want)
		}
	}
	if _, err := Marshal(Row{struct{}{}}); err == nil {
		t.Error("a row with a struct: no error")
	}
}

// An integer above int64 survives inside an any, at any depth of generic values.
func TestNormalize(t *testing.T) {
	big := uint64(math.MaxUint64)
	b, err := Marshal(map[string]any{"a": []any{big, int64(1)}, "b": big})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[map[string]any](b)
	want := map[string]any{"a": []any{big, int64(1)}, "b": big}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
}

// Strings are copied and []byte alias the source without room to grow into it.
func TestDecodeRowAliasing(t *testing.T) {
	src := AppendRow(nil, []any{"text", []byte("blob"), int64(1)})
	into := make([]any, 3)
	if _, err := DecodeRow(src, 3, into); err != nil {
		t.Fatal(err)
	}
	blob := into[1].([]byte)
	if cap(blob) != len(blob) {
		t.Errorf("a []byte has room for %d bytes of its neighbour", cap(blob)-len(blob))
	}
	clear(src)
	if into[0] != "text" || !bytes.Equal(blob, make([]byte, 4)) {
		t.Errorf("after the source changed: %q, %q", into[0], blob)
	}
}

// Malformed rows are refused.
func TestDecodeRowErrors(t *testing.T) {
	for name, src := range map[string][]byte{
		"empty": {}, "text cut": {0x64, 'a'}, "head cut": {0x19, 1}, "float cut": {0xfb, 1, 2}, "huge": {0x5b, 255, 255, 255, 255, 255, 255, 255, 255},
		"indefinite": {0x7f, 0xff}, "array": {0x80}, "tag": {0xc1, 1}, "below int64": {0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0}, "reserved": {0x1c},
	} {
		if _, err := DecodeRow(src, 1, make([]any, 1)); !errors.Is(err, ErrRow) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeRow([]byte{0xf6}, 2, make([]any, 1)); !errors.Is(err, ErrRow) {
		t.Errorf("no room: %v", err)
	}
}

// What DecodeRow accepts the library reads as the same values, and what it
// accepts is written back and read as the same.
func FuzzDecodeRow(f *testing.F) {
	f.Add(AppendRow(nil, []any{nil, int64(-1), 1.5, "t", []byte("b"), uint64(math.MaxUint64)}))
	f.Add([]byte{0x18, 0x01, 0xfa, 0x7f, 0xa0, 0, 1})
	f.Fuzz(func(t *testing.T, src []byte) {
		for n := 1; n <= min(len(src), 8); n++ {
			into := make([]any, n)
			rest, err := DecodeRow(src, n, into)
			if err != nil {
				return
			}
			array := append(appendHead(nil, majorArray, uint64(n)), src[:len(src)-len(rest)]...)
			var library []any
			if err := Unmarshal(array, &library); err != nil {
				t.Fatalf("the library refuses %x: %v", array, err)
			}
			if !sameValues(library, into) {
				t.Fatalf("%x: %#v, the library reads %#v", array, into, library)
			}
			again := make([]any, n)
			if _, err := DecodeRow(AppendRow(nil, into), n, again); err != nil || !sameValues(into, again) {
				t.Fatalf("again: %#v, want %#v (%v)", again, into, err)
			}
		}
	})
}

var benchRow = []any{int64(123456), "some name of usual length", 3.25, nil, []byte("0123456789abcdef"), int64(1), "2026-11-22 10:00:00", uint64(7)}

// 8 values per operation.
func BenchmarkAppendRow(b *testing.B) {
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRow(dst[:0], benchRow)
	}
}

// 8 values per operation.
func BenchmarkDecodeRow(b *testing.B) {
	src := AppendRow(nil, benchRow)
	into := make([]any, len(benchRow))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRow(src, len(into), into); err != nil {
			b.Fatal(err)
		}
	}
}
