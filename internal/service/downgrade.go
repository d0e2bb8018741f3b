package service

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/quoin-kv/quoin/internal/kverr"
	"github.com/quoin-kv/quoin/internal/membership"
	"github.com/quoin-kv/quoin/internal/request"
)

// ValidateDowngrade reports whether the cluster could go down to a version, "X.Y" or "X.Y.Z", which must be one minor number below its own,
// and returns the cluster's as "X.Y". Errors: kverr.WrongDowngradeVersionFormat, kverr.ClusterVersionUnavailable,
// kverr.InvalidDowngradeTargetVersion, kverr.DowngradeInProcess.
func (s *Service) ValidateDowngrade(ctx context.Context, target string) (cluster string, err error) {
	_, cluster, err = s.checkDowngrade(ctx, target)
	return cluster, err
}

// EnableDowngrade lets the cluster go down to a version: once all members know, the leader lowers the cluster version, every member marks its
// storage with it, and servers of that version may take the place of the members. Errors are those of ValidateDowngrade.
func (s *Service) EnableDowngrade(ctx context.Context, target string) (cluster string, err error) {
	to, cluster, err := s.checkDowngrade(ctx, target)
	if err != nil {
		return cluster, err
	}
	return cluster, s.setDowngrade(ctx, request.DowngradeInfoSet{Enabled: true, Version: to.String()})
}

// CancelDowngrade ends a downgrade; the cluster version then follows the members up again. There need not be one.
func (s *Service) CancelDowngrade(ctx context.Context) (cluster string, err error) {
	if err := s.readIndex(ctx); err != nil {
		return "", err
	}
	c := s.cluster.Load()
	if !c.downgrade.Enabled {
		return majorMinor(c.version), nil
	}
	return majorMinor(c.version), s.setDowngrade(ctx, request.DowngradeInfoSet{})
}

func (s *Service) setDowngrade(ctx context.Context, r request.DowngradeInfoSet) error {
	_, err := s.propose(ctx, request.FieldDowngradeInfoSet, r.Append(nil))
	return err
}

// checkDowngrade judges a target by what the whole cluster has decided so far.
func (s *Service) checkDowngrade(ctx context.Context, target string) (to membership.Version, cluster string, err error) {
	if err := s.readIndex(ctx); err != nil {
		return to, "", err
	}
	to, err = parseTarget(target)
	if err != nil {
		return to, "", err
	}
	c := s.cluster.Load()
	current, err := membership.ParseVersion(c.version)
	switch {
	case err != nil:
		return to, "", kverr.ClusterVersionUnavailable
	case to != current.Below():
		return to, "", kverr.InvalidDowngradeTargetVersion
	case c.downgrade.Enabled:
		return to, "", kverr.DowngradeInProcess
	}
	return to, majorMinor(c.version), nil
}

// parseTarget reads "X.Y" or "X.Y.Z".
func parseTarget(text string) (v membership.Version, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 2 && len(parts) != 3 {
		return v, kverr.WrongDowngradeVersionFormat
	}
	for _, p := range parts {
		if n, err := strconv.ParseUint(p, 10, 31); err != nil || strconv.FormatUint(n, 10) != p {
			return v, kverr.WrongDowngradeVersionFormat
		}
	}
	return membership.ParseVersion(text)
}

// majorMinor shortens a version of three numbers to two.
func majorMinor(version string) string {
	if v, err := membership.ParseVersion(version); err == nil {
		return strings.TrimSuffix(v.String(), ".0")
	}
	return version
}

// runDowngrade ends, while this member leads, a downgrade that is complete.
func (s *Service) runDowngrade() {
	if s.cfg.DowngradeCheck <= 0 {
		return
	}
	for s.clock.Wait(s.ctx, nil, s.cfg.DowngradeCheck) == nil {
		if !s.IsLeader() || !s.DowngradeEnabled() {
			continue
		}
		if err := s.finishDowngrade(s.ctx); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("ending a downgrade failed", "error", err)
		}
	}
}

// finishDowngrade ends the downgrade if all members are servers of its target.
func (s *Service) finishDowngrade(ctx context.Context) error {
	c := s.cluster.Load()
	target, err := membership.ParseVersion(c.downgrade.TargetVersion)
	if err != nil {
		return err
	}
	versions, err := s.memberVersions(ctx, c)
	if err != nil || slices.ContainsFunc(versions, func(v *membership.Version) bool { return v == nil || *v != target }) {
		return err
	}
	s.cfg.Logger.Info("the cluster has been downgraded", "cluster-version", target.String())
	return s.setDowngrade(ctx, request.DowngradeInfoSet{})
}
