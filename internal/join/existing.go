package join

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/schema"
)

// join finds this member in a cluster that exists. An answer of a member that has not heard of this one yet is passed over if another
// knows better.
func (f *finder) join(ctx context.Context, initial membership.InitialCluster) (Cluster, error) {
	limited, cancel := context.WithTimeout(ctx, existingTimeout)
	defer cancel()
	configured := initial.Members(f.Token)
	local := configured[slices.IndexFunc(configured, func(m schema.Member) bool { return m.Name == f.Name })]
	var answers []membersAnswer
	askOthers(limited, configured, local.ID, f.members, func(m schema.Member, a membersAnswer, err error) (enough bool) {
		if err != nil {
			f.Logger.Warn("a member does not tell the membership", "name", m.Name, "urls", m.PeerURLs, "error", err)
			return false
		}
		answers = append(answers, a)
		return f.fitsAsText(a, configured)
	})
	if err := ctxError(ctx); err != nil {
		return Cluster{}, err
	}
	cluster, err := f.choose(ctx, answers, configured)
	if err != nil {
		return Cluster{}, err
	}
	if len(cluster.Self.ClientURLs) > 0 {
		f.Logger.Warn("the cluster knows this member as one that ran before: it has lost its data, and with it what it promised; "+
			"a member in this state should be removed and added anew", "member", membership.FormatID(cluster.Self.ID))
	}
	return cluster, f.checkVersions(ctx, cluster)
}

// fitsAsText tells whether an answer needs no look at host names.
func (f *finder) fitsAsText(a membersAnswer, configured []schema.Member) bool {
	_, err := membership.AdoptIDs(configured, a.members)
	return err == nil
}

// choose returns the cluster of the first answer that fits what is configured here.
func (f *finder) choose(ctx context.Context, answers []membersAnswer, configured []schema.Member) (Cluster, error) {
	err := fmt.Errorf("cannot fetch cluster info from peer urls: %w", errNobody)
	for _, a := range slices.Backward(answers) { // the last one ended the questions: if any fits, it does
		var c Cluster
		if c, err = f.adopt(ctx, a, configured); err == nil {
			return c, nil
		}
	}
	return Cluster{}, err
}

// adopt makes an answer the cluster, if its members are those that are configured.
func (f *finder) adopt(ctx context.Context, a membersAnswer, configured []schema.Member) (Cluster, error) {
	learners := 0
	for _, m := range a.members {
		if m.IsLearner {
			learners++
		}
	}
	if learners > f.MaxLearners {
		return Cluster{}, membership.ErrTooManyLearners
	}
	names, err := f.match(ctx, a.members, configured)
	if err != nil {
		return Cluster{}, fmt.Errorf("error validating peerURLs {ClusterID:%s Members:[%s]}: %w", membership.FormatID(a.clusterID), describe(a.members), err)
	}
	c := Cluster{ID: a.clusterID, Members: slices.Clone(a.members)}
	for i := range c.Members {
		if names[i] == f.Name {
			c.Members[i].Name = f.Name
			c.Self = c.Members[i]
		}
	}
	return c, nil
}

func describe(members []schema.Member) string {
	parts := make([]string, len(members))
	for i, m := range members {
		parts[i] = fmt.Sprintf("{ID:%s Name:%s PeerURLs:%v}", membership.FormatID(m.ID), m.Name, m.PeerURLs)
	}
	return strings.Join(parts, " ")
}

// match pairs existing members with configured ones by their URLs and returns the configured names, in the order of existing. Pairs that
// are equal as texts come first, so that names have to be resolved only for the rest.
func (f *finder) match(ctx context.Context, existing, configured []schema.Member) ([]string, error) {
	if len(existing) != len(configured) {
		return nil, errCount
	}
	names := make([]string, len(existing))
	rest := slices.Clone(configured)
	take := func(i int, same func(a, b []string) error) (err error) {
		for j := range rest {
			if err = same(existing[i].PeerURLs, rest[j].PeerURLs); err == nil {
				names[i] = rest[j].Name
				rest = slices.Delete(rest, j, j+1)
				return nil
			}
		}
		return err
	}
	var left []int
	for i := range existing {
		if take(i, sameTexts) != nil {
			left = append(left, i)
		}
	}
	for _, i := range left {
		if err := take(i, func(a, b []string) error { return f.hosts.sameURLs(ctx, a, b) }); err != nil {
			return nil, fmt.Errorf("PeerURLs: no match found for existing member (%s, %v), last resolver error (%w)",
				membership.FormatID(existing[i].ID), existing[i].PeerURLs, err)
		}
	}
	return names, nil
}

var errTexts = errors.New("the texts differ")

func sameTexts(a, b []string) error {
	if !slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))) {
		return errTexts
	}
	return nil
}

// versionAnswer is what a member says about the version that the cluster speaks.
type versionAnswer struct {
	cluster   string
	downgrade bool
}

// version asks for both; a member that does not say whether there is a downgrade says that there is none.
func (f *finder) version(ctx context.Context, m schema.Member) (a versionAnswer, err error) {
	if _, a.cluster, err = f.Client.Version(ctx, m.PeerURLs); err != nil {
		return a, err
	}
	if enabled, err := f.Client.DowngradeEnabled(ctx, m.PeerURLs); err == nil {
		a.downgrade = enabled
	}
	return a, nil
}

// checkVersions verifies that this server can speak as the cluster does. Members that do not answer are passed over; one has to.
func (f *finder) checkVersions(ctx context.Context, c Cluster) error {
	own, err := membership.ParseVersion(f.Version)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, existingTimeout)
	defer cancel()
	var spoken []membership.Version
	downgrade := false
	askOthers(limited, c.Members, c.Self.ID, f.version, func(m schema.Member, a versionAnswer, err error) bool {
		v, parseErr := membership.ParseVersion(a.cluster)
		if err = errors.Join(err, parseErr); err != nil {
			f.Logger.Warn("a member does not tell the cluster's version", "name", m.Name, "urls", m.PeerURLs, "error", err)
			return false
		}
		spoken = append(spoken, v)
		downgrade = downgrade || a.downgrade
		return false
	})
	if err := ctxError(ctx); err != nil {
		return err
	}
	if len(spoken) == 0 {
		return fmt.Errorf("%w: no member tells the cluster's version", ErrIncompatible)
	}
	for _, v := range spoken {
		if !compatible(own, v, downgrade) {
			return fmt.Errorf("%w: the cluster speaks %s (downgrade under way: %t), this server is of version %s", ErrIncompatible, v, downgrade, f.Version)
		}
	}
	return nil
}

// compatible tells whether a server of version own can join a cluster that speaks another. While the cluster goes down a version, only
// servers that are there already can.
func compatible(own, cluster membership.Version, downgrade bool) bool {
	if downgrade {
		return own == cluster.Below()
	}
	return !cluster.Less(membership.Version{Major: 3}) && !own.Less(cluster)
}
