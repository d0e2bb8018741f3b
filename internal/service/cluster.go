package service

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/quoin-kv/quoin/internal/machine"
	"github.com/quoin-kv/quoin/internal/request"
	"github.com/quoin-kv/quoin/internal/schema"
)

// Members lists the members by id.
func (s *Service) Members(ctx context.Context, linearizable bool) ([]schema.Member, error) {
	if linearizable {
		if err := s.readIndex(ctx); err != nil {
			return nil, err
		}
	}
	var members []schema.Member
	s.node.Inspect(func(m *machine.Machine) { members = m.Members().Members() })
	return members, nil
}

// IsLearner reports whether this member has no vote.
func (s *Service) IsLearner() bool {
	learner := false
	s.node.Inspect(func(m *machine.Machine) {
		self, ok := m.Members().Member(s.cfg.MemberID)
		learner = ok && self.IsLearner
	})
	return learner
}

// Versions returns the versions of server, cluster and storage; the latter two are empty until the cluster has agreed.
func (s *Service) Versions() (server, cluster, storage string) {
	s.node.Inspect(func(m *machine.Machine) { cluster, storage = m.Members().Version(), m.StorageVersion() })
	return s.cfg.Version, cluster, storage
}

func (s *Service) storageVersion() string {
	_, _, storage := s.Versions()
	return storage
}

// announcePause is the time between two tries to announce.
const announcePause = time.Second

// runAnnounce tells the cluster this member's name and client URLs and, as leader of a cluster that has not agreed on a version yet, proposes one.
func (s *Service) runAnnounce() {
	for !s.announced() {
		if err := s.announce(); err != nil && s.ctx.Err() == nil {
			s.cfg.Logger.Warn("announcing this member failed", "error", err)
		}
		select {
		case <-time.After(announcePause):
		case <-s.ctx.Done():
			return
		}
	}
}

// announced reports whether there is nothing left to tell.
func (s *Service) announced() bool {
	_, version, _ := s.Versions()
	return version != "" && s.attributesKnown()
}

func (s *Service) attributesKnown() bool {
	known := false
	s.node.Inspect(func(m *machine.Machine) {
		self, ok := m.Members().Member(s.cfg.MemberID)
		known = ok && self.Name == s.cfg.Name && slices.Equal(self.ClientURLs, s.cfg.ClientURLs)
	})
	return known
}

func (s *Service) announce() error {
	if err := s.readIndex(s.ctx); err != nil {
		return err
	}
	var errs []error
	if !s.attributesKnown() {
		r := request.MemberAttrSet{MemberID: s.cfg.MemberID, Attributes: &request.MemberAttributes{Name: s.cfg.Name, ClientURLs: s.cfg.ClientURLs}}
		_, err := s.propose(s.ctx, request.FieldMemberAttrSet, r.Append(nil))
		errs = append(errs, err)
	}
	if _, version, _ := s.Versions(); version == "" && s.IsLeader() {
		r := request.ClusterVersionSet{Version: s.cfg.ClusterVersion}
		_, err := s.propose(s.ctx, request.FieldClusterVersionSet, r.Append(nil))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
