package service_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/service/servicetest"
)

func TestDowngradeTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := settled(t, 1).Leader()
		for target, want := range map[string]error{
			"3.6": nil, "3.6.0": nil, "3.6.9": nil,
			"3.7": kverr.InvalidDowngradeTargetVersion, "3.5": kverr.InvalidDowngradeTargetVersion, "3.8": kverr.InvalidDowngradeTargetVersion,
			"4.6": kverr.InvalidDowngradeTargetVersion,
			"":    kverr.WrongDowngradeVersionFormat, "3": kverr.WrongDowngradeVersionFormat, "v3.6": kverr.WrongDowngradeVersionFormat,
			"3.6.": kverr.WrongDowngradeVersionFormat, "3.6.0.0": kverr.WrongDowngradeVersionFormat, "3.06": kverr.WrongDowngradeVersionFormat,
		} {
			cluster, err := m.ValidateDowngrade(t.Context(), target)
			if !errors.Is(err, want) || err == nil && cluster != "3.7" {
				t.Errorf("%q: %q, %v, want %v", target, cluster, err, want)
			}
		}
		if m.DowngradeEnabled() {
			t.Error("asking has begun a downgrade")
		}
	})
}

// TestDowngrade: a cluster of three goes down, its members are replaced by older ones, and the last leader ends it by itself.
func TestDowngrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checked := func(o *servicetest.Options) { o.Service.DowngradeCheck = 5 * time.Second }
		c := servicetest.NewCluster(t, 3, checked)
		c.Leader()
		after(10 * time.Second)
		all := []uint64{1, 2, 3}
		wantVersion(t, c, all, "3.7.0")
		cluster, err := c.Leader().EnableDowngrade(t.Context(), "3.6")
		if err != nil || cluster != "3.7" {
			t.Fatalf("enabled: %q, %v", cluster, err)
		}
		if _, err := c.Leader().ValidateDowngrade(t.Context(), "3.6"); !errors.Is(err, kverr.DowngradeInProcess) {
			t.Errorf("a second one: %v", err)
		}
		if _, err := c.Leader().ValidateDowngrade(t.Context(), "3.5"); !errors.Is(err, kverr.InvalidDowngradeTargetVersion) {
			t.Errorf("a second one to another version: %v", err)
		}
		for range 1000 {
			after(10 * time.Millisecond)
			for _, id := range all {
				if _, _, storage := c.Member(id).Versions(); storage != c.Member(id).Status().StorageVersion {
					t.Fatalf("member %d tells storage version %s where older servers cannot take over yet", id, storage)
				}
			}
		}
		wantVersion(t, c, all, "3.6.0")
		for _, id := range all {
			if !c.Member(id).DowngradeEnabled() {
				t.Error("the downgrade has ended before any member went down")
			}
			c.Stop(id)
			c.Start(id, checked, older)
			c.Leader()
			after(20 * time.Second)
		}
		wantVersion(t, c, all, "3.6.0")
		for _, id := range all {
			if c.Member(id).DowngradeEnabled() {
				t.Errorf("member %d: all are down, and the downgrade goes on", id)
			}
		}
	})
}

// TestDowngradeCancelled: the cluster comes up again.
func TestDowngradeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := settled(t, 3)
		after(10 * time.Second)
		m := c.Leader()
		if v, err := m.CancelDowngrade(t.Context()); err != nil || v != "3.7" {
			t.Errorf("nothing to cancel: %q, %v", v, err)
		}
		_, err := m.EnableDowngrade(t.Context(), "3.6")
		check(t, err)
		after(10 * time.Second)
		wantVersion(t, c, []uint64{1, 2, 3}, "3.6.0")
		if v, err := m.CancelDowngrade(t.Context()); err != nil || v != "3.6" {
			t.Errorf("cancelled: %q, %v", v, err)
		}
		after(10 * time.Second)
		wantVersion(t, c, []uint64{1, 2, 3}, "3.7.0")
	})
}
