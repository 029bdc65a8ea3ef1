package fsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/limpet-dev/limpet/internal/bugs"
)

// ReadSnapshot builds a machine from a snapshot. A snapshot that is damaged, cut
// short, or of a newer format gives an error that says so.
func ReadSnapshot(r io.Reader) (*Machine, error) {
	in := loader{br: bufio.NewReaderSize(r, snapshotBuffer), sum: xxhash.New(), s: newState(), codec: codec{shared: map[string]string{}}}
	for count := int64(0); ; count++ {
		kind, err := in.read()
		if err != nil {
			return nil, fmt.Errorf("read snapshot, record %d: %w", count, err)
		}
		if count == 0 && kind != kindHeader {
			return nil, errors.New("read snapshot: it does not begin with a header; this is not a snapshot")
		}
		if kind == kindFooter {
			return in.finish(count)
		}
		_, _ = in.sum.Write(in.frame)
		if err := in.load(kind, in.frame[1:]); err != nil {
			return nil, fmt.Errorf("read snapshot, record %d: %w", count, err)
		}
	}
}

// loader reads the records of a snapshot into a state.
type loader struct {
	br    *bufio.Reader
	sum   hash64
	s     *State
	codec codec
	frame []byte // kind and bytes of the record, until the next
}

func (in *loader) finish(count int64) (*Machine, error) {
	var f footer
	if err := in.codec.decode(in.frame[1:], &f); err != nil {
		return nil, fmt.Errorf("read snapshot footer: %w", err)
	}
	if f.Count != count {
		return nil, fmt.Errorf("read snapshot: it says %d records and holds %d: it is damaged", f.Count, count)
	}
	if got := in.sum.Sum64(); got != uint64(f.Hash) {
		return nil, fmt.Errorf("read snapshot: state hash %x, expected %x: it is damaged", got, uint64(f.Hash))
	}
	// The sum is of the bytes. That the state has the same hash needs every field
	// to be known.
	if in.codec.skipped > 0 {
		return nil, fmt.Errorf("read snapshot: it has %d fields that this build does not know: upgrade this node", in.codec.skipped)
	}
	if bugs.On(bugs.RestoreNoPins) {
		in.s.pins = newTable[RunID, *Pin]()
	}
	if bugs.On(bugs.RestoreEpochs) {
		in.s.workers.Scan(func(_ WorkerID, w *Worker) bool {
			w.Lease.Epoch = 1
			return true
		})
	}
	in.s.rebuild()
	return machineOf(in.s), nil
}

// read gets the next record into the frame.
func (in *loader) read() (kind byte, err error) {
	if kind, err = in.br.ReadByte(); err != nil {
		return 0, fmt.Errorf("cut short: %w", err)
	}
	n, err := binary.ReadUvarint(in.br)
	if err != nil {
		return 0, fmt.Errorf("cut short: %w", err)
	}
	if n > maxFrame {
		return 0, fmt.Errorf("a record of %d bytes: it is damaged", n)
	}
	in.frame = append(slices.Grow(in.frame[:0], int(n)+1), kind)[:n+1]
	if _, err = io.ReadFull(in.br, in.frame[1:]); err != nil {
		return 0, fmt.Errorf("cut short: %w", err)
	}
	return kind, nil
}

// load puts one record into its table. Indexes are built afterwards.
func (in *loader) load(kind byte, body []byte) error {
	s, c := in.s, &in.codec
	switch kind {
	case kindHeader:
		return in.loadHeader(body)
	case kindSettings:
		s.settings = Settings{}
		return c.decode(body, &s.settings)
	case kindKey:
		return put(c, s.keys, body, func(k *Key) string { return k.ID })
	case kindTenant:
		return put(c, s.tenants, body, func(t *Tenant) TenantID { return t.ID })
	case kindWorkflow:
		return put(c, s.workflows, body, func(w *Workflow) WorkflowID { return w.ID })
	case kindVersion:
		return put(c, s.versions, body, func(v *Version) VersionID { return v.ID })
	case kindWorker:
		return put(c, s.workers, body, func(w *Worker) WorkerID { return w.ID })
	case kindRun:
		return put(c, s.runs.table, body, func(r *Run) RunID {
			if len(r.Tasks) == 1 && string(r.Tasks[0]) == string(r.ID) {
				r.Tasks[0] = TaskRunID(r.ID) // one text in memory, not two
			}
			return r.ID
		})
	case kindTaskRun:
		return put(c, s.tasks.table, body, func(t *TaskRun) TaskRunID {
			if string(t.Run) == string(t.ID) {
				t.Run = RunID(t.ID)
			}
			return t.ID
		})
	case kindPin:
		return put(c, s.pins, body, func(p *Pin) RunID { return p.Run })
	case kindRequest:
		return put(c, s.requests, body, func(r *request) string { return r.ID })
	case kindEvent:
		return put(c, s.events, body, func(e *Event) string { return e.ID })
	case kindCase:
		return put(c, s.cases, body, func(x *Case) string { return x.key() })
	case kindLogLine:
		return put(c, s.logs, body, func(l *LogLine) string { return l.key() })
	case kindChunk:
		return put(c, s.chunks, body, func(x *Chunk) string { return x.key() })
	case kindAudit:
		return put(c, s.audits, body, func(a *Audit) Seq { return a.Seq })
	case kindChild:
		var x child
		if err := c.decode(body, &x); err != nil {
			return err
		}
		s.children.Load(x.Key, x.Run)
		return nil
	}
	return fmt.Errorf("record of unknown kind %d: upgrade this node", kind)
}

func (in *loader) loadHeader(body []byte) error {
	var h header
	if err := in.codec.decode(body, &h); err != nil {
		return err
	}
	if h.Format > SnapshotFormat {
		return fmt.Errorf("snapshot format %d; this build knows up to %d: upgrade this node", h.Format, SnapshotFormat)
	}
	in.s.seq, in.s.stamp, in.s.clusterID = h.Seq, Stamp{h.Instant, h.Wall}, h.ClusterID
	return nil
}

// put reads an object into its table, in which records come in order.
func put[K cmp.Ordered, T any, P objectPtr[T]](c *codec, t table[K, P], body []byte, key func(*T) K) error {
	o := new(T)
	if err := c.decode(body, P(o)); err != nil {
		return err
	}
	t.Load(key(o), P(o))
	return nil
}

// rebuild derives the indexes from the tables.
func (s *State) rebuild() {
	s.workflows.Scan(func(_ WorkflowID, w *Workflow) bool {
		s.names.Set(workflowKey(w.Tenant, w.Name), w.ID)
		return true
	})
	s.versions.Scan(func(_ VersionID, v *Version) bool {
		// It was parsed without a refusal before it was stored.
		_ = v.parse()
		return true
	})
	s.requests.Scan(func(id string, r *request) bool {
		s.recent.Load(r.Seq, id)
		return true
	})
	s.runs.Scan(func(id RunID, r *Run) bool {
		s.runOrder.Load(r.Seq, id)
		s.payload += len(r.Input) + len(r.Metadata)
		if r.Status.Final() {
			s.finished.Set(ageKey{r.FinishedAt, string(id)})
		}
		return true
	})
	s.events.Scan(func(id string, e *Event) bool {
		s.eventAge.Load(e.Seq, id)
		s.eventBytes += len(e.Payload) + len(e.Metadata)
		return true
	})
	s.logs.Scan(func(_ string, l *LogLine) bool {
		s.keeps(l.Run, l.cost())
		return true
	})
	s.chunks.Scan(func(_ string, c *Chunk) bool {
		s.keeps(c.Run, c.cost())
		return true
	})
	s.pins.Scan(func(id RunID, p *Pin) bool {
		if r, ok := s.runs.Get(id); ok && !r.Status.Final() {
			s.pinned.Set(pinKey{p.Worker, id})
		}
		return true
	})
	s.tasks.Scan(func(_ TaskRunID, t *TaskRun) bool {
		s.payload += len(t.Output)
		s.indexTask(t)
		return true
	})
	s.workers.Scan(func(_ WorkerID, w *Worker) bool {
		w.profile = profileOf(w)
		s.joinProfile(w)
		s.indexWorker(w)
		s.takePlace(w)
		return true
	})
}
