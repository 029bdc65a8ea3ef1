package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/google/uuid"
)

// place is the agent's data directory: who the worker here is, and in which state
// it was left.
type place struct {
	dir        string
	lock       *os.File
	identity   string
	generation string

	mu   sync.Mutex
	last life
}

// life is what is known of one start of the program.
type life struct {
	Incarnation string   `json:"incarnation"`
	Workers     []string `json:"workers"`
}

// openPlace takes the directory for this process. The error says who has it, or
// which file cannot be used.
func openPlace(dir, identity string) (*place, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data-dir %q: %w", dir, err)
	}
	p := &place{dir: dir, identity: identity}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data-dir %q: %w", dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(lock.Name())
		_ = lock.Close()
		return nil, fmt.Errorf("data-dir %q is in use by process %s: give each agent a directory of its own", dir, strings.TrimSpace(string(holder)))
	}
	p.lock = lock
	_ = lock.Truncate(0)
	_, _ = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	if p.identity == "" {
		if p.identity, err = p.keep("identity"); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	if p.generation, err = p.keep("generation"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := p.readLast(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// keep gives the UUID in a file, and makes it at the first start.
func (p *place) keep(name string) (string, error) {
	raw, err := os.ReadFile(p.file(name))
	if text := strings.TrimSpace(string(raw)); err == nil && text != "" {
		return text, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the %s: %w", name, err)
	}
	text := uuid.NewString()
	return text, p.write(name, []byte(text+"\n"))
}

func (p *place) file(name string) string { return filepath.Join(p.dir, name) }

// write replaces a file as a whole.
func (p *place) write(name string, data []byte) error {
	tmp := p.file(name + ".new")
	if err := writeSynced(tmp, data); err != nil {
		return fmt.Errorf("write the %s: %w", name, err)
	}
	if err := os.Rename(tmp, p.file(name)); err != nil {
		return fmt.Errorf("write the %s: %w", name, err)
	}
	return nil
}

// writeSynced makes sure that a rename after it does not put an empty file in the
// place of a good one when the power fails.
func writeSynced(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func (p *place) readLast() error {
	raw, err := os.ReadFile(p.file("life"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the last life: %w", err)
	}
	if json.Unmarshal(raw, &p.last) != nil {
		p.last = life{} // cut short by a crash: the lease will lapse by itself
	}
	return nil
}

// lastLife gives the start of the program that was noted last.
func (p *place) lastLife() life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return life{p.last.Incarnation, append([]string(nil), p.last.Workers...)}
}

// begin notes a new start of the program.
func (p *place) begin(incarnation string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = life{Incarnation: incarnation}
	return p.saveLocked()
}

// registered notes a worker of the present start.
func (p *place) registered(worker string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.Workers = append(p.last.Workers, worker)
	return p.saveLocked()
}

func (p *place) saveLocked() error {
	raw, err := json.Marshal(p.last)
	if err != nil {
		return fmt.Errorf("write the last life: %w", err)
	}
	return p.write("life", raw)
}

func (p *place) close() error { return p.lock.Close() }
