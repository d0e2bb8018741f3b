package membership

import (
	"strings"
	"testing"
	"time"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/schema"
)

// picture builds a cluster from one letter per member, ids from 1: v a voter,
// V one that is not started, l a learner; and the links of member 1 from
// another: + healthy, ~ young, - down.
func picture(members, links string) (*Cluster, Links) {
	c := New()
	for i, kind := range members {
		m := schema.Member{ID: uint64(i + 1), Name: "n", IsLearner: kind == 'l'}
		if kind == 'V' {
			m.Name = ""
		}
		c.members[m.ID] = &m
	}
	return c, Links{Self: 1, Since: func(id uint64) (time.Duration, bool) {
		switch links[id-1] {
		case '+':
			return HealthyAfter, true
		case '~':
			return HealthyAfter - 1, true
		}
		return 0, false
	}}
}

func TestCheckAdd(t *testing.T) {
	few, sick := kverr.MemberNotEnoughStarted, kverr.Unhealthy
	for _, c := range []struct {
		members, links string
		voter, learner error
	}{
		{"v", "+", nil, nil},
		{"V", "+", few, nil},
		{"vv", "++", nil, nil},
		{"vV", "++", few, nil},
		{"vv", "+~", sick, sick},
		{"vvv", "+++", nil, nil},
		{"vvv", "++-", sick, sick},
		{"vvV", "+++", few, nil},
		{"vvvv", "+++-", nil, nil},
		{"vvvv", "++--", sick, sick},
		{"vvvV", "+++-", nil, nil},
		{"vvVV", "++--", few, sick},
		{"vl", "+-", nil, nil},
	} {
		cluster, links := picture(c.members, c.links)
		if err := cluster.CheckAdd(false, links); err != c.voter {
			t.Errorf("%s %s, add a voter: %v, want %v", c.members, c.links, err, c.voter)
		}
		if err := cluster.CheckAdd(true, links); err != c.learner {
			t.Errorf("%s %s, add a learner: %v, want %v", c.members, c.links, err, c.learner)
		}
	}
}

func TestCheckRemove(t *testing.T) {
	few, sick := kverr.MemberNotEnoughStarted, kverr.Unhealthy
	for _, c := range []struct {
		members, links string
		id             uint64
		want           error
	}{
		{"v", "+", 1, few},
		{"vv", "++", 1, nil},
		{"vv", "++", 2, nil},
		{"vv", "+-", 2, nil},
		{"vv", "+-", 1, sick},
		{"vV", "++", 2, nil},
		{"vV", "++", 1, few},
		{"vvv", "+++", 3, nil},
		{"vvv", "++-", 3, nil},
		{"vvv", "++-", 2, sick},
		{"vvv", "++~", 3, sick},
		{"vvV", "++-", 2, few},
		{"vvV", "++-", 3, nil},
		{"vvl", "+--", 3, nil},
		{"vVl", "+--", 3, nil},
		{"vvvvv", "++++-", 4, nil},
		{"vvvvv", "+++--", 3, sick},
	} {
		cluster, links := picture(c.members, c.links)
		if err := cluster.CheckRemove(c.id, links); err != c.want {
			t.Errorf("%s %s, remove %d: %v, want %v", c.members, c.links, c.id, err, c.want)
		}
	}
}

func TestCheckPromote(t *testing.T) {
	for _, c := range []struct {
		members string
		id      uint64
		want    error
	}{
		{"vl", 2, nil},
		{"Vl", 2, kverr.MemberNotEnoughStarted},
		{"vVl", 3, nil},
		{"vVVl", 4, kverr.MemberNotEnoughStarted},
		{"vvVl", 4, nil},
		{"vl", 3, kverr.MemberNotFound},
	} {
		cluster, _ := picture(c.members, strings.Repeat("+", len(c.members)))
		if err := cluster.CheckPromote(c.id); err != c.want {
			t.Errorf("%s, promote %d: %v, want %v", c.members, c.id, err, c.want)
		}
	}
}

func TestLearnerReady(t *testing.T) {
	for leader := range uint64(200) {
		for match := range leader + 1 {
			if got, want := LearnerReady(match, leader), match*10 >= leader*9; got != want {
				t.Fatalf("LearnerReady(%d, %d) = %v, want %v", match, leader, got, want)
			}
		}
	}
}

func TestNextVersion(t *testing.T) {
	v := func(text string) *Version {
		if text == "?" {
			return nil
		}
		version, err := ParseVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		return &version
	}
	for _, c := range []struct{ current, target, members, want string }{
		{"", "", "3.7.1 3.6.9", "3.6.0"},
		{"", "", "3.7.1 ?", "3.0.0"},
		{"", "", "", "3.0.0"},
		{"3.6.0", "", "3.7.1 3.7.0", "3.7.0"},
		{"3.6.0", "", "3.7.1 ?", ""},
		{"3.6.0", "", "3.7.1 3.6.0", ""},
		{"3.7.0", "", "3.6.1 3.6.0", ""},
		{"3.9.0", "", "3.10.0", "3.10.0"},
		{"3.7.0", "3.6.0", "3.7.1 3.7.0", "3.6.0"},
		{"3.7.0", "3.5.0", "3.7.1 3.7.0", ""},
		{"3.7.0", "3.6.0", "3.6.1 3.7.0", ""},
		{"3.6.0", "3.6.0", "3.7.1 3.7.0", ""},
	} {
		cluster := New()
		cluster.version = c.current
		cluster.downgrade = Downgrade{TargetVersion: c.target, Enabled: c.target != ""}
		var members []*Version
		for text := range strings.FieldsSeq(c.members) {
			members = append(members, v(text))
		}
		got, ok := cluster.NextVersion(members)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%+v: %v, %v", c, got, ok)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"3.7": "3.7.0", "3.7.1": "3.7.0", "3.7.1-rc.0": "3.7.0", "3": "", "": "", "a.b": "", "3.": "", "-3.7": "", "3.99999999999": "",
	} {
		v, err := ParseVersion(text)
		if (err == nil) != (want != "") || err == nil && v.String() != want {
			t.Errorf("%q is read as %v, %v", text, v, err)
		}
	}
	if !(Version{3, 9}).Less(Version{3, 10}) || (Version{4, 0}).Less(Version{3, 9}) || (Version{3, 7}).Less(Version{3, 7}) {
		t.Error("order of versions")
	}
}
