package nodes

import (
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func open(t *testing.T, addrs ...string) *Set {
	t.Helper()
	s, err := New(addrs, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, s *Set) *Conn {
	t.Helper()
	c, err := s.Get()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryFailureMovesOnOnce(t *testing.T) {
	s := open(t, "a:1", "b:1", "c:1")
	seen := map[string]bool{}
	for range 3 {
		c := get(t, s)
		seen[c.Addr] = true
		s.Failed(c)
		s.Failed(c) // another caller, of the same failure
	}
	if len(seen) != 3 {
		t.Fatalf("three failures tried %v, want all three nodes", seen)
	}
}

func TestLearnKeepsTheCurrentAndTheGiven(t *testing.T) {
	s := open(t, "lb:1")
	c := get(t, s)
	s.Learn([]string{"x:1", "y:1"})
	if got := get(t, s); got != c {
		t.Errorf("the current node changed from %s to %s", c.Addr, got.Addr)
	}
	if got := s.Addrs(); !slices.Equal(got, []string{"lb:1", "x:1", "y:1"}) {
		t.Errorf("nodes are %v", got)
	}
	s.Learn([]string{"y:1"})
	if got := s.Addrs(); !slices.Equal(got, []string{"lb:1", "y:1"}) {
		t.Errorf("nodes are %v after x left", got)
	}
}

func TestSplit(t *testing.T) {
	want := []string{"127.0.0.1:1", "127.0.0.1:2"}
	if got := Split(" ipv4:127.0.0.1:1, 127.0.0.1:2,"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
