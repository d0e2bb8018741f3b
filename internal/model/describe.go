package model

import (
	"fmt"
	"strings"
)

// describe names an operation on one line.
func (o *Op) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client %d ", o.Client)
	if o.Member != 0 {
		fmt.Fprintf(&b, "(at %x) ", o.Member)
	}
	b.WriteString(describeRequest(o.Request))
	if o.Unknown {
		fmt.Fprintf(&b, " -> unknown, from %d", o.Call)
	} else {
		fmt.Fprintf(&b, " -> %s, [%d, %d]", describeResponse(o.Request, o.Response), o.Call, o.Return)
	}
	return b.String()
}

func describeRange(key, end Bytes) string {
	switch end {
	case "":
		return short(key)
	case openEnd:
		return short(key) + "..."
	}
	return short(key) + ".." + short(end)
}

// short quotes bytes and cuts long ones.
func short(b Bytes) string {
	const most = 40
	if len(b) > most {
		return fmt.Sprintf("%q... (%d bytes)", string(b[:most]), len(b))
	}
	return fmt.Sprintf("%q", string(b))
}

func describeRequest(r Request) string {
	var b strings.Builder
	b.WriteString(r.Kind.String())
	switch r.Kind {
	case Put:
		fmt.Fprintf(&b, " %s=%s", short(r.Key), short(r.Value))
	case Delete, Range:
		b.WriteString(" " + describeRange(r.Key, r.End))
	case Txn:
		b.WriteString(describeTxn(r))
	}
	if r.AtRevision != 0 {
		fmt.Fprintf(&b, " @%d", r.AtRevision)
	}
	if r.Lease != 0 {
		fmt.Fprintf(&b, " lease %x", r.Lease)
	}
	if r.Serializable {
		b.WriteString(" serializable")
	}
	return b.String()
}

func describeTxn(r Request) string {
	var compares []string
	for _, c := range r.Compares {
		operand := fmt.Sprint(c.Number)
		if c.Target == TargetValue {
			operand = short(c.Value)
		}
		compares = append(compares, fmt.Sprintf("%s(%s)%s%s", c.Target, describeRange(c.Key, c.End), c.Relation, operand))
	}
	return fmt.Sprintf(" if %s then {%s} else {%s}", strings.Join(compares, " and "), describeRequests(r.Then), describeRequests(r.Else))
}

func describeRequests(requests []Request) string {
	var all []string
	for _, r := range requests {
		all = append(all, describeRequest(r))
	}
	return strings.Join(all, "; ")
}

func describeResponse(r Request, got Response) string {
	if got.Failure != FailureNone {
		return describeFailure(got.Failure)
	}
	text := fmt.Sprintf("revision %d", got.Revision)
	switch r.Kind {
	case Range:
		text += fmt.Sprintf(", %d keys", got.Count)
		if len(got.KVs) == 1 {
			text += ": " + describeKV(got.KVs[0])
		}
	case Delete:
		text += fmt.Sprintf(", %d deleted", got.Count)
	case Txn:
		text += fmt.Sprintf(", succeeded %v", got.Succeeded)
	}
	return text
}

func describeKV(kv KV) string {
	text := fmt.Sprintf("%s=%s (create %d, mod %d, version %d", short(kv.Key), short(kv.Value), kv.Create, kv.Mod, kv.Version)
	if kv.Lease != 0 {
		text += fmt.Sprintf(", lease %x", kv.Lease)
	}
	return text + ")"
}

func describeFailure(f Failure) string {
	if f == FailureNone {
		return "success"
	}
	return fmt.Sprintf("%q", string(f))
}

func describeEvent(e Event) string {
	if e.Delete {
		return fmt.Sprintf("delete %s in %d", short(e.KV.Key), e.KV.Mod)
	}
	return "put " + describeKV(e.KV)
}

func describeEvents(events []Event) string {
	if len(events) == 0 {
		return "nothing"
	}
	var all []string
	for _, e := range events {
		all = append(all, describeEvent(e))
	}
	return strings.Join(all, "; ")
}
