package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A cluster is one server: a member, or several that are one.
type cluster struct {
	dir     string
	members []*server
	open    bool // works of users make none, and show no token
}

// newCluster starts so many members on empty directories and waits until each
// answers. The first of them leads.
func newCluster(ctx context.Context, command []string, c cores, dir string, members int) (*cluster, error) {
	addresses, err := freeAddresses(2 * members)
	if err != nil {
		return nil, err
	}
	k := &cluster{dir: dir}
	var initial []string
	for i := range members {
		name := fmt.Sprintf("bench%d", i+1)
		k.members = append(k.members, &server{
			command: command, cores: c, name: name, dir: filepath.Join(dir, name), address: addresses[2*i], peer: addresses[2*i+1],
		})
		initial = append(initial, name+"=http://"+addresses[2*i+1])
	}
	for _, s := range k.members {
		s.initial = strings.Join(initial, ",")
	}
	if err := k.start(ctx); err != nil {
		return nil, errors.Join(err, k.remove())
	}
	return k, nil
}

func (c *cluster) start(ctx context.Context) error {
	for _, s := range c.members {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
		if err := s.launch(); err != nil {
			return err
		}
	}
	for _, s := range c.members {
		if err := s.await(ctx); err != nil {
			return err
		}
	}
	return c.sort(ctx)
}

// sort puts the member that leads first.
func (c *cluster) sort(ctx context.Context) error {
	var lead uint64
	ids := map[uint64]int{}
	for i, s := range c.members {
		status, err := s.status(ctx)
		if err != nil {
			return err
		}
		ids[status.Header.MemberId], lead = i, status.Leader
	}
	i, ok := ids[lead]
	if !ok {
		return fmt.Errorf("%x leads, which is none of the members %x", lead, ids)
	}
	c.members[0], c.members[i] = c.members[i], c.members[0]
	return nil
}

func (s *server) status(ctx context.Context) (*etcdserverpb.StatusResponse, error) {
	var answer etcdserverpb.StatusResponse
	err := call(ctx, s.address, pathStatus, &etcdserverpb.StatusRequest{}, &answer)
	return &answer, err
}

// address is the leader's, or that of the only member.
func (c *cluster) address() string { return c.members[0].address }

// addresses are those of all members, the leader's first.
func (c *cluster) addresses() []string {
	var all []string
	for _, s := range c.members {
		all = append(all, s.address)
	}
	return all
}

// usage adds up what the members have used.
func (c *cluster) usage() (sum usage, err error) {
	for _, s := range c.members {
		u, err := readUsage(s.pid())
		if err != nil {
			return sum, err
		}
		sum.cpu += u.cpu
		sum.writtenBytes += u.writtenBytes
	}
	return sum, nil
}

// peakMemory adds up the members' peaks.
func (c *cluster) peakMemory() (sum int64, err error) {
	for _, s := range c.members {
		bytes, err := peakMemory(s.pid())
		if err != nil {
			return sum, err
		}
		sum += bytes
	}
	return sum, nil
}

func (c *cluster) resetPeak() error {
	for _, s := range c.members {
		if err := resetPeak(s.pid()); err != nil {
			return err
		}
	}
	return nil
}

// remove ends the processes and deletes their directories.
func (c *cluster) remove() error {
	var errs []error
	for _, s := range c.members {
		errs = append(errs, s.kill())
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}
