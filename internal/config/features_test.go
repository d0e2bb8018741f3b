package config

import (
	"testing"
	"time"
)

func TestFeatures(t *testing.T) {
	for _, tc := range []struct {
		set  []string
		gate string
		want bool
	}{
		{nil, LeaseCheckpoint, false},
		{nil, FastLeaseKeepAlive, true},
		{nil, "Nonsense", false},
		{[]string{"LeaseCheckpoint=true"}, LeaseCheckpoint, true},
		{[]string{" LeaseCheckpoint = 1 , "}, LeaseCheckpoint, true},
		{[]string{"AllAlpha=true"}, CompactHashCheck, true},
		{[]string{"AllAlpha=true"}, FastLeaseKeepAlive, true},
		{[]string{"AllBeta=false"}, FastLeaseKeepAlive, false},
		{[]string{"AllAlpha=true,CompactHashCheck=false"}, CompactHashCheck, false},
		{[]string{"CompactHashCheck=true", "LeaseCheckpoint=true"}, CompactHashCheck, true},
	} {
		var f Features
		for _, s := range tc.set {
			if err := f.Set(s); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.Enabled(tc.gate); got != tc.want {
			t.Errorf("%q: %s is %t", tc.set, tc.gate, got)
		}
	}
	var f Features
	if err := f.Set("LeaseCheckpoint=true,AllBeta=false"); err != nil || f.String() != "AllBeta=false,LeaseCheckpoint=true" {
		t.Errorf("%s, %v", f.String(), err)
	}
}

func TestAutoCompaction(t *testing.T) {
	for _, tc := range []struct {
		mode, retention string
		want            string
		period          time.Duration
		revisions       int64
	}{
		{"periodic", "0", "", 0, 0},
		{"revision", "0", "", 0, 0},
		{"periodic", "0s", "", 0, 0},
		{"periodic", "2", "periodic", 2 * time.Hour, 0},
		{"periodic", "30m", "periodic", 30 * time.Minute, 0},
		{"periodic", "9223372036854775807", "periodic", 2562047 * time.Hour, 0},
		{"revision", "1000", "revision", 0, 1000},
		{"revision", "1us", "revision", 0, 1000},
		{"periodic", "", "", 0, 0},
		{"periodic", "x", "", 0, 0},
	} {
		c := Default()
		c.AutoCompactionMode, c.AutoCompactionRetention = tc.mode, tc.retention
		mode, period, revisions := c.AutoCompaction()
		if mode != tc.want || period != tc.period || revisions != tc.revisions {
			t.Errorf("%s %s: %s %v %d", tc.mode, tc.retention, mode, period, revisions)
		}
	}
}
