package awake

import (
	"testing"
	"testing/synctest"
	"time"
)

// Nobody is silent while the one who listens is asleep.
func TestAStandstillOfTheLeaderCostsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Clock
		heard := a.Now()
		time.Sleep(time.Hour)
		if silent := a.Now().Sub(heard); silent > Stall {
			t.Errorf("a worker that was heard before a standstill of an hour is silent for %v", silent)
		}
	})
}
