package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, dir, identity string) *place {
	t.Helper()
	p, err := openPlace(dir, identity)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPlaceIsTheSameAtEveryStart(t *testing.T) {
	dir := t.TempDir()
	p := open(t, dir, "")
	identity, generation := p.identity, p.generation
	if err := p.begin("life-1"); err != nil {
		t.Fatal(err)
	}
	if err := p.registered("w1"); err != nil {
		t.Fatal(err)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	p = open(t, dir, "")
	if p.identity != identity || p.generation != generation || identity == "" || identity == generation {
		t.Errorf("it was %s/%s and is %s/%s", identity, generation, p.identity, p.generation)
	}
	if l := p.lastLife(); l.Incarnation != "life-1" || len(l.Workers) != 1 || l.Workers[0] != "w1" {
		t.Errorf("its last life is %+v", l)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	// Who wipes the directory is the same place by name, and another by state.
	if err := os.Remove(filepath.Join(dir, "generation")); err != nil {
		t.Fatal(err)
	}
	p = open(t, dir, "gpu-1")
	defer func() { _ = p.close() }()
	if p.identity != "gpu-1" || p.generation == generation {
		t.Errorf("after a wipe it is %s/%s", p.identity, p.generation)
	}
}

func TestOneAgentAtATimeHasADirectory(t *testing.T) {
	dir := t.TempDir()
	p := open(t, dir, "")
	defer func() { _ = p.close() }()
	_, err := openPlace(dir, "")
	if err == nil || !strings.Contains(err.Error(), "is in use by process") || !strings.Contains(err.Error(), "a directory of its own") {
		t.Errorf("a second agent is told %v", err)
	}
}

func TestALifeThatWasCutShortIsNoObstacle(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "life"), []byte(`{"incarn`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, dir, "")
	defer func() { _ = p.close() }()
	if l := p.lastLife(); l.Incarnation != "" {
		t.Errorf("it is read as %+v", l)
	}
}
