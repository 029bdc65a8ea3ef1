package fsm

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// codec turns an object into bytes and back. An object lists its fields once,
// in one `fields` method; the same list writes and reads. What is written is
// the protobuf wire format (api/limpet/v1/snapshot.proto describes it), with
// the fields in the order of their numbers and zero values left out, so that
// equal objects have equal bytes: the state hash is taken over them.
type codec struct {
	out     []byte
	in      []wireField
	reading bool
	err     error
}

type wireField struct {
	num   protowire.Number
	varnt uint64
	bytes []byte
}

type object interface{ fields(c *codec) }

// encode appends the object's bytes to b.
func encode(b []byte, o object) []byte {
	c := codec{out: b}
	o.fields(&c)
	return c.out
}

// decode fills the object from b. Fields that it does not list are ignored.
// Byte fields alias b.
func decode(b []byte, o object) error {
	c := codec{reading: true}
	for len(b) > 0 {
		n, typ, size := protowire.ConsumeTag(b)
		if size < 0 {
			return fmt.Errorf("decode %T: %w", o, protowire.ParseError(size))
		}
		b = b[size:]
		f := wireField{num: n}
		switch typ {
		case protowire.VarintType:
			f.varnt, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, size = protowire.ConsumeBytes(b)
		case protowire.Fixed32Type, protowire.Fixed64Type, protowire.StartGroupType, protowire.EndGroupType:
			return fmt.Errorf("decode %T: field %d has wire type %d", o, n, typ)
		default:
			return fmt.Errorf("decode %T: field %d has wire type %d", o, n, typ)
		}
		if size < 0 {
			return fmt.Errorf("decode %T: field %d: %w", o, n, protowire.ParseError(size))
		}
		b = b[size:]
		c.in = append(c.in, f)
	}
	o.fields(&c)
	return c.err
}

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func num[T integer](c *codec, n protowire.Number, v *T) {
	if c.reading {
		for i := range c.in {
			if c.in[i].num == n {
				*v = T(int64(c.in[i].varnt))
			}
		}
		return
	}
	if *v != 0 {
		c.out = protowire.AppendVarint(protowire.AppendTag(c.out, n, protowire.VarintType), uint64(int64(*v)))
	}
}

func flag(c *codec, n protowire.Number, v *bool) {
	var u uint8
	if *v {
		u = 1
	}
	num(c, n, &u)
	*v = u != 0
}

func str[T ~string](c *codec, n protowire.Number, v *T) {
	if c.reading {
		for i := range c.in {
			if c.in[i].num == n {
				*v = T(c.in[i].bytes)
			}
		}
		return
	}
	if *v != "" {
		c.out = protowire.AppendString(protowire.AppendTag(c.out, n, protowire.BytesType), string(*v))
	}
}

func raw(c *codec, n protowire.Number, v *[]byte) {
	if c.reading {
		for i := range c.in {
			if c.in[i].num == n {
				*v = c.in[i].bytes
			}
		}
		return
	}
	if len(*v) > 0 {
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, n, protowire.BytesType), *v)
	}
}

func strs[T ~string](c *codec, n protowire.Number, v *[]T) {
	if c.reading {
		for i := range c.in {
			if c.in[i].num == n {
				*v = append(*v, T(c.in[i].bytes))
			}
		}
		return
	}
	for i := range *v {
		c.out = protowire.AppendString(protowire.AppendTag(c.out, n, protowire.BytesType), string((*v)[i]))
	}
}

type objectPtr[T any] interface {
	*T
	object
}

func sub[T any, P objectPtr[T]](c *codec, n protowire.Number, v *T) {
	if c.reading {
		for i := range c.in {
			if c.in[i].num == n && c.err == nil {
				c.err = decode(c.in[i].bytes, P(v))
			}
		}
		return
	}
	if b := encode(nil, P(v)); len(b) > 0 {
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, n, protowire.BytesType), b)
	}
}

func subs[T any, P objectPtr[T]](c *codec, n protowire.Number, v *[]T) {
	if c.reading {
		for i := range c.in {
			if c.in[i].num == n && c.err == nil {
				var item T
				c.err = decode(c.in[i].bytes, P(&item))
				*v = append(*v, item)
			}
		}
		return
	}
	for i := range *v {
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, n, protowire.BytesType), encode(nil, P(&(*v)[i])))
	}
}

func itoa[T integer](v T) string { return strconv.FormatInt(int64(v), 10) }
