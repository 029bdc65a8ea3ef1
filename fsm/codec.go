package fsm

import (
	"bytes"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// codec turns objects into bytes and back. An object lists its fields once, in
// one `fields` method and in the order of their numbers; the same list writes
// and reads. What is written is the protobuf wire format
// (api/limpet/v1/snapshot.proto describes it), with the fields in that order and
// zero values left out, so that equal objects have equal bytes: the state hash
// is taken over them. One codec serves any number of objects, one by one.
type codec struct {
	out []byte

	reading bool
	in      []byte // not read yet
	next    wireField
	has     bool // next is read and not taken
	skipped int  // fields that the object does not list, or not in this order
	err     error

	inner  *codec            // for objects in objects
	shared map[string]string // texts that many objects have
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

// encode appends the object's bytes to b.
func (c *codec) encode(b []byte, o object) []byte {
	c.out = b
	o.fields(c)
	b, c.out = c.out, nil
	return b
}

// decode fills the object from b. Fields that it does not list are ignored.
func decode(b []byte, o object) error {
	var c codec
	return c.decode(b, o)
}

// decode fills the object from b, and counts the fields that it does not list.
// The object keeps no hold on b.
func (c *codec) decode(b []byte, o object) error {
	c.reading, c.in, c.has, c.err = true, b, false, nil
	o.fields(c)
	for c.peek() {
		c.skipped++
		c.has = false
	}
	c.in = nil
	if c.err != nil {
		return fmt.Errorf("decode %T: %w", o, c.err)
	}
	return nil
}

// peek reads the next field unless there is one already.
func (c *codec) peek() bool {
	if c.has || c.err != nil || len(c.in) == 0 {
		return c.has && c.err == nil
	}
	n, typ, size := protowire.ConsumeTag(c.in)
	if size < 0 {
		c.err = protowire.ParseError(size)
		return false
	}
	c.in = c.in[size:]
	c.next = wireField{num: n}
	switch typ {
	case protowire.VarintType:
		c.next.varnt, size = protowire.ConsumeVarint(c.in)
	case protowire.BytesType:
		c.next.bytes, size = protowire.ConsumeBytes(c.in)
	case protowire.Fixed32Type, protowire.Fixed64Type, protowire.StartGroupType, protowire.EndGroupType:
		c.err = fmt.Errorf("field %d has wire type %d", n, typ)
		return false
	default:
		c.err = fmt.Errorf("field %d has wire type %d", n, typ)
		return false
	}
	if size < 0 {
		c.err = fmt.Errorf("field %d: %w", n, protowire.ParseError(size))
		return false
	}
	c.in, c.has = c.in[size:], true
	return true
}

// take gives the next field if it is number n. Those before it are not listed.
func (c *codec) take(n protowire.Number) (wireField, bool) {
	for c.peek() && c.next.num <= n {
		c.has = false
		if c.next.num == n {
			return c.next, true
		}
		c.skipped++
	}
	return wireField{}, false
}

// within gives the codec for an object in this one.
func (c *codec) within() *codec {
	if c.inner == nil {
		c.inner = &codec{}
	}
	c.inner.shared = c.shared
	return c.inner
}

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

func num[T integer](c *codec, n protowire.Number, v *T) {
	if c.reading {
		if f, ok := c.take(n); ok {
			*v = T(int64(f.varnt))
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
	if c.reading { // what is written may be read by others at the same time
		*v = u != 0
	}
}

func str[T ~string](c *codec, n protowire.Number, v *T) {
	if c.reading {
		if f, ok := c.take(n); ok {
			*v = T(f.bytes)
		}
		return
	}
	if *v != "" {
		c.out = protowire.AppendString(protowire.AppendTag(c.out, n, protowire.BytesType), string(*v))
	}
}

// maxShared bounds the texts that a codec remembers.
const maxShared = 1 << 14

// name is str for a text that many objects have: read by one codec, they share it.
func name[T ~string](c *codec, n protowire.Number, v *T) {
	if !c.reading || c.shared == nil {
		str(c, n, v)
		return
	}
	f, ok := c.take(n)
	if !ok {
		return
	}
	text, known := c.shared[string(f.bytes)]
	if !known {
		text = string(f.bytes)
		if len(c.shared) >= maxShared {
			clear(c.shared)
		}
		c.shared[text] = text
	}
	*v = T(text)
}

func raw(c *codec, n protowire.Number, v *[]byte) {
	if c.reading {
		if f, ok := c.take(n); ok {
			*v = bytes.Clone(f.bytes)
		}
		return
	}
	if len(*v) > 0 {
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, n, protowire.BytesType), *v)
	}
}

func strs[T ~string](c *codec, n protowire.Number, v *[]T) {
	if c.reading {
		for f, ok := c.take(n); ok; f, ok = c.take(n) {
			*v = append(*v, T(f.bytes))
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
		if f, ok := c.take(n); ok {
			readWithin(c, f.bytes, P(v))
		}
		return
	}
	in := c.within()
	if in.out = in.encode(in.out[:0], P(v)); len(in.out) > 0 {
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, n, protowire.BytesType), in.out)
	}
}

func subs[T any, P objectPtr[T]](c *codec, n protowire.Number, v *[]T) {
	if c.reading {
		for f, ok := c.take(n); ok; f, ok = c.take(n) {
			var item T
			readWithin(c, f.bytes, P(&item))
			*v = append(*v, item)
		}
		return
	}
	for i := range *v {
		in := c.within()
		in.out = in.encode(in.out[:0], P(&(*v)[i]))
		c.out = protowire.AppendBytes(protowire.AppendTag(c.out, n, protowire.BytesType), in.out)
	}
}

func readWithin(c *codec, b []byte, o object) {
	in := c.within()
	in.skipped = 0
	if err := in.decode(b, o); err != nil && c.err == nil {
		c.err = err
	}
	c.skipped += in.skipped
}

func itoa[T integer](v T) string { return strconv.FormatInt(int64(v), 10) }
