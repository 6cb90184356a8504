package wire

import (
	"fmt"
	"math/big"

	"github.com/fxamacker/cbor/v2"
)

// Limits of what Unmarshal takes.
const (
	maxElements = 1 << 20 // of an array, or pairs of a map: an empty element of a list of structs takes a byte there and hundreds here
	maxNesting  = 32
)

var (
	encMode = must(cbor.EncOptions{
		// Databases tell -0.0, 1 and 1.0 apart, and some keep a NaN's bits.
		ShortestFloat: cbor.ShortestFloatNone,
		NaNConvert:    cbor.NaNConvertNone,
		InfConvert:    cbor.InfConvertNone,
		Time:          cbor.TimeRFC3339Nano,
		TimeTag:       cbor.EncTagRequired,
	}.UserBufferEncMode())

	decMode    = must(decOptions.DecMode())
	strictMode = must(strict(decOptions).DecMode())

	decOptions = cbor.DecOptions{
		// SQLite keeps any bytes as text, so text need not be UTF-8.
		UTF8: cbor.UTF8DecodeInvalid,
		// Integers come as int64; Normalize turns what does not fit into uint64.
		IntDec:           cbor.IntDecConvertSignedOrBigInt,
		BigIntDec:        cbor.BigIntDecodePointer,
		MaxArrayElements: maxElements,
		MaxMapPairs:      maxElements,
		MaxNestedLevels:  maxNesting,
		IndefLength:      cbor.IndefLengthForbidden,
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
	}
)

// strict makes fields that nobody knows an error.
func strict(o cbor.DecOptions) cbor.DecOptions {
	o.ExtraReturnErrors = cbor.ExtraDecErrorUnknownField
	return o
}

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // the options above are wrong
	}
	return mode
}

// Marshal encodes v as CBOR. Floats keep their width and bits, text may hold any
// bytes, and a nil []byte is null where an empty one is an empty byte string.
func Marshal(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b, nil
}

// Unmarshal decodes one CBOR item; its errors wrap [ErrCorrupt]. Into a value of type any it puts what
// [Normalize] describes, if into points to an any, []any, [][]any or
// map[string]any. Deeper in a type of your own use [Row], or call Normalize.
func Unmarshal(payload []byte, into any) error {
	if err := decMode.Unmarshal(payload, into); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrCorrupt, into, err)
	}
	switch v := into.(type) {
	case *any:
		*v = Normalize(*v)
	case *[]any:
		Normalize(*v)
	case *[][]any:
		for _, row := range *v {
			Normalize(row)
		}
	case *map[string]any:
		for key, value := range *v {
			(*v)[key] = Normalize(value)
		}
	}
	return nil
}

// UnmarshalStrict decodes one CBOR item into a struct that has all the fields which come.
func UnmarshalStrict(payload []byte, into any) error {
	if err := strictMode.Unmarshal(payload, into); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrCorrupt, into, err)
	}
	return nil
}

// Decode is [Unmarshal] with the type as a parameter.
func Decode[T any](payload []byte) (T, error) {
	var v T
	err := Unmarshal(payload, &v)
	return v, err
}

// Normalize turns a value of type any that CBOR left behind into one that a
// database knows: nil, bool, int64, uint64 (above the range of int64 only),
// float64, string or []byte (not nil, even if empty). Slices and maps are
// normalized in place.
func Normalize(v any) any {
	switch v := v.(type) {
	case *big.Int:
		if v.IsUint64() {
			return v.Uint64()
		}
	case uint64:
		if int64(v) >= 0 {
			return int64(v)
		}
	case []any:
		for i := range v {
			v[i] = Normalize(v[i])
		}
	case map[any]any:
		for key, value := range v {
			v[key] = Normalize(value)
		}
	case map[string]any:
		for key, value := range v {
			v[key] = Normalize(value)
		}
	}
	return v
}
