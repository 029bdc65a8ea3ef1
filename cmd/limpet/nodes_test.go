package main

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// fakeConn answers each call with one code.
type fakeConn struct {
	grpc.ClientConnInterface

	code codes.Code
	ids  []string
}

func (c *fakeConn) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	md, _ := metadata.FromOutgoingContext(ctx)
	c.ids = append(c.ids, md.Get(limpetv1.HeaderRequestID)...)
	if c.code == codes.OK {
		return nil
	}
	return status.Error(c.code, c.code.String())
}

func TestACallGoesOnToTheNextNodeWhenOneCannotTakeIt(t *testing.T) {
	for _, c := range []struct {
		codes []codes.Code
		want  codes.Code
		asked int
	}{
		{[]codes.Code{codes.OK, codes.OK}, codes.OK, 1},
		{[]codes.Code{codes.Unavailable, codes.OK}, codes.OK, 2},
		{[]codes.Code{codes.Unavailable, codes.NotFound, codes.OK}, codes.NotFound, 2},
		{[]codes.Code{codes.InvalidArgument, codes.OK}, codes.InvalidArgument, 1},
		{[]codes.Code{codes.Unavailable, codes.Unavailable}, codes.Unavailable, 2},
	} {
		n := &anyNode{}
		var fakes []*fakeConn
		for _, code := range c.codes {
			f := &fakeConn{code: code}
			fakes, n.conns = append(fakes, f), append(n.conns, f)
		}
		err := n.Invoke(t.Context(), "/limpet.v1.Admin/TriggerRun", nil, nil)
		asked, ids := 0, map[string]bool{}
		for _, f := range fakes {
			asked += len(f.ids)
			for _, id := range f.ids {
				ids[id] = true
			}
		}
		if status.Code(err) != c.want || asked != c.asked || len(ids) != 1 {
			t.Errorf("%v: %v after %d nodes, with %d request ids", c.codes, err, asked, len(ids))
		}
	}
	f := &fakeConn{}
	n := &anyNode{conns: []grpc.ClientConnInterface{f}}
	for range 2 {
		if err := n.Invoke(t.Context(), "/limpet.v1.Admin/TriggerRun", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if f.ids[0] == f.ids[1] {
		t.Error("two calls have one request id")
	}
}
