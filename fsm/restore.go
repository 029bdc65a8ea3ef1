package fsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/limpet-dev/limpet/internal/bugs"
)

// ReadSnapshot builds a machine from a snapshot. A snapshot that is damaged, cut
// short, or of a newer format gives an error that says so.
func ReadSnapshot(r io.Reader) (*Machine, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	s := newState()
	for count := int64(0); ; count++ {
		kind, body, err := readFrame(br)
		if err != nil {
			return nil, fmt.Errorf("read snapshot, record %d: %w", count, err)
		}
		if count == 0 && kind != kindHeader {
			return nil, errors.New("read snapshot: it does not begin with a header; this is not a snapshot")
		}
		if kind == kindFooter {
			return finishRestore(s, body, count)
		}
		if err := s.load(kind, body); err != nil {
			return nil, fmt.Errorf("read snapshot, record %d: %w", count, err)
		}
	}
}

func finishRestore(s *State, body []byte, count int64) (*Machine, error) {
	var f footer
	if err := decode(body, &f); err != nil {
		return nil, fmt.Errorf("read snapshot footer: %w", err)
	}
	if f.Count != count {
		return nil, fmt.Errorf("read snapshot: it says %d records and holds %d: it is damaged", f.Count, count)
	}
	if bugs.On(bugs.RestoreNoPins) {
		s.pins = newTable[RunID, *Pin]()
	}
	if bugs.On(bugs.RestoreEpochs) {
		s.workers.Scan(func(_ WorkerID, w *Worker) bool {
			w.Lease.Epoch = 1
			return true
		})
	}
	s.rebuild()
	m := &Machine{st: s}
	wrong := bugs.On(bugs.RestoreNoPins) || bugs.On(bugs.RestoreEpochs)
	if got := (View{st: s}).Hash(); got != uint64(f.Hash) && !wrong {
		return nil, fmt.Errorf("read snapshot: state hash %x, expected %x: it is damaged", got, uint64(f.Hash))
	}
	return m, nil
}

func readFrame(br *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = br.ReadByte(); err != nil {
		return 0, nil, fmt.Errorf("cut short: %w", err)
	}
	n, err := binary.ReadUvarint(br)
	if err != nil {
		return 0, nil, fmt.Errorf("cut short: %w", err)
	}
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a record of %d bytes: it is damaged", n)
	}
	body = make([]byte, n)
	if _, err = io.ReadFull(br, body); err != nil {
		return 0, nil, fmt.Errorf("cut short: %w", err)
	}
	return kind, body, nil
}

// load puts one record into its table. Indexes are built afterwards.
func (s *State) load(kind byte, body []byte) error {
	switch kind {
	case kindHeader:
		return s.loadHeader(body)
	case kindSettings:
		s.settings = Settings{}
		return decode(body, &s.settings)
	case kindKey:
		return put(s.keys, body, func(k *Key) string { return k.ID })
	case kindTenant:
		return put(s.tenants, body, func(t *Tenant) TenantID { return t.ID })
	case kindWorkflow:
		return put(s.workflows, body, func(w *Workflow) WorkflowID { return w.ID })
	case kindVersion:
		return put(s.versions, body, func(v *Version) VersionID { return v.ID })
	case kindWorker:
		return put(s.workers, body, func(w *Worker) WorkerID { return w.ID })
	case kindRun:
		return put(s.runs, body, func(r *Run) RunID { return r.ID })
	case kindTaskRun:
		return put(s.tasks, body, func(t *TaskRun) TaskRunID { return t.ID })
	case kindPin:
		return put(s.pins, body, func(p *Pin) RunID { return p.Run })
	case kindRequest:
		return put(s.requests, body, func(r *request) string { return r.ID })
	case kindEvent:
		return put(s.events, body, func(e *Event) string { return e.ID })
	case kindCase:
		return put(s.cases, body, func(c *Case) string { return c.key() })
	case kindLogLine:
		return put(s.logs, body, func(l *LogLine) string { return l.key() })
	case kindChunk:
		return put(s.chunks, body, func(c *Chunk) string { return c.key() })
	case kindAudit:
		return put(s.audits, body, func(a *Audit) Seq { return a.Seq })
	case kindChild:
		var c child
		if err := decode(body, &c); err != nil {
			return err
		}
		s.children.Set(c.Key, c.Run)
		return nil
	}
	return fmt.Errorf("record of unknown kind %d: upgrade this node", kind)
}

func (s *State) loadHeader(body []byte) error {
	var h header
	if err := decode(body, &h); err != nil {
		return err
	}
	if h.Format > SnapshotFormat {
		return fmt.Errorf("snapshot format %d; this build knows up to %d: upgrade this node", h.Format, SnapshotFormat)
	}
	s.seq, s.stamp, s.clusterID = h.Seq, Stamp{h.Instant, h.Wall}, h.ClusterID
	return nil
}

func put[K cmp.Ordered, T any, P objectPtr[T]](t table[K, P], body []byte, key func(*T) K) error {
	var o T
	if err := decode(body, P(&o)); err != nil {
		return err
	}
	t.Set(key(&o), P(&o))
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
		s.recent.Set(r.Seq, id)
		return true
	})
	s.runs.Scan(func(id RunID, r *Run) bool {
		s.runOrder.Set(r.Seq, id)
		if r.Status.Final() {
			s.finished.Set(ageKey{r.FinishedAt, string(id)})
		}
		return true
	})
	s.events.Scan(func(id string, e *Event) bool {
		s.eventAge.Set(e.Seq, id)
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
