package v2

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// counts are of requests through this member since its start.
type counts struct {
	gets, sets, deletes, updates, creates, swaps, deletesIf outcome
	watchers                                                atomic.Int64
}

type outcome struct{ done, failed atomic.Uint64 }

// note counts one request.
func (c *counts) note(action string, err error) {
	to := map[string]*outcome{
		actionGet: &c.gets, actionSet: &c.sets, actionDelete: &c.deletes, actionUpdate: &c.updates, actionCreate: &c.creates,
		actionCompareAndSwap: &c.swaps, actionCompareAndDelete: &c.deletesIf,
	}[action]
	if err != nil {
		to.failed.Add(1)
		return
	}
	to.done.Add(1)
}

// serveStats serves a document for those who are somebody.
func (h *Handler) serveStats(of func(context.Context) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !allowed(w, r, "GET") {
			return
		}
		var body []byte
		err := h.asCaller(r, func(ctx context.Context) error {
			if err := h.store.Present(ctx); err != nil {
				return err
			}
			v, err := of(ctx)
			if err == nil {
				body, err = json.Marshal(v)
			}
			return err
		})
		if err != nil {
			h.refuseMember(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}
}

func (h *Handler) storeStats(context.Context) (any, error) {
	out := map[string]uint64{"expireCount": 0, "watchers": uint64(h.counts.watchers.Load())}
	c := &h.counts
	for name, of := range map[string]*outcome{
		"gets": &c.gets, "sets": &c.sets, "delete": &c.deletes, "update": &c.updates, "create": &c.creates,
		"compareAndSwap": &c.swaps, "compareAndDelete": &c.deletesIf,
	} {
		out[name+"Success"], out[name+"Fail"] = of.done.Load(), of.failed.Load()
	}
	return out, nil
}

func (h *Handler) self(context.Context) (any, error) {
	st := h.store.Status()
	state := "StateFollower"
	if st.Leader == h.MemberID {
		state = "StateLeader"
	}
	type leaderInfo struct {
		Leader    string    `json:"leader"`
		Uptime    string    `json:"uptime"`
		StartTime time.Time `json:"startTime"`
	}
	return struct {
		Name       string     `json:"name"`
		ID         string     `json:"id"`
		State      string     `json:"state"`
		StartTime  time.Time  `json:"startTime"`
		LeaderInfo leaderInfo `json:"leaderInfo"`
		Received   uint64     `json:"recvAppendRequestCnt"`
		Sent       uint64     `json:"sendAppendRequestCnt"`
	}{
		h.Name, strconv.FormatUint(h.MemberID, 16), state, h.started,
		leaderInfo{strconv.FormatUint(st.Leader, 16), h.now().Sub(h.started).String(), h.started},
		0, 0,
	}, nil
}

// followerStats say nothing yet: how followers do is among the metrics of the member.
type followerStats struct {
	Latency struct {
		Current           float64 `json:"current"`
		Average           float64 `json:"average"`
		StandardDeviation float64 `json:"standardDeviation"`
		Minimum           float64 `json:"minimum"`
		Maximum           float64 `json:"maximum"`
	} `json:"latency"`
	Counts struct {
		Fail    uint64 `json:"fail"`
		Success uint64 `json:"success"`
	} `json:"counts"`
}

func (h *Handler) followers(ctx context.Context) (any, error) {
	if h.store.Status().Leader != h.MemberID {
		return nil, &status{http.StatusForbidden, "not current leader"}
	}
	all, err := h.store.Members(ctx, false)
	if err != nil {
		return nil, err
	}
	list := map[string]followerStats{}
	for _, m := range all {
		if m.ID != h.MemberID {
			list[strconv.FormatUint(m.ID, 16)] = followerStats{}
		}
	}
	return map[string]any{"leader": strconv.FormatUint(h.MemberID, 16), "followers": list}, nil
}
