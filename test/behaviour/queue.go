package behaviour

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/quoin-kv/quoin/internal/api/gateway"
)

// queueSuites are the services Lock and Election, each case once through gRPC
// and once through the gateway.
func queueSuites() []suite {
	return []suite{
		{name: "queue/grpc", cases: queueCases((*env).queueGRPC)},
		{name: "queue/http", http: true, cases: queueCases((*env).queueHTTP)},
		{name: "queue/codes", cases: queueCodeCases()},
		{name: "queue/wait", cases: queueWaitCases()},
		{name: "queue/observe", http: true, cases: observeCases()},
	}
}

// The leases of each case, as numbers and as the keys of queues show them:
// three that last, and one that does not exist.
const (
	first, second, third, unknown = 7001, 7002, 7003, 7999
)

// queueStep is one call of a case. The body and the wanted answer are JSON as
// in e.json; "@3" is the third revision of the case. What is wanted is an error
// text if it does not begin with a brace.
type queueStep struct{ call, body, want string }

type queueRow struct {
	name  string
	steps []queueStep
}

// queueCall carries out a call and returns its answer, or an error text.
type queueCall func(e *env, call, body string) string

func queueCases(call queueCall) (cases []testCase) {
	for _, row := range append(lockRows(), electionRows()...) {
		cases = append(cases, testCase{name: row.name, settled: true, run: func(e *env) {
			e.queueLeases()
			for i, step := range row.steps {
				if key, isPut := strings.CutPrefix(step.call, "put "); isPut {
					e.mustPut(put(key, step.body))
					continue
				}
				got := call(e, step.call, e.revisions(e.json(step.body)))
				if strings.HasPrefix(got, "{") {
					got = e.queueAnswer(got)
				}
				e.equal(fmt.Sprintf("step %d, %s", i+1, step.call), got, step.want)
			}
		}})
	}
	return cases
}

func (e *env) queueLeases() {
	for _, id := range []int64{first, second, third} {
		e.mustGrant(&pb.LeaseGrantRequest{ID: id, TTL: 60})
		e.revokeAtEnd(id)
	}
}

var revisionMark = regexp.MustCompile(`@\d+`)

// revisions turns the marks of revisions into those of the store.
func (e *env) revisions(body string) string {
	return revisionMark.ReplaceAllStringFunc(body, func(mark string) string {
		n, err := strconv.ParseInt(mark[1:], 10, 64)
		e.ok(err)
		return strconv.FormatInt(e.base+n, 10)
	})
}

// queueAnswer is decode, also for what leaders' keys have.
func (e *env) queueAnswer(body string) string {
	e.Helper()
	var object map[string]any
	e.ok(json.Unmarshal([]byte(body), &object))
	if leader, ok := object["leader"].(map[string]any); ok {
		leader["revision"] = leader["rev"]
		delete(leader, "rev")
		raw, err := base64.StdEncoding.DecodeString(leader["name"].(string))
		e.ok(err)
		leader["name"] = strings.Replace(string(raw), e.prefix, "$", 1)
	}
	return e.plain(object)
}

// queueMethod finds "lock/lock", "election/campaign" and the like.
func (e *env) queueMethod(call string) protoreflect.MethodDescriptor {
	e.Helper()
	services, err := gateway.QueueServices()
	e.ok(err)
	for _, s := range services {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			if strings.EqualFold(string(s.Name()+"/"+m.Name()), call) {
				return m
			}
		}
	}
	e.Fatalf("no method %s", call)
	return nil
}

// invoke calls a method of Lock or Election through gRPC.
func (e *env) invoke(ctx context.Context, call, body string) (string, error) {
	e.Helper()
	m := e.queueMethod(call)
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	e.ok(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(body), in))
	if err := e.conn.Invoke(ctx, fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()), in, out); err != nil {
		return "", err
	}
	return protojson.MarshalOptions{UseProtoNames: true}.Format(out), nil
}

func (e *env) queueGRPC(call, body string) string {
	e.Helper()
	reply, err := e.invoke(e.ctx, call, body)
	if err != nil {
		return status.Convert(err).Message()
	}
	return reply
}

func (e *env) queueHTTP(call, body string) string {
	e.Helper()
	a := e.call(http.MethodPost, "/v3/"+call, body)
	if a.status == http.StatusOK {
		return a.body
	}
	var failure struct {
		Code    int
		Message string
	}
	e.ok(json.Unmarshal([]byte(a.body), &failure))
	e.equal("status", a.status, http.StatusInternalServerError)
	e.equal("code", failure.Code, int(codes.Unknown))
	return failure.Message
}

const (
	leaseNotFoundText = "etcdserver: requested lease not found"
	emptyKeyText      = "etcdserver: key is not provided"
	notLeaderText     = "election: not leader"
	noLeaderText      = "election: no leader"
	missingLeaderText = `"leader" field must be provided`
)

func lockRows() []queueRow {
	const locked = "{'header':{'revision':'1'},'key':'$L/1b59'}"
	return []queueRow{
		{"lock: the first has it", []queueStep{{"lock/lock", `{'name':'$L','lease':'7001'}`, locked}}},
		{"lock: again with the same lease", []queueStep{
			{"lock/lock", `{'name':'$L','lease':'7001'}`, locked},
			{"lock/lock", `{'name':'$L','lease':'7001'}`, locked},
		}},
		{"lock: the header is of the moment", []queueStep{
			{"lock/lock", `{'name':'$L','lease':'7001'}`, locked},
			{"put x", "1", ""},
			{"lock/lock", `{'name':'$L','lease':'7001'}`, "{'header':{'revision':'2'},'key':'$L/1b59'}"},
		}},
		{"lock: other names are other locks", []queueStep{
			{"lock/lock", `{'name':'$L','lease':'7001'}`, locked},
			{"lock/lock", `{'name':'$L/1b59','lease':'7001'}`, "{'header':{'revision':'2'},'key':'$L/1b59/1b59'}"},
			{"lock/lock", `{'name':'$M','lease':'7001'}`, "{'header':{'revision':'3'},'key':'$M/1b59'}"},
		}},
		{"lock: a key of somebody else in the queue", []queueStep{
			{"put L", "1", ""},
			{"put L0", "1", ""},
			{"lock/lock", `{'name':'$L','lease':'7001'}`, "{'header':{'revision':'3'},'key':'$L/1b59'}"},
		}},
		{"lock: unlocked and locked by the next", []queueStep{
			{"lock/lock", `{'name':'$L','lease':'7001'}`, locked},
			{"lock/unlock", `{'key':'$L/1b59'}`, "{'header':{'revision':'2'}}"},
			{"lock/lock", `{'name':'$L','lease':'7002'}`, "{'header':{'revision':'3'},'key':'$L/1b5a'}"},
		}},
		{"lock: unlock of nothing", []queueStep{{"lock/unlock", `{'key':'$L/1b59'}`, "{'header':{'revision':'0'}}"}}},
		{"lock: unlock of any key", []queueStep{{"put x", "1", ""}, {"lock/unlock", `{'key':'$x'}`, "{'header':{'revision':'2'}}"}}},
		{"lock: unknown lease", []queueStep{{"lock/lock", `{'name':'$L','lease':'7999'}`, leaseNotFoundText}}},
		{"lock: lease below zero", []queueStep{{"lock/lock", `{'name':'$L','lease':'-5'}`, leaseNotFoundText}}},
		{"lock: unlock without a key", []queueStep{{"lock/unlock", `{}`, emptyKeyText}}},
	}
}

func electionRows() []queueRow {
	const (
		campaign = `{'name':'$E','lease':'7001','value':'%a'}`
		elected  = "{'header':{'revision':'1'},'leader':{'key':'$E/1b59','lease':'7001','name':'$E','revision':'1'}}"
		led      = "{'header':{'revision':'%d'},'kv':{'create_revision':'1','key':'$E/1b59','lease':'7001','mod_revision':'%d','value':'%s','version':'%d'}}"
		leader   = `{'leader':{'name':'$E','key':'$E/1b59','rev':'@1','lease':'7001'},'value':'%b'}`
	)
	lead := queueStep{"election/campaign", campaign, elected}
	return []queueRow{
		{"campaign: the first leads", []queueStep{lead, {"election/leader", `{'name':'$E'}`, fmt.Sprintf(led, 1, 1, "a", 1)}}},
		{"campaign: again with the same lease and value", []queueStep{
			lead,
			{"put x", "1", ""},
			{"election/campaign", campaign, strings.Replace(elected, "'revision':'1'", "'revision':'2'", 1)},
			{"election/leader", `{'name':'$E'}`, fmt.Sprintf(led, 2, 1, "a", 1)},
		}},
		{"campaign: again with another value", []queueStep{
			lead,
			{"election/campaign", strings.Replace(campaign, "%a", "%b", 1), elected},
			{"election/leader", `{'name':'$E'}`, fmt.Sprintf(led, 2, 2, "b", 2)},
		}},
		{"campaign: unknown lease", []queueStep{{"election/campaign", strings.Replace(campaign, "7001", "7999", 1), leaseNotFoundText}}},
		{"leader: nobody", []queueStep{{"election/leader", `{'name':'$E'}`, noLeaderText}}},
		{"leader: the oldest key, whoever made it", []queueStep{
			{"put E/x", "1", ""},
			{"put E/a", "1", ""},
			{"election/leader", `{'name':'$E'}`, "{'header':{'revision':'2'},'kv':{'create_revision':'1','key':'$E/x','mod_revision':'1','value':'1','version':'1'}}"},
		}},
		{"leader: keys beside the queue do not lead", []queueStep{{"put E", "1", ""}, {"put E0", "1", ""}, {"election/leader", `{'name':'$E'}`, noLeaderText}}},
		{"proclaim", []queueStep{
			lead,
			{"election/proclaim", leader, "{'header':{'revision':'2'}}"},
			{"election/leader", `{'name':'$E'}`, fmt.Sprintf(led, 2, 2, "b", 2)},
		}},
		{"proclaim: the name does not matter", []queueStep{
			lead, {"election/proclaim", strings.Replace(leader, "'name':'$E',", "", 1), "{'header':{'revision':'2'}}"},
		}},
		{"proclaim: another revision", []queueStep{lead, {"election/proclaim", strings.Replace(leader, "@1", "@2", 1), notLeaderText}}},
		{"proclaim: unknown lease", []queueStep{lead, {"election/proclaim", strings.Replace(leader, "7001", "7999", 1), leaseNotFoundText}}},
		{"proclaim: after resigning", []queueStep{
			lead,
			{"election/resign", leader, "{'header':{'revision':'2'}}"},
			{"election/proclaim", leader, notLeaderText},
			{"election/leader", `{'name':'$E'}`, noLeaderText},
		}},
		{"proclaim: without leader", []queueStep{{"election/proclaim", `{'value':'%b'}`, missingLeaderText}}},
		{"proclaim: an empty leader", []queueStep{{"election/proclaim", `{'leader':{},'value':'%b'}`, emptyKeyText}}},
		{"proclaim: a leader without key", []queueStep{{"election/proclaim", `{'leader':{'name':'$E','lease':'7001'}}`, emptyKeyText}}},
		{"resign twice", []queueStep{
			lead, {"election/resign", leader, "{'header':{'revision':'2'}}"}, {"election/resign", leader, "{'header':{'revision':'2'}}"},
		}},
		{"resign: another revision", []queueStep{
			lead,
			{"election/resign", strings.Replace(leader, "@1", "@2", 1), "{'header':{'revision':'1'}}"},
			{"election/leader", `{'name':'$E'}`, fmt.Sprintf(led, 1, 1, "a", 1)},
		}},
		{"resign: the lease does not matter", []queueStep{
			lead, {"election/resign", strings.Replace(leader, "7001", "7999", 1), "{'header':{'revision':'2'}}"},
		}},
		{"resign: without leader", []queueStep{{"election/resign", `{}`, missingLeaderText}}},
		{"resign: an empty leader", []queueStep{{"election/resign", `{'leader':{}}`, emptyKeyText}}},
		{"locks and elections share their queues", []queueStep{
			{"lock/lock", `{'name':'$E','lease':'7001'}`, "{'header':{'revision':'1'},'key':'$E/1b59'}"},
			{"election/leader", `{'name':'$E'}`, "{'header':{'revision':'1'},'kv':{'create_revision':'1','key':'$E/1b59','lease':'7001','mod_revision':'1','version':'1'}}"},
		}},
	}
}

// queueCodeCases: what these services refuse has one code, whatever it is.
func queueCodeCases() (cases []testCase) {
	for _, row := range []struct{ name, call, body, text string }{
		{"lock", "lock/lock", `{'name':'$L','lease':'7999'}`, leaseNotFoundText},
		{"unlock", "lock/unlock", `{}`, emptyKeyText},
		{"campaign", "election/campaign", `{'name':'$E','lease':'7999'}`, leaseNotFoundText},
		{"leader", "election/leader", `{'name':'$E'}`, noLeaderText},
		{"proclaim", "election/proclaim", `{}`, missingLeaderText},
		{"resign", "election/resign", `{}`, missingLeaderText},
	} {
		cases = append(cases, testCase{name: row.name, settled: true, run: func(e *env) {
			_, err := e.invoke(e.ctx, row.call, e.json(row.body))
			e.refused(err, refusal{codes.Unknown, row.text})
			e.wrote(0)
		}})
	}
	return append(cases, testCase{name: "a lease of its own", settled: true, run: func(e *env) {
		reply, err := e.invoke(e.ctx, "lock/lock", e.json(`{'name':'$L'}`))
		e.ok(err)
		var answer struct{ Key []byte }
		e.ok(json.Unmarshal([]byte(reply), &answer))
		id, err := strconv.ParseInt(strings.TrimPrefix(e.name(answer.Key), "L/"), 16, 64)
		e.ok(err)
		e.revokeAtEnd(id)
		e.equal("time to live", e.timeToLive(id).GrantedTTL, int64(60))
		e.equal("keys", e.attached(id), "L/"+strconv.FormatInt(id, 16))
	}})
}

// waiting is a call that does not return at once.
type waiting struct {
	cancel context.CancelFunc
	reply  string
	err    error
	done   chan struct{}
}

// wait starts a call of Lock or Election that has to wait in a queue, and
// returns when its key is there, at the n-th revision of the case.
func (e *env) wait(call, body, key string) *waiting {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	w := &waiting{cancel: cancel, done: make(chan struct{})}
	text := e.json(body)
	go func() {
		defer close(w.done)
		w.reply, w.err = e.invoke(ctx, call, text)
	}()
	e.Cleanup(func() { cancel(); <-w.done })
	for len(e.mustGet(get(key, "")).Kvs) == 0 {
		select {
		case <-w.done:
			e.Fatalf("%s does not wait: %s %v", call, w.reply, w.err)
		default:
		}
	}
	return w
}

// still ends the case if the call has returned.
func (e *env) still(w *waiting) {
	e.Helper()
	select {
	case <-w.done:
		e.Fatalf("does not wait: %s %v", w.reply, w.err)
	case <-time.After(50 * time.Millisecond):
	}
}

// gone waits until a key is deleted.
func (e *env) gone(key string) {
	e.Helper()
	for len(e.mustGet(get(key, "")).Kvs) > 0 {
		e.ok(e.ctx.Err())
	}
}

func (e *env) mustInvoke(call, body string) string {
	e.Helper()
	reply, err := e.invoke(e.ctx, call, e.revisions(e.json(body)))
	e.ok(err)
	return e.queueAnswer(reply)
}

func queueWaitCases() []testCase {
	cases := []testCase{
		{name: "lock: the next gets it when it is given up", run: func(e *env) {
			e.mustInvoke("lock/lock", `{'name':'$L','lease':'7001'}`)
			w := e.wait("lock/lock", `{'name':'$L','lease':'7002'}`, "L/1b5a")
			e.still(w)
			e.mustInvoke("lock/unlock", `{'key':'$L/1b59'}`)
			<-w.done
			e.ok(w.err)
			e.equal("answer", e.queueAnswer(w.reply), "{'header':{'revision':'3'},'key':'$L/1b5a'}")
		}},
		{name: "lock: the next gets it when the lease ends", run: func(e *env) {
			e.mustInvoke("lock/lock", `{'name':'$L','lease':'7001'}`)
			w := e.wait("lock/lock", `{'name':'$L','lease':'7002'}`, "L/1b5a")
			e.mustRevoke(first)
			<-w.done
			e.ok(w.err)
		}},
		{name: "lock: in the order of arrival", run: func(e *env) {
			e.mustInvoke("lock/lock", `{'name':'$L','lease':'7003'}`)
			w2 := e.wait("lock/lock", `{'name':'$L','lease':'7002'}`, "L/1b5a")
			w1 := e.wait("lock/lock", `{'name':'$L','lease':'7001'}`, "L/1b59")
			e.mustInvoke("lock/unlock", `{'key':'$L/1b5b'}`)
			<-w2.done
			e.ok(w2.err)
			e.still(w1)
			e.mustInvoke("lock/unlock", `{'key':'$L/1b5a'}`)
			<-w1.done
			e.ok(w1.err)
		}},
		{name: "lock: who gives up leaves the queue", run: func(e *env) {
			e.mustInvoke("lock/lock", `{'name':'$L','lease':'7001'}`)
			w := e.wait("lock/lock", `{'name':'$L','lease':'7002'}`, "L/1b5a")
			w.cancel()
			<-w.done
			e.refused(w.err, refusal{codes.Canceled, "context canceled"})
			e.gone("L/1b5a")
			e.wrote(3)
		}},
		{name: "lock: one that gives up in the middle is passed over", run: func(e *env) {
			e.mustInvoke("lock/lock", `{'name':'$L','lease':'7001'}`)
			w2 := e.wait("lock/lock", `{'name':'$L','lease':'7002'}`, "L/1b5a")
			w3 := e.wait("lock/lock", `{'name':'$L','lease':'7003'}`, "L/1b5b")
			w2.cancel()
			e.gone("L/1b5a")
			e.still(w3)
			e.mustInvoke("lock/unlock", `{'key':'$L/1b59'}`)
			<-w3.done
			e.ok(w3.err)
		}},
		{name: "lock: the place is lost while waiting", run: func(e *env) {
			e.mustInvoke("lock/lock", `{'name':'$L','lease':'7001'}`)
			w := e.wait("lock/lock", `{'name':'$L','lease':'7002'}`, "L/1b5a")
			e.mustRevoke(second)
			e.still(w)
			e.mustInvoke("lock/unlock", `{'key':'$L/1b59'}`)
			<-w.done
			e.refused(w.err, refusal{codes.Unknown, "mutex: session is expired"})
		}},
		{name: "campaign: the next leads when the leader resigns", run: func(e *env) {
			e.mustInvoke("election/campaign", `{'name':'$E','lease':'7001','value':'%a'}`)
			w := e.wait("election/campaign", `{'name':'$E','lease':'7002','value':'%b'}`, "E/1b5a")
			e.still(w)
			e.mustInvoke("election/resign", `{'leader':{'key':'$E/1b59','rev':'@1'}}`)
			<-w.done
			e.ok(w.err)
			e.equal("answer", e.queueAnswer(w.reply), "{'header':{'revision':'2'},'leader':{'key':'$E/1b5a','lease':'7002','name':'$E','revision':'2'}}")
		}},
		{name: "campaign: the next leads when the lease ends", run: func(e *env) {
			e.mustInvoke("election/campaign", `{'name':'$E','lease':'7001','value':'%a'}`)
			w := e.wait("election/campaign", `{'name':'$E','lease':'7002','value':'%b'}`, "E/1b5a")
			e.mustRevoke(first)
			<-w.done
			e.ok(w.err)
		}},
		{name: "campaign: who gives up leaves the queue", run: func(e *env) {
			e.mustInvoke("election/campaign", `{'name':'$E','lease':'7001','value':'%a'}`)
			w := e.wait("election/campaign", `{'name':'$E','lease':'7002','value':'%b'}`, "E/1b5a")
			w.cancel()
			e.gone("E/1b5a")
		}},
	}
	for i := range cases {
		run := cases[i].run
		cases[i].settled = true
		cases[i].run = func(e *env) {
			e.queueLeases()
			run(e)
		}
	}
	return cases
}

func observeCases() []testCase {
	const kv = "{'result':{'header':{'revision':'%d'},'kv':{'create_revision':'%d','key':'$E/%s','mod_revision':'%d','value':'%s','version':'%d'}}}"
	line := func(header, create, mod, version int, key, value string) string {
		return fmt.Sprintf(kv, header, create, key, mod, value, version)
	}
	return []testCase{
		{name: "the present leader, its values, and successors", settled: true, run: func(e *env) {
			e.mustPut(put("E/x", "a"))
			e.mustPut(put("E/y", "b"))
			lines := e.lines("/v3/election/observe", `{'name':'$E'}`)
			e.equal("leader", e.nextLine(lines), line(2, 1, 1, 1, "x", "a"))
			e.mustPut(put("E/x", "c"))
			e.equal("value", e.nextLine(lines), line(3, 1, 3, 2, "x", "c"))
			e.mustPut(put("E/y", "d"))
			e.mustDelete(del("E/x", ""))
			e.equal("successor", e.nextLine(lines), line(5, 2, 4, 2, "y", "d"))
		}},
		{name: "the first leader is waited for", settled: true, run: func(e *env) {
			e.mustPut(put("E0", "0"))
			answer := make(chan *http.Response, 1)
			body := e.json(`{'name':'$E'}`)
			go func() { answer <- e.open(http.MethodPost, "/v3/election/observe", body) }()
			e.mustPut(put("E/z", "a"))
			resp := <-answer
			e.Cleanup(func() { _ = resp.Body.Close() })
			lines := scan(resp)
			e.equal("leader", e.nextLine(lines), line(2, 2, 2, 1, "z", "a"))
			e.mustDelete(del("E/z", ""))
			e.mustPut(put("E/w", "b"))
			e.equal("next", e.nextLine(lines), line(4, 4, 4, 1, "w", "b"))
		}},
	}
}
