package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/limpet-dev/limpet/cluster"
	"github.com/limpet-dev/limpet/faults/lab"
)

// labFlags are what the fault lab tells a node beside its settings.
type labFlags struct {
	clock, disk, journal string
	snapshotEntries      uint64
}

func (l *labFlags) bind(f *pflag.FlagSet) {
	f.StringVar(&l.clock, "lab-clock-offset", "", "file with a duration that is added to this node's wall clock")
	f.StringVar(&l.disk, "lab-disk-faults", "", "file that says what happens to writes of the log")
	f.StringVar(&l.journal, "lab-journal", "", "directory for a journal of the entries that are applied")
	f.Uint64Var(&l.snapshotEntries, "lab-snapshot-entries", 0, "entries between two snapshots, and kept behind one")
	for _, name := range []string{"lab-clock-offset", "lab-disk-faults", "lab-journal", "lab-snapshot-entries"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err)
		}
	}
}

// apply puts them into a node's configuration.
func (l *labFlags) apply(cfg *cluster.Config) (err error) {
	if l.clock != "" {
		cfg.Wall = lab.Clock(l.clock)
	}
	if l.disk != "" {
		cfg.Disk.Fault = lab.Disk(l.disk)
	}
	if l.snapshotEntries > 0 {
		cfg.Raft.SnapshotThreshold, cfg.Raft.TrailingLogs, cfg.Raft.SnapshotInterval = l.snapshotEntries, l.snapshotEntries, 2*time.Second
	}
	if l.journal != "" {
		cfg.OnApplied, err = lab.Journal(l.journal, cfg.Name)
	}
	return err
}
