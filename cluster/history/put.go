package history

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/limpet-dev/limpet/fsm"
)

// putter writes runs into the buckets of a file, in blocks that do not overlap: so
// those that ended last are found first.
type putter struct {
	records, ids *bbolt.Bucket

	// next is the key of the value behind the block that was written last, and begins
	// the mark of the first run in it, for a run that is late.
	next   []byte
	begins mark
}

func put(tx *bbolt.Tx, runs []*fsm.Archived) error {
	p := putter{records: tx.Bucket([]byte(runsBucket)), ids: tx.Bucket([]byte(idsBucket))}
	p.records.FillPercent = 1 // keys mostly come at the end
	var b block
	for len(runs) > 0 {
		end, err := p.room(markOf(runs[0].Run))
		if err != nil {
			return err
		}
		n := 0
		for n == 0 || n < len(runs) && b.fits(runs[n], end) {
			b.add(runs[n])
			n++
		}
		if err := p.store(&b, runs[:n]); err != nil {
			return err
		}
		runs = runs[n:]
	}
	return nil
}

// store writes the block of these runs.
func (p *putter) store(b *block, runs []*fsm.Archived) error {
	key := b.last.key()
	for _, a := range runs {
		if err := p.ids.Put(shortID(string(a.Run.ID)), key); err != nil {
			return err
		}
		for _, t := range a.Tasks {
			if string(t.ID) == string(a.Run.ID) {
				continue
			}
			if err := p.ids.Put(shortID(string(t.ID)), key); err != nil {
				return err
			}
		}
	}
	return p.records.Put(key, b.seal())
}

// room gives where a block must end that begins with a run of this mark. Mostly there
// is nothing behind it. A block that has the place of a late run is parted there.
func (p *putter) room(m mark) (end mark, err error) {
	key, value := p.records.Cursor().Seek(m.key())
	if key == nil {
		return noMark(), nil
	}
	if bytes.Equal(key, p.next) && m.before(p.begins) {
		return p.begins, nil
	}
	key = bytes.Clone(key)
	there, err := parts(value)
	if err != nil {
		if last := markFrom(key); m != last {
			return last, nil
		}
		// Its place is needed: whoever looks for what else was in it finds nothing from
		// now on, and asks another node.
		return m, p.forget(key)
	}
	i := 0
	for i < len(there) && there[i].mark.before(m) {
		i++
	}
	if i > 0 {
		if err := p.restore(there[:i]); err != nil {
			return end, err
		}
	}
	if i < len(there) && there[i].mark == m { // the same run once more
		i++
	}
	if i == len(there) { // it takes the key of the last of them
		return m, nil
	}
	if there = there[i:]; i > 0 {
		if err := p.restore(there); err != nil {
			return end, err
		}
	}
	p.next, p.begins = key, there[0].mark
	return p.begins, nil
}

// restore writes a part of a block, as it is, as a block of its own.
func (p *putter) restore(list []part) error {
	var b block
	var runs []*fsm.Archived
	for _, x := range list {
		b.append(x.record, x.mark)
		runs = append(runs, x.run)
	}
	return p.store(&b, runs)
}

// forget removes what names a value.
func (p *putter) forget(key []byte) error {
	var gone [][]byte
	if err := p.ids.ForEach(func(id, at []byte) error {
		if bytes.Equal(at, key) {
			gone = append(gone, bytes.Clone(id))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, id := range gone {
		if err := p.ids.Delete(id); err != nil {
			return err
		}
	}
	return nil
}
