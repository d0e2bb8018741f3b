package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/quoin-kv/quoin/internal/ctl"
)

// askTimeout bounds a request that needs no snapshot.
const askTimeout = 10 * time.Second

// client asks a cluster over its client URLs.
type client struct {
	etcd      *clientv3.Client // of all endpoints
	endpoints []string
	dial      func(endpoint string) (*clientv3.Client, error)
}

func (c *client) Members(ctx context.Context) (uint64, []Member, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := c.etcd.MemberList(ctx)
	if err != nil {
		return 0, nil, err
	}
	var members []Member
	for _, m := range r.Members {
		members = append(members, Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs})
	}
	return r.Header.ClusterId, members, nil
}

// source is the endpoint of the healthy member that is furthest, the leader if it is among them.
func (c *client) source(ctx context.Context, self uint64) (string, error) {
	alarms, err := c.corrupt(ctx)
	if err != nil {
		return "", err
	}
	if alarms[0] && len(c.endpoints) > 1 {
		return "", errors.New("members have different data, and none has a majority: give the one to believe as the only endpoint")
	}
	best, applied := "", uint64(0)
	for _, endpoint := range c.endpoints {
		st, err := c.status(ctx, endpoint)
		if err != nil || st.Header.MemberId == self || st.IsLearner || alarms[st.Header.MemberId] {
			continue
		}
		if st.Leader == st.Header.MemberId {
			return endpoint, nil
		}
		if best == "" || st.RaftAppliedIndex > applied {
			best, applied = endpoint, st.RaftAppliedIndex
		}
	}
	if best == "" {
		return "", errors.New("none of the endpoints is another member in good health")
	}
	return best, nil
}

func (c *client) status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.etcd.Status(ctx, endpoint)
}

// corrupt tells which members have the CORRUPT alarm.
func (c *client) corrupt(ctx context.Context) (map[uint64]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := c.etcd.AlarmList(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[uint64]bool{}
	for _, a := range r.Alarms {
		if a.Alarm == pb.AlarmType_CORRUPT {
			ids[a.MemberID] = true
		}
	}
	return ids, nil
}

func (c *client) Snapshot(ctx context.Context, self uint64) (io.ReadCloser, error) {
	endpoint, err := c.source(ctx, self)
	if err != nil {
		return nil, err
	}
	one, err := c.dial(endpoint)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	body, err := ctl.OpenSnapshot(ctx, one, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", endpoint, err), one.Close())
	}
	return &snapshot{body, one}, nil
}

// snapshot is one that is read, and the client of the member that sends it.
type snapshot struct {
	*ctl.Snapshot
	from *clientv3.Client
}

func (s *snapshot) Close() error {
	s.Snapshot.Close()
	return s.from.Close()
}

func (c *client) Settle(ctx context.Context, id uint64) error {
	alarms, err := c.corrupt(ctx)
	if err != nil || !alarms[id] {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err = c.etcd.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: id, Alarm: pb.AlarmType_CORRUPT})
	return err
}

func (c *client) Replace(ctx context.Context, id uint64, peerURLs []string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	if _, err := c.etcd.MemberRemove(ctx, id); err != nil {
		return 0, err
	}
	r, err := c.etcd.MemberAddAsLearner(ctx, peerURLs)
	if err != nil {
		return 0, fmt.Errorf("removed, but not added again: %w", err)
	}
	return r.Member.ID, nil
}
